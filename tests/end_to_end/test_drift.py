"""Each kind of object changed behind the program's back: the preview shows exactly that, `up` repairs it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.end_to_end.local import Local

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("stack")]

APP = "/v1/apps/hotdash-llm-gateway"


def remove_the_certificate(local: Local) -> None:
    local.fly.delete(f"{APP}/certificates/langfuse.hotdash.test").raise_for_status()


def release_the_shared_address(local: Local) -> None:
    addresses = local.fly.get(f"{APP}/ip_assignments").raise_for_status().json()["ips"]
    shared = next(address["ip"] for address in addresses if address["shared"])
    local.fly.delete(f"{APP}/ip_assignments/{shared}").raise_for_status()


def edit_a_secret(local: Local) -> None:
    local.fly.post(f"{APP}/secrets", json={"values": {"OPENAI_API_KEY": "sk-edited"}}).raise_for_status()


def unset_a_secret(local: Local) -> None:
    local.fly.post(f"{APP}/secrets", json={"values": {"TEAM_KEY_HASHES": None}}).raise_for_status()


def edit_the_environment_of_a_machine(local: Local) -> None:
    machine = local.fly.get(f"{APP}/machines/{machine_id(local, 'edge-1')}").raise_for_status().json()
    config = machine["config"] | {"env": machine["config"]["env"] | {"LISTEN": "0.0.0.0"}}
    local.fly.post(f"{APP}/machines/{machine['id']}", json={"config": config}).raise_for_status()


def destroy_a_machine(local: Local) -> None:
    local.fly.delete(f"{APP}/machines/{machine_id(local, 'edge-1')}", params={"force": "true"}).raise_for_status()


def stop_a_machine(local: Local) -> None:
    local.fly.post(f"{APP}/machines/{machine_id(local, 'edge-1')}/stop", json={}).raise_for_status()


def turn_eviction_off(local: Local) -> None:
    target = '{name: "hotdash-llm-cache", provider: "upstash_redis", options: {}}'
    change = f"mutation {{ updateAddOn(input: {target}) {{ addOn {{ id }} }} }}"
    answer = local.fly.post("/graphql", json={"query": change}).raise_for_status().json()
    assert "errors" not in answer, answer


def machine_id(local: Local, name: str) -> str:
    machines = local.fly.get(f"{APP}/machines").raise_for_status().json()
    identifier: str = next(machine["id"] for machine in machines if machine["name"] == name)
    return identifier


CASES: list[tuple[Callable[[Local], None], set[str]]] = [
    (remove_the_certificate, {"langfuse.hotdash.test"}),
    (release_the_shared_address, {"shared_v4"}),
    (edit_a_secret, {"gateway"}),
    (unset_a_secret, {"gateway"}),
    (edit_the_environment_of_a_machine, {"edge-1"}),
    (destroy_a_machine, {"edge-1"}),
    (stop_a_machine, {"edge-1"}),
    (turn_eviction_off, {"hotdash-llm-cache"}),
]


@pytest.mark.parametrize(("change", "shown"), CASES, ids=[change.__name__ for change, _ in CASES])
def test_drift_is_shown_and_repaired(
    local: Local, customer_key: str, change: Callable[[Local], None], shown: set[str]
) -> None:
    change(local)
    assert changed_first(local) == shown
    local.pulumi("up", "--yes", "--skip-preview")
    local.pulumi("preview", "--expect-no-changes")
    assert local.chat(customer_key).status_code == 200


def changed_first(local: Local) -> set[str]:
    """Names of the resources a preview would change that do not change only because another one does."""
    steps = json.loads(without_warnings(local.pulumi("preview", "--json").out))["steps"]
    changed = {step["urn"].rsplit("::", 1)[1] for step in steps if step["op"] not in ("same", "read", "refresh")}
    return {name for name in changed if not name.endswith("-ready") and name not in consequences(changed)}


def consequences(changed: set[str]) -> set[str]:
    """A new secret reaches machines only by an update of them: that is the plan, not more drift."""
    return {name for name in changed if name.startswith("gateway-")} if "gateway" in changed else set()


def without_warnings(out: str) -> str:
    return out[out.index("{") :]
