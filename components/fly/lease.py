"""A lease on a machine: Fly refuses everyone else's changes while it is held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from components.fly.api import Api, at
from components.fly.errors import FlyError

LEASE_S = 60  # longer than an update takes; a killed run's lease ends by itself after this
WAIT_S = 90.0  # for someone else's lease: longer than one of our own killed runs can leave behind
POLL_S = 2.0
NONCE = "fly-machine-lease-nonce"
HELD = 409


@contextmanager
def lease(api: Api, app: str, machine_id: str) -> Iterator[Mapping[str, str]]:
    """Holds the lease; yields the header that every change needs meanwhile."""
    path = at("apps", app, "machines", machine_id, "lease")
    to = f"lease machine {machine_id} of app {app}"
    body = {"ttl": LEASE_S, "description": "pulumi up"}
    answer = when_free(api, app, machine_id, lambda: api.send("POST", path, to=to, body=body))
    header = {NONCE: _unwrapped(answer)["nonce"]}
    try:
        yield header
    finally:
        # The change is made or has failed by now, and an unreleased lease ends by itself.
        with suppress(FlyError):
            api.delete(path, to=f"release the lease of machine {machine_id} of app {app}", headers=header)


def when_free(api: Api, app: str, machine_id: str, change: Callable[[], Any]) -> Any:
    """Does `change` as soon as nobody else holds a lease, for WAIT_S at most; then the error says who does."""
    give_up_at = api.clock.now() + WAIT_S
    while True:
        try:
            return change()
        except FlyError as error:
            if error.status != HELD:
                raise
            if api.clock.now() > give_up_at:
                raise FlyError(f"{error} {_holder(api, app, machine_id)}", status=HELD) from None
        api.clock.sleep(POLL_S)


def _holder(api: Api, app: str, machine_id: str) -> str:
    path = at("apps", app, "machines", machine_id, "lease")
    held = _unwrapped(api.get(path, to=f"read the lease of machine {machine_id} of app {app}") or {})
    if not held:
        return "Its lease has just ended."
    why = f" ({held['description']})" if held.get("description") else ""
    return f"The lease is held by {held.get('owner') or 'an unknown client'}{why}; waited {WAIT_S:.0f} s for it."


def _unwrapped(answer: dict[str, Any]) -> dict[str, Any]:
    """Fly's server wraps a lease in {status, data}; its document shows it bare."""
    inner: dict[str, Any] = answer.get("data") or answer
    return inner
