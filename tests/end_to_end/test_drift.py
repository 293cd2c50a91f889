"""Each kind of object changed behind the program's back: the preview shows exactly that, `up` repairs it.

Changes that do not touch one another share a round, so that a round also shows that nothing else is blamed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end.local import Local

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("stack")]

APP = "/v1/apps/hotdash-llm-gateway"
GATEWAY_SECRETS = "gateway"
ROLLED_BY_SECRETS = {"gateway-1", "gateway-1-ready"}
"""A new secret reaches machines only by an update of them: that is the plan, not more drift."""


def remove_a_certificate(local: Local) -> set[str]:
    local.fly("DELETE", f"{APP}/certificates/langfuse.hotdash.test")
    return {"langfuse.hotdash.test"}


def release_the_shared_address(local: Local) -> set[str]:
    addresses = local.fly("GET", f"{APP}/ip_assignments").json()["ips"]
    shared = next(address["ip"] for address in addresses if address["shared"])
    local.fly("DELETE", f"{APP}/ip_assignments/{shared}")
    return {"shared_v4"}


def edit_a_secret(local: Local) -> set[str]:
    local.fly("POST", f"{APP}/secrets", json={"values": {"OPENAI_API_KEY": "sk-edited"}})
    return {GATEWAY_SECRETS, *ROLLED_BY_SECRETS}


def unset_a_secret(local: Local) -> set[str]:
    local.fly("POST", f"{APP}/secrets", json={"values": {"TEAM_KEY_HASHES": None}})
    return {GATEWAY_SECRETS, *ROLLED_BY_SECRETS}


def edit_a_machines_environment(local: Local) -> set[str]:
    machine = machine_named(local, "edge-1")
    config = machine["config"] | {"env": machine["config"]["env"] | {"LISTEN": "::", "ADDED": "by hand"}}
    local.fly("POST", f"{APP}/machines/{machine['id']}", json={"config": config})
    return {"edge-1", "edge-1-ready"}


def destroy_a_machine(local: Local) -> set[str]:
    local.fly("DELETE", f"{APP}/machines/{machine_named(local, 'edge-1')['id']}", params={"force": "true"})
    return {"edge-1", "edge-1-ready"}


def stop_a_machine(local: Local) -> set[str]:
    local.fly("POST", f"{APP}/machines/{machine_named(local, 'edge-1')['id']}/stop", json={})
    return {"edge-1", "edge-1-ready"}


def turn_eviction_off(local: Local) -> set[str]:
    target = '{name: "hotdash-llm-cache", provider: "upstash_redis", options: {}}'
    change = f"mutation {{ updateAddOn(input: {target}) {{ addOn {{ id }} }} }}"
    answer = local.fly("POST", "/graphql", json={"query": change}).json()
    assert "errors" not in answer, answer
    return {"hotdash-llm-cache"}


def reset_the_redis_password(local: Local) -> set[str]:
    answer = local.fly(
        "POST",
        "/graphql",
        json={"query": 'mutation { resetAddOnPassword(input: {name: "hotdash-llm-cache"}) { addOn { id } } }'},
    ).json()
    assert "errors" not in answer, answer
    return {GATEWAY_SECRETS, *ROLLED_BY_SECRETS}  # the refresh has taken the new URL already; the app has not


def delete_the_app(local: Local) -> set[str]:
    local.fly("DELETE", APP, params={"force": "true"})
    return {
        *("hotdash-llm-gateway", "v6", "shared_v4", "gateway.hotdash.test", "langfuse.hotdash.test"),
        *(GATEWAY_SECRETS, *ROLLED_BY_SECRETS, "edge-1", "edge-1-ready"),
    }


def machine_named(local: Local, name: str) -> dict[str, Any]:
    machines: list[dict[str, Any]] = local.fly("GET", f"{APP}/machines").json()
    return next(machine for machine in machines if machine["name"] == name)


ROUNDS: list[list[Callable[[Local], set[str]]]] = [
    [remove_a_certificate, edit_a_secret, stop_a_machine, turn_eviction_off],
    [release_the_shared_address, unset_a_secret, destroy_a_machine],
    [edit_a_machines_environment, reset_the_redis_password],
    [delete_the_app],
]


@pytest.mark.parametrize("changes", ROUNDS, ids=[" ".join(change.__name__ for change in each) for each in ROUNDS])
def test_drift_is_shown_exactly_and_repaired(
    local: Local, customer_key: str, changes: list[Callable[[Local], set[str]]]
) -> None:
    expected = set().union(*(change(local) for change in changes))
    assert changed(local) == expected
    local.pulumi("up", "--yes", "--skip-preview")
    local.pulumi("preview", "--expect-no-changes")
    assert local.chat(customer_key).status_code == 200


def changed(local: Local) -> set[str]:
    """Names of the resources a preview would create, update or replace."""
    out = local.pulumi("preview", "--json").out
    steps = json.loads(out[out.index("{") :])["steps"]
    return {step["urn"].rsplit("::", 1)[1] for step in steps if step["op"] not in ("same", "read", "refresh")}
