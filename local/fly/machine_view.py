"""A machine as Fly answers it."""

from __future__ import annotations

import re
import time
from typing import Any

from local.contract import Check
from local.fly import ids, leases
from local.fly.objects import Event, Machine
from local.fly.times import milliseconds, rfc3339

EVENTS_SHOWN = 20
_DOCKER_HUB = "registry-1.docker.io"


def summary(machine: Machine) -> dict[str, Any]:
    return {
        "id": machine.id,
        "name": machine.name,
        "state": machine.state,
        "region": machine.region,
        "instance_id": machine.instance_id,
        "version": machine.instance_id,
        "private_ip": ids.private_ip(machine.id),
        "created_at": rfc3339(machine.created_at),
        "updated_at": rfc3339(machine.updated_at),
        "cordoned": machine.cordoned,
    }


def view(
    machine: Machine, config: dict[str, Any], checks: list[Check], *, with_lease: bool = False, nonce: str | None = None
) -> dict[str, Any]:
    """`nonce` is shown to the one who took the lease with this very request."""
    answer: dict[str, Any] = {
        **summary(machine),
        "host_status": "ok",
        "image_ref": image_ref(config["image"]),
        "config": config,
        "events": [event(e) for e in machine.events[:EVENTS_SHOWN]],
        "checks": [check(c) for c in checks],
    }
    if nonce is not None:
        answer["nonce"] = nonce
    if with_lease and (lease := leases.current(machine, time.time())) is not None:
        answer["lease"] = leases.stripped(lease)
    return answer


def event(happened: Event) -> dict[str, Any]:
    answer = {
        "id": happened.id,
        "type": happened.type,
        "status": happened.status,
        "source": happened.source,
        "timestamp": milliseconds(happened.at),
    }
    return answer if happened.request is None else {**answer, "request": happened.request}


def check(result: Check) -> dict[str, Any]:
    return {
        "name": result.name,
        "status": result.status,
        "output": result.output,
        "updated_at": result.updated_at,
    }


def image_ref(reference: str) -> dict[str, Any]:
    """The parts of an image's name. A digest only where the name has one: nothing here resolves tags.

    >>> image_ref("caddy:2.10")["repository"]
    'library/caddy'
    """
    name, _, digest = reference.partition("@")
    match = re.fullmatch(r"(?:(?P<registry>[^/]*[.:][^/]*|localhost)/)?(?P<path>[^:]+)(?::(?P<tag>.+))?", name)
    registry, path, tag = match.groups() if match else (None, name, None)
    if registry in (None, "docker.io"):
        registry = _DOCKER_HUB
        path = path if "/" in path else f"library/{path}"
    answer = {"registry": registry, "repository": path, "tag": tag or ("" if digest else "latest")}
    return {**answer, "digest": digest} if digest else answer
