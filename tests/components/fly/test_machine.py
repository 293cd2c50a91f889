from __future__ import annotations

import base64
from typing import Any

import httpx
import pulumi
import pytest

from components.fly.errors import FlyError
from components.fly.machine import MachineProvider
from tests.components.fly.fake_clock import FakeClock
from tests.components.fly.fake_fly import FakeFly
from tests.components.fly.managed import InvalidError, Make, Managed

CONFIG: dict[str, Any] = {
    "image": "caddy:2",
    "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512},
    "env": {"LISTEN": "::"},
    "services": [
        {
            "protocol": "tcp",
            "internal_port": 8080,
            "autostop": "off",
            "ports": [{"port": 443, "handlers": ["tls", "http"]}],
            "checks": [{"type": "http", "port": 8080, "path": "/health", "interval": "90s"}],
        }
    ],
    "stop_config": {"signal": "SIGTERM", "timeout": "130s"},
}
EDGE: dict[str, Any] = {
    "app": "gw",
    "name": "edge-1",
    "region": "ord",
    "group": "edge",
    "config": CONFIG,
    "files": {"/etc/caddy/Caddyfile": ":8080\n"},
    "min_secrets_version": 0,
}
POST = "POST /apps/gw/machines"


@pytest.fixture
def edge(provider: Make, fly: FakeFly) -> Managed:
    fly.add_app()
    return Managed(provider(MachineProvider))


def with_config(**changes: Any) -> dict[str, Any]:
    return {**EDGE, "config": {**CONFIG, **changes}}


def settle(fly: FakeFly) -> dict[str, Any]:
    """Lets the machine start and shared lists grow old."""
    fly.clock.sleep(10)
    return fly.machine("gw", "edge-1")


def update_of(edge: Managed) -> str:
    return f"{POST}/{edge.id}"


def test_a_machine_lives_and_dies(fly: FakeFly, edge: Managed) -> None:
    assert edge.up(**EDGE) == "create"
    machine = settle(fly)
    assert edge.id == edge.outputs["machine_id"] == machine["id"]
    assert edge.outputs["version"] == machine["instance_id"]
    assert edge.outputs["private_ip"].startswith("fdaa:")
    assert edge.refresh()
    assert edge.up(**EDGE) == "same"
    edge.destroy()
    assert fly.apps["gw"].machines == {}, "and it is waited for: name and volume are free now"
    assert fly.writes() == [POST, f"DELETE /apps/gw/machines/{machine['id']}"]


