"""What Fly has, what the state has, and what the program wants: after a run that converged they are one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from tests.interruptions.stack import FIRST, NAME, PASSING, Stack, states_of

Objects = dict[str, list[str]]
DATABASES = "{ addOns(type: upstash_redis) { nodes { name } } }"
APP = f"/v1/apps/{NAME}"
WHOLE = {"apps": 1, "machines": 2, "addresses": 2, "certificates": 1, "secrets": 3, "databases": 1}


def on_fly(stack: Stack) -> Objects:
    """Every object of the organization, once per object: a duplicate is listed twice."""
    apps = [app["name"] for app in stack.fly("/v1/apps?org_slug=local")["apps"]]
    addresses = stack.fly(f"{APP}/ip_assignments") or {"ips": []}
    certificates = stack.fly(f"{APP}/certificates") or {"certificates": []}
    secrets = stack.fly(f"{APP}/secrets") or {"secrets": []}
    databases = stack.fly("/graphql", json={"query": DATABASES})["data"]["addOns"]["nodes"]
    return {
        "apps": sorted(apps),
        "machines": sorted(f"{machine['name']} {machine['id']}" for machine in stack.machines()),
        "addresses": sorted(address["ip"] for address in addresses["ips"]),
        "certificates": sorted(certificate["hostname"] for certificate in certificates["certificates"]),
        "secrets": sorted(f"{secret['name']} {secret['digest']}" for secret in secrets["secrets"]),
        "databases": sorted(database["name"] for database in databases),
    }


def in_state(stack: Stack) -> Objects:
    deployment = stack.pulumi_state()
    # The engine keeps the creations it was killed in, and warns of them, until a person clears them.
    unfinished = [op for op in deployment.get("pending_operations") or [] if op["type"] != "creating"]
    assert not unfinished, "an operation is still pending in the state"
    found: Objects = {kind: [] for kind in WHOLE}
    for resource in deployment.get("resources") or []:
        assert not resource.get("delete"), f"{resource['urn']} still waits for its deletion"
        _, _, kind = resource["type"].rpartition(":")
        outputs = resource.get("outputs") or {}
        match kind:
            case "App":
                found["apps"].append(outputs["app"])
            case "Machine":
                found["machines"].append(f"{outputs['name']} {outputs['machine_id']}")
            case "Address":
                found["addresses"].append(outputs["address"])
            case "Certificate":
                found["certificates"].append(outputs["hostname"])
            case "Secrets":
                found["secrets"] += [f"{name} {digest}" for name, digest in outputs["digests"].items()]
            case "Redis":
                found["databases"].append(outputs["name"])
    return {kind: sorted(objects) for kind, objects in found.items()}


def check_everything_is_there(stack: Stack, wanted: Mapping[str, Any]) -> None:
    """`wanted` is what the phase has changed of FIRST."""
    live = on_fly(stack)
    assert live == in_state(stack)
    assert {kind: len(objects) for kind, objects in live.items()} == WHOLE
    settings = {**FIRST, **wanted}
    addresses = {machine["id"]: machine["address"] for machine in stack.fly("/_embedded/status")["machines"]}
    for machine in stack.machines():
        assert states_of(machine) == PASSING
        assert (machine["config"]["image"], machine["config"]["guest"]["memory_mb"]) == (
            settings["image"],
            settings["memoryMb"],
        )
        # The process itself, not what the API says about it.
        answer = httpx.get(f"http://{addresses[machine['id']]}:8080/", timeout=5, trust_env=False).json()
        assert answer == {"label": settings["label"], "secret": settings["secret"]}


def check_nothing_is_left(stack: Stack) -> None:
    assert on_fly(stack) == in_state(stack) == {kind: [] for kind in WHOLE}
    assert stack.fly("/_embedded/status")["machines"] == []