def test_a_machine_looks_like_one_of_fly_deploy(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    config = fly.machine("gw", "edge-1")["config"]
    assert config["metadata"]["fly_platform_version"] == "v2"
    assert config["metadata"]["fly_process_group"] == "edge"
    assert config["env"] == {"LISTEN": "::", "FLY_PROCESS_GROUP": "edge", "PRIMARY_REGION": "ord"}


def test_files_are_text_for_people_and_base64_for_fly(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    (file,) = settle(fly)["config"]["files"]
    assert file == {"guest_path": "/etc/caddy/Caddyfile", "raw_value": base64.b64encode(b":8080\n").decode()}
    file["raw_value"] = base64.b64encode(b":9999\n").decode()
    assert not edge.refresh()
    assert edge.inputs["files"] == {"/etc/caddy/Caddyfile": ":9999\n"}


def test_a_mode_fly_fills_in_is_no_difference_and_another_one_is(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    (file,) = settle(fly)["config"]["files"]
    file["mode"] = 0o644
    assert edge.refresh()
    file["mode"] = 0o777
    fly.clock.sleep(10)
    assert not edge.refresh()


def test_binary_files_and_secret_files_stay_as_they_are(fly: FakeFly, edge: Managed) -> None:
    binary = {"guest_path": "/a", "raw_value": base64.b64encode(b"\xff\x00").decode()}
    inputs = with_config(files=[binary, {"guest_path": "/b", "secret_name": "KEY"}])
    edge.up(**inputs)
    assert len(settle(fly)["config"]["files"]) == 3
    assert edge.refresh()
    assert edge.up(**inputs) == "same"


DRIFTS: list[dict[str, Any]] = [
    {"image": "evil:1"},
    {"env": {"LISTEN": "0.0.0.0", "FLY_PROCESS_GROUP": "edge", "PRIMARY_REGION": "ord"}},
    {"files": []},
    {"guest": {"cpu_kind": "shared", "cpus": 2, "memory_mb": 1024}},
    {"checks": {"extra": {"type": "tcp", "port": 1}}},
    {"services": []},
    {"restart": {"policy": "no"}, "services": []},
    {"metadata": {}},
]


@pytest.mark.parametrize("drift", DRIFTS, ids="+".join)
def test_a_change_by_someone_is_seen_and_undone(fly: FakeFly, edge: Managed, drift: dict[str, Any]) -> None:
    edge.up(**EDGE)
    settle(fly)
    before = edge.outputs["config_hash"]
    fly.change_machine("gw", "edge-1", **drift)
    assert not edge.refresh()
    assert edge.outputs["config_hash"] != before
    assert edge.up(**EDGE) == "update"
    assert edge.outputs["config_hash"] == before
    settle(fly)
    assert edge.refresh()
    assert edge.up(**EDGE) == "same"


CHANGES: list[dict[str, Any]] = [
    with_config(image="caddy:3"),
    with_config(env={}),
    with_config(services=[]),
    {**EDGE, "files": {"/etc/caddy/Caddyfile": ":9090\n"}},
    {**EDGE, "min_secrets_version": 4},
    {**EDGE, "group": "other"},
]


@pytest.mark.parametrize("inputs", CHANGES, ids=["image", "env", "services", "files", "secrets", "group"])
def test_a_change_of_the_program_is_an_update_in_place(fly: FakeFly, edge: Managed, inputs: dict[str, Any]) -> None:
    edge.up(**EDGE)
    before = edge.outputs
    fly.apps["gw"].secrets_version = 4
    assert edge.up(**inputs) == "update"
    assert edge.outputs["config_hash"] != before["config_hash"]
    assert edge.outputs["version"] != before["version"]
    assert edge.outputs["machine_id"] == before["machine_id"]
    settle(fly)
    assert edge.refresh()
    assert edge.up(**inputs) == "same"


def test_what_others_put_on_a_machine_is_kept_and_what_we_drop_goes(fly: FakeFly, edge: Managed) -> None:
    edge.up(**with_config(metadata={"ours": "1"}))
    machine = settle(fly)
    machine["config"]["metadata"]["fly_release_id"] = "r1"
    assert edge.refresh(), "metadata of others is no difference"
    edge.up(**with_config(stop_config={}))
    config = settle(fly)["config"]
    assert config["metadata"]["fly_release_id"] == "r1"
    assert "ours" not in config["metadata"]


REPLACEMENTS: list[dict[str, Any]] = [
    {**EDGE, "region": "fra"},
    {**EDGE, "name": "edge-2"},
    with_config(mounts=[{"volume": "vol_2", "path": "/data"}]),
]


@pytest.mark.parametrize("inputs", REPLACEMENTS, ids=["region", "name", "volume"])
def test_what_a_machine_cannot_change_replaces_it(fly: FakeFly, edge: Managed, inputs: dict[str, Any]) -> None:
    edge.up(**with_config(mounts=[{"volume": "vol_1", "path": "/data"}]))
    old = edge.id
    assert edge.up(**inputs) == "replace"
    assert [*fly.apps["gw"].machines] == [edge.id]
    assert edge.id != old


def test_an_unknown_volume_replaces_nothing_in_a_preview(edge: Managed) -> None:
    edge.up(**with_config(mounts=[{"volume": "vol_1", "path": "/data"}]))
    inputs = with_config(mounts=[{"volume": pulumi.UNKNOWN, "path": "/data"}])
    checked = edge.provider.check(edge.inputs, inputs).inputs
    diff = edge.provider.diff(edge.id or "", edge.outputs, checked)
    assert (diff.changes, diff.replaces) == (True, [])


def test_a_preview_knows_hash_and_id(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    edge.refresh()
    checked = edge.provider.check(edge.inputs, with_config(image="caddy:3")).inputs
    assert checked["machine_id"] == edge.id
    assert edge.up(**with_config(image="caddy:3")) == "update"
    assert edge.outputs["config_hash"] == checked["config_hash"]
    unknown = edge.provider.check({}, {**EDGE, "min_secrets_version": pulumi.UNKNOWN}).inputs
    assert pulumi.contains_unknowns(unknown["config_hash"])
    assert not pulumi.contains_unknowns(unknown["config"])


@pytest.mark.parametrize("part", [*CONFIG, "metadata", "checks", "mounts"])
def test_a_check_bears_what_is_unknown(edge: Managed, part: str) -> None:
    inputs = {**with_config(**{part: pulumi.UNKNOWN}), "app": pulumi.UNKNOWN}
    result = edge.provider.check({}, inputs)
    assert not result.failures
    assert pulumi.contains_unknowns(result.inputs["config"][part])


def test_a_stopped_machine_is_started(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    settle(fly)["state"] = "stopped"
    assert not edge.refresh()
    assert edge.inputs["state"] == "stopped", "which a preview shows as stopped => started"
    assert edge.up(**EDGE) == "update"
    assert settle(fly)["state"] == "started"
    assert fly.count(update_of(edge)) == 0, "no new version is needed"
    assert edge.refresh()


def test_a_failed_machine_gets_a_new_version(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    settle(fly)["state"] = "failed"
    assert not edge.refresh()
    assert edge.up(**EDGE) == "update"
    assert settle(fly)["state"] == "started"


@pytest.mark.parametrize("change", [{}, {"image": "caddy:3"}], ids=["alone", "with a change"])
def test_a_cordoned_machine_is_uncordoned(fly: FakeFly, edge: Managed, change: dict[str, Any]) -> None:
    edge.up(**EDGE)
    settle(fly)["cordoned"] = True
    assert not edge.refresh()
    assert edge.inputs["state"] == "cordoned"
    assert edge.up(**with_config(**change)) == "update"
    assert not settle(fly)["cordoned"]
    assert edge.refresh()


def test_a_machine_that_may_stand_still_is_left_alone(fly: FakeFly, edge: Managed) -> None:
    service = {**CONFIG["services"][0], "autostop": "stop"}
    edge.up(**with_config(services=[service]))
    settle(fly)["state"] = "stopped"
    assert edge.refresh()


def test_a_destroyed_machine_is_made_again(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    settle(fly)["state"] = "destroyed"
    assert not edge.refresh()
    fly.apps["gw"].machines.clear()
    assert edge.up(**EDGE) == "create"


def test_a_machine_on_a_lost_host_keeps_what_is_recorded(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    machine = settle(fly)
    machine |= {"host_status": "unreachable", "config": {"image": "caddy:2"}}
    assert edge.refresh()


def test_the_machine_of_an_interrupted_run_is_adopted(fly: FakeFly, provider: Make, edge: Managed) -> None:
    edge.up(**EDGE)
    again = Managed(provider(MachineProvider))
    again.up(**EDGE)
    assert again.id == edge.id
    assert fly.writes() == [POST]


def test_an_adopted_machine_that_stands_still_gets_a_new_version(fly: FakeFly, provider: Make, edge: Managed) -> None:
    edge.up(**EDGE)
    settle(fly)["state"] = "stopped"
    Managed(provider(MachineProvider)).up(**EDGE)
    assert settle(fly)["state"] == "started"


def test_an_older_machine_of_that_name_is_brought_into_shape(fly: FakeFly, provider: Make, edge: Managed) -> None:
    edge.up(**with_config(image="caddy:1"))
    again = Managed(provider(MachineProvider))
    again.up(**EDGE)
    assert again.id == edge.id
    assert fly.machine("gw", "edge-1")["config"]["image"] == "caddy:2"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"region": "fra"}, "in fra with no volume, not in ord with no volume"),
        (with_config(mounts=[{"volume": "vol_1", "path": "/data"}]), "in ord with volume vol_1, not in ord with no"),
    ],
)
def test_a_machine_of_that_name_that_cannot_become_this_one_is_not_taken(
    fly: FakeFly, provider: Make, edge: Managed, other: dict[str, Any], said: str
) -> None:
    edge.up(**{**EDGE, **other})
    with pytest.raises(FlyError, match=rf"has a machine edge-1 .* {said}.*fly machine destroy"):
        Managed(provider(MachineProvider)).up(**EDGE)


@pytest.mark.parametrize("setback", [408, 503, httpx.ReadError("reset")])
@pytest.mark.parametrize("happened", [True, False], ids=["happened", "did not happen"])
def test_an_unclear_creation_makes_one_machine(
    fly: FakeFly, edge: Managed, setback: int | Exception, happened: bool
) -> None:
    fly.fail(POST, setback, happened=happened)
    edge.up(**EDGE)
    assert [*fly.apps["gw"].machines] == [edge.id]


@pytest.mark.parametrize("setback", [408, 503, httpx.ReadError("reset")])
@pytest.mark.parametrize("happened", [True, False], ids=["happened", "did not happen"])
def test_an_unclear_update_makes_one_version(
    fly: FakeFly, edge: Managed, setback: int | Exception, happened: bool
) -> None:
    edge.up(**EDGE)
    fly.fail(update_of(edge), setback, happened=happened)
    edge.up(**with_config(image="caddy:3"))
    assert edge.outputs["version"] == fly.machine("gw", "edge-1")["instance_id"]
    assert fly.machine("gw", "edge-1")["config"]["image"] == "caddy:3"
    assert fly.count(update_of(edge)) == (1 if happened else 2)


def test_an_update_holds_a_lease_and_names_the_version_it_saw(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    version = fly.machine("gw", "edge-1")["instance_id"]
    edge.up(**with_config(image="caddy:3"))
    lease = f"/apps/gw/machines/{edge.id}/lease"
    update = fly.requests.index(update_of(edge))
    assert fly.requests[update - 2] == f"POST {lease}"
    assert fly.requests[update + 1] == f"DELETE {lease}"
    assert fly.bodies[update]["current_version"] == version
    assert fly.apps["gw"].leases == {}


def test_a_lease_is_released_when_the_update_fails(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    fly.fail(update_of(edge), 422)
    with pytest.raises(FlyError, match=r"cannot update machine edge-1 \(.*\) of app gw: Fly.io answered 422"):
        edge.up(**with_config(image="caddy:3"))
    assert fly.apps["gw"].leases == {}


def test_a_foreign_lease_is_waited_for(fly: FakeFly, edge: Managed, clock: FakeClock) -> None:
    edge.up(**EDGE)
    fly.lend("gw", edge.id or "", "jane@example.com", 30)
    began = clock.now()
    assert edge.up(**with_config(image="caddy:3")) == "update"
    assert 30 <= clock.now() - began < 60


def test_a_foreign_lease_that_stays_is_named(fly: FakeFly, edge: Managed, clock: FakeClock) -> None:
    edge.up(**EDGE)
    fly.lend("gw", edge.id or "", "jane@example.com", 9999)
    began = clock.now()
    with pytest.raises(FlyError, match=r"answered 409.* held by jane@example.com; waited 90 s"):
        edge.up(**with_config(image="caddy:3"))
    assert clock.now() - began < 120


def test_a_leased_machine_is_destroyed_when_it_is_free(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    fly.lend("gw", edge.id or "", "jane@example.com", 10)
    edge.destroy()
    assert fly.apps["gw"].machines == {}


def test_a_change_that_comes_in_between_is_read_again(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    fly.fail(update_of(edge), 412)
    assert edge.up(**with_config(image="caddy:3")) == "update"
    assert fly.count(update_of(edge)) == 2


def test_secrets_that_are_not_there_yet_are_waited_for(fly: FakeFly, edge: Managed, clock: FakeClock) -> None:
    app = fly.apps["gw"]
    app.secrets_version, app.secrets_available = 3, 2
    clock.after(20, lambda: setattr(app, "secrets_available", None))
    began = clock.now()
    edge.up(**{**EDGE, "min_secrets_version": 3})
    assert 20 <= clock.now() - began < 40
    assert fly.bodies[-1]["min_secrets_version"] == 3


def test_secrets_that_never_come_are_an_error_in_the_end(fly: FakeFly, edge: Managed, clock: FakeClock) -> None:
    began = clock.now()
    with pytest.raises(FlyError, match=r"answered 412: failed_precondition: secrets version is not available yet"):
        edge.up(**{**EDGE, "min_secrets_version": 9})
    assert clock.now() - began < 120


def test_a_machine_that_names_no_secrets_version_gets_no_secrets(fly: FakeFly, edge: Managed) -> None:
    edge.up(**{key: value for key, value in EDGE.items() if key != "min_secrets_version"})
    body = next(body for body in fly.bodies if body and "config" in body)
    assert "min_secrets_version" not in body
    assert body["skip_secrets"] is True
    settle(fly)
    assert edge.refresh()


def test_updating_what_is_gone_says_so(fly: FakeFly, edge: Managed) -> None:
    edge.up(**EDGE)
    fly.apps["gw"].machines.clear()
    with pytest.raises(FlyError, match="run `pulumi up` again, which makes it anew"):
        edge.up(**with_config(image="caddy:3"))


def test_refreshing_all_machines_of_an_app_is_one_list(fly: FakeFly, provider: Make) -> None:
    fly.add_app()
    machines = [Managed(provider(MachineProvider)) for _ in range(4)]
    for number, machine in enumerate(machines):
        machine.up(**{**EDGE, "name": f"edge-{number}"})
    fly.requests.clear()
    assert all(machine.refresh() for machine in machines)
    assert fly.requests == ["GET /apps/gw/machines"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Edge 1"}, "name is 'Edge 1'"),
        ({"region": "chicago"}, "region is 'chicago'"),
        (with_config(image=""), "names no image"),
        (with_config(env={"A": 1}), "env A is 1.0; environment variables are text"),
    ],
)
def test_a_bad_input_is_refused(edge: Managed, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        edge.up(**{**EDGE, **change})
