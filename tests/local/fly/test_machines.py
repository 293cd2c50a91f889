from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.local.fly.conftest import Fly, Serve

SERVICE = {
    "protocol": "tcp",
    "internal_port": 4000,
    "autostop": "off",
    "ports": [{"port": 443, "handlers": ["tls", "http"]}],
    "checks": [{"type": "http", "path": "/", "interval": 15_000_000_000, "timeout": "60s"}],
}


async def test_a_machine_is_created_then_runs(fly: Fly) -> None:
    app = await fly.app()
    fly.platform.may_start.clear()
    created = (await fly.http.post(f"{app}/machines", json={"name": "web-1", "config": {"image": "known:1"}})).json()
    assert (created["state"], created["name"], created["region"]) == ("created", "web-1", "ord")
    assert created["version"] == created["instance_id"]
    assert len(created["instance_id"]) == 26
    assert created["private_ip"].startswith("fdaa:")
    assert created["host_status"] == "ok"
    assert created["image_ref"]["repository"] == "library/known"
    path = f"{app}/machines/{created['id']}"
    assert (await fly.http.get(path)).json()["state"] in ("created", "starting")
    fly.platform.may_start.set()
    started = await fly.reaches(path, "started")
    assert [(e["type"], e["status"], e["source"]) for e in started["events"]] == [
        ("start", "started", "flyd"),
        ("launch", "created", "user"),
    ]
    assert started["events"][0]["timestamp"] > 1_600_000_000_000, "milliseconds"
    assert fly.platform.started[0].address.startswith("127.77.")


async def test_what_was_not_said_is_filled_in_and_one_form_is_answered(fly: Fly) -> None:
    await fly.app()
    machine = await fly.machine(config={"image": "known", "services": [SERVICE], "env": {"A": "b"}, "checks": None})
    assert machine["config"] == {
        "image": "known",
        "env": {"A": "b"},
        "init": {},
        "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
        "restart": {"policy": "on-failure", "max_retries": 10},
        "services": [
            {
                "protocol": "tcp",
                "internal_port": 4000,
                "autostop": False,
                "ports": [{"port": 443, "handlers": ["tls", "http"]}],
                "checks": [{"type": "http", "path": "/", "interval": "15s", "timeout": "1m0s"}],
            }
        ],
    }


async def test_an_unknown_image_is_refused_and_the_known_ones_are_named(fly: Fly) -> None:
    app = await fly.app()
    answer = await fly.http.post(f"{app}/machines", json={"config": {"image": "nothing:1"}})
    assert answer.status_code == 400
    assert "known" in answer.json()["error"]
    assert (await fly.http.get(f"{app}/machines")).json() == []


async def test_creating_is_not_idempotent_but_names_are_unique_within_an_app(fly: Fly) -> None:
    app = await fly.app()
    body = {"config": {"image": "known"}}
    ids = {(await fly.http.post(f"{app}/machines", json=body)).json()["id"] for _ in range(2)}
    assert len(ids) == 2
    first = await fly.machine(name="web")
    answer = await fly.http.post(f"{app}/machines", json={**body, "name": "web"})
    assert answer.status_code == 409
    assert first["id"] in answer.json()["error"]
    await fly.app("other")
    await fly.machine("/v1/apps/other", name="web")
    await fly.http.delete(f"{app}/machines/{first['id']}", params={"force": "true"})
    await fly.reaches(f"{app}/machines/{first['id']}", "destroyed")
    await fly.machine(name="web")


@pytest.mark.parametrize(
    ("body", "status", "place"),
    [
        ({"config": {}}, 400, "config.image"),
        ({}, 400, "config"),
        ({"config": {"image": "known", "envs": {}}}, 400, "unknown field config.envs"),
        ({"config": {"image": "known", "env": {"A": 1}}}, 400, "config.env.A"),
        ({"config": {"image": "known", "services": [{**SERVICE, "port": 1}]}}, 400, "config.services.0.port"),
        ({"config": {"image": "known", "services": [{**SERVICE, "internal_port": 70000}]}}, 400, "internal_port"),
        ({"config": {"image": "known", "services": [{**SERVICE, "autostop": "maybe"}]}}, 400, "autostop"),
        ({"config": {"image": "known", "checks": {"a": {"type": "http"}}}}, 400, "config.checks.a.port"),
        ({"config": {"image": "known", "stop_config": {"timeout": "15"}}}, 400, "config.stop_config.timeout"),
        ({"config": {"image": "known", "guest": {"memory_mb": 4096}}}, 422, "256 to 2048"),
        ({"config": {"image": "known", "guest": {"memory_mb": 300}}}, 422, "steps of 256"),
        ({"config": {"image": "known", "guest": {"cpus": 3}}}, 422, "CPUs"),
        ({"config": {"image": "known", "files": [{"guest_path": "/a", "raw_value": "%"}]}}, 422, "base64"),
        ({"config": {"image": "known", "files": [{"guest_path": "/a"}]}}, 422, "raw_value or secret_name"),
        ({"config": {"image": "known", "files": [{"guest_path": "a", "raw_value": ""}]}}, 400, "guest_path"),
        ({"config": {"image": "known", "restart": {"policy": "never"}}}, 400, "policy"),
        ({"config": {"image": "known", "containers": [{}]}}, 422, "does not do containers"),
        ({"config": {"image": "known"}, "region": "moon"}, 400, "unknown region"),
        ({"config": {"image": "known"}, "name": "No Name"}, 422, "name"),
        ({"config": {"image": "known", "mounts": [{"volume": "vol_x", "path": "/data"}]}}, 422, "vol_x not found"),
    ],
)
async def test_a_wrong_machine_is_refused(fly: Fly, body: dict[str, Any], status: int, place: str) -> None:
    app = await fly.app()
    answer = await fly.http.post(f"{app}/machines", json=body)
    assert answer.status_code == status, answer.text
    assert place in answer.json()["error"]
    assert (await fly.http.get(f"{app}/machines")).json() == []


async def test_an_update_replaces_the_whole_configuration(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine(config={"image": "known:1", "env": {"A": "b"}, "metadata": {"k": "v"}})
    path = f"{app}/machines/{machine['id']}"
    updated = (await fly.http.post(path, json={"config": {"image": "known:2"}})).json()
    assert updated["state"] == "replacing"
    assert updated["instance_id"] != machine["instance_id"]
    assert updated["config"].keys() == {"image", "init", "guest", "restart"}
    now = await fly.reaches(path, "started")
    assert [(e["type"], e["status"]) for e in now["events"][:3]] == [
        ("start", "started"),
        ("exit", "stopped"),
        ("update", "replacing"),
    ]
    before, after = fly.platform.started
    assert (before.instance_id, after.instance_id) == (machine["instance_id"], updated["instance_id"])
    assert before.address == after.address
    versions = (await fly.http.get(f"{path}/versions")).json()
    assert [version["user_config"]["image"] for version in versions] == ["known:2", "known:1"]


async def test_an_update_of_an_older_version_is_refused(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine()
    path = f"{app}/machines/{machine['id']}"
    body = {"config": {"image": "known:2"}, "current_version": machine["instance_id"]}
    assert (await fly.http.post(path, json=body)).status_code == 200
    await fly.reaches(path, "started")
    answer = await fly.http.post(path, json=body)
    assert answer.status_code == 412
    assert machine["instance_id"] in answer.json()["error"]
    assert len(fly.platform.started) == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": "other"}, 422),
        ({"region": "ams"}, 422),
        ({"config": {"image": "nothing"}}, 400),
        ({"config": {"image": "known", "guest": {"cpus": 3}}}, 422),
    ],
)
async def test_what_cannot_change_is_refused_and_the_machine_runs_on(
    fly: Fly, change: dict[str, Any], status: int
) -> None:
    app = await fly.app()
    machine = await fly.machine(name="web")
    path = f"{app}/machines/{machine['id']}"
    assert (await fly.http.post(path, json={"config": {"image": "known:2"}, **change})).status_code == status
    now = (await fly.http.get(path)).json()
    assert (now["state"], now["instance_id"]) == ("started", machine["instance_id"])
    same = {"config": {"image": "known:2"}, "name": "web", "region": "ord"}
    assert (await fly.http.post(path, json=same)).status_code == 200


async def test_an_update_starts_a_stopped_machine_unless_told_not_to(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine(skip_launch=True)
    path = f"{app}/machines/{machine['id']}"
    await fly.reaches(path, "stopped")
    await fly.http.post(path, json={"config": {"image": "known:2"}, "skip_launch": True})
    assert (await fly.reaches(path, "stopped"))["config"]["image"] == "known:2"
    assert fly.platform.started == []
    await fly.http.post(path, json={"config": {"image": "known:3"}})
    await fly.reaches(path, "started")
    await fly.http.post(path, json={"config": {"image": "known:4"}, "skip_launch": True})
    await fly.reaches(path, "stopped")
    assert not fly.platform.runs(machine["id"])


async def test_stop_uses_the_signal_asked_for_or_configured(fly: Fly) -> None:
    app = await fly.app()
    plain = await fly.machine()
    configured = await fly.machine(config={"image": "known", "stop_config": {"signal": "SIGTERM", "timeout": "1m"}})
    for machine, body in ((plain, None), (configured, None), (configured, {"signal": "SIGQUIT", "timeout": "2s"})):
        path = f"{app}/machines/{machine['id']}"
        await fly.http.post(f"{path}/start")
        await fly.reaches(path, "started")
        assert (await fly.http.post(f"{path}/stop", json=body)).json() == {"ok": True}
        await fly.reaches(path, "stopped")
    assert [stop[1:] for stop in fly.platform.stops] == [("SIGINT", 5), ("SIGTERM", 60), ("SIGQUIT", 2)]
    for wrong in ({"signal": "SIGNONE"}, {"timeout": "wrong"}, {"timeout": -1}):
        answer = await fly.http.post(f"{app}/machines/{plain['id']}/stop", json=wrong)
        assert answer.status_code == 400, wrong


async def test_start_tells_the_state_before(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine()
    path = f"{app}/machines/{machine['id']}"
    assert (await fly.http.post(f"{path}/start")).json()["previous_state"] == "started"
    await fly.http.post(f"{path}/stop")
    await fly.reaches(path, "stopped")
    assert (await fly.http.post(f"{path}/start")).json()["previous_state"] == "stopped"
    await fly.reaches(path, "started")
    assert len(fly.platform.started) == 2, "a started machine is left alone"


async def test_restart_runs_the_same_version_in_a_new_process(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine()
    path = f"{app}/machines/{machine['id']}"
    assert (await fly.http.post(f"{path}/restart", params={"timeout": "7", "signal": "SIGTERM"})).json() == {"ok": True}
    now = await fly.reaches(path, "started")
    assert now["instance_id"] == machine["instance_id"]
    assert len(fly.platform.started) == 2
    assert fly.platform.stops[-1][1:] == ("SIGTERM", 7)
    assert (await fly.http.post(f"{path}/restart", params={"timeout": "soon"})).status_code == 400
    assert (await fly.http.post(f"{path}/restart", params={"signal": "SIGNONE"})).status_code == 400
    await fly.http.post(f"{path}/restart", params={"force_stop": "true"})
    await fly.reaches(path, "started")
    assert fly.platform.stops[-1][1:] == ("SIGKILL", 0)


async def test_suspending_is_said_to_be_impossible(fly: Fly) -> None:
    await fly.app()
    machine = await fly.machine()
    answer = await fly.http.post(f"/v1/apps/shop/machines/{machine['id']}/suspend")
    assert answer.status_code == 501
    assert "Stop it instead" in answer.json()["error"]
    assert fly.platform.runs(machine["id"])


async def test_a_running_machine_is_destroyed_only_by_force(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine()
    path = f"{app}/machines/{machine['id']}"
    assert (await fly.http.delete(path)).status_code == 412
    assert fly.platform.runs(machine["id"])
    await fly.http.post(f"{path}/stop")
    await fly.reaches(path, "stopped")
    assert (await fly.http.delete(path)).json() == {"ok": True}
    gone = await fly.reaches(path, "destroyed")
    assert gone["events"][0]["status"] == "destroyed"
    assert (await fly.http.delete(path)).status_code == 404
    assert (await fly.http.post(f"{path}/start")).status_code == 404
    assert (await fly.http.post(path, json={"config": {"image": "known"}})).status_code == 404


@pytest.mark.parametrize("force", ["force", "kill"])
async def test_force_ends_even_a_machine_that_will_not_stop(fly: Fly, force: str) -> None:
    app = await fly.app()
    machine = await fly.machine()
    path = f"{app}/machines/{machine['id']}"
    fly.platform.may_stop.clear()
    await fly.http.post(f"{path}/stop")
    assert (await fly.http.get(path)).json()["state"] == "stopping"
    assert (await fly.http.delete(path, params={force: "true"})).status_code == 200
    await fly.reaches(path, "destroyed")
    assert not fly.platform.runs(machine["id"])


async def test_destroyed_machines_are_listed_only_on_demand(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine()
    await fly.http.delete(f"{app}/machines/{machine['id']}", params={"force": "true"})
    await fly.reaches(f"{app}/machines/{machine['id']}", "destroyed")
    assert (await fly.http.get(f"{app}/machines")).json() == []
    everything = (await fly.http.get(f"{app}/machines", params={"include_deleted": "true"})).json()
    assert [m["state"] for m in everything] == ["destroyed"]


async def test_the_list_can_be_filtered(fly: Fly) -> None:
    app = await fly.app()
    for name, region, group in (("a", "ord", "web"), ("b", "ams", "web"), ("c", "ord", "worker")):
        metadata = {"fly_process_group": group, "more": "x"}
        await fly.machine(name=name, region=region, config={"image": "known", "metadata": metadata})
    stopped = await fly.machine(name="d", skip_launch=True)
    await fly.reaches(f"{app}/machines/{stopped['id']}", "stopped")

    async def names(**query: str) -> list[str]:
        return [m["name"] for m in (await fly.http.get(f"{app}/machines", params=query)).json()]

    assert await names() == ["a", "b", "c", "d"]
    assert await names(region="ord") == ["a", "c", "d"]
    assert await names(state="stopped") == ["d"]
    assert await names(state="started,stopped", region="ams") == ["b"]
    assert await names(**{"metadata.fly_process_group": "web"}) == ["a", "b"]
    assert await names(**{"metadata.fly_process_group": "web", "metadata.more": "y"}) == []
    short = (await fly.http.get(f"{app}/machines", params={"summary": "true"})).json()
    assert not {"config", "checks", "events", "host_status"} & short[0].keys()
    assert (await fly.http.get(f"{app}/machines", params={"summary": "perhaps"})).status_code == 400


async def test_a_machine_belongs_to_its_app(fly: Fly) -> None:
    await fly.app("shop")
    await fly.app("other")
    machine = await fly.machine()
    assert (await fly.http.get(f"/v1/apps/other/machines/{machine['id']}")).status_code == 404
    assert (await fly.http.delete(f"/v1/apps/other/machines/{machine['id']}")).status_code == 404


async def test_addresses_are_for_life_and_not_reused_at_once(fly: Fly) -> None:
    app = await fly.app()
    for _ in range(3):
        machine = await fly.machine()
        await fly.http.delete(f"{app}/machines/{machine['id']}", params={"force": "true"})
        await fly.reaches(f"{app}/machines/{machine['id']}", "destroyed")
    assert len({spec.address for spec in fly.platform.started}) == 3


async def test_checks_are_shown_as_the_platform_reports_them(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine(
        config={"image": "known", "services": [SERVICE], "checks": {"ready": {"type": "tcp", "port": 1}}}
    )
    path = f"{app}/machines/{machine['id']}"
    checks = (await fly.http.get(path)).json()["checks"]
    assert {c["name"]: c["status"] for c in checks} == {
        "ready": "critical",
        "servicecheck-00-http-4000": "critical",
    }
    fly.platform.pass_checks(machine["id"])
    checks = (await fly.http.get(path)).json()["checks"]
    assert {c["status"] for c in checks} == {"passing"}


async def test_signals_processes_and_commands(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine()
    path = f"{app}/machines/{machine['id']}"
    assert (await fly.http.post(f"{path}/signal", json={"signal": "SIGHUP"})).json() == {"ok": True}
    assert (await fly.http.post(f"{path}/signal", json={"signal": 10})).json() == {"ok": True}
    assert fly.platform.signals == [(machine["id"], "SIGHUP"), (machine["id"], "SIGUSR1")]
    for wrong in ("SIGNONE", 99, "hup"):
        assert (await fly.http.post(f"{path}/signal", json={"signal": wrong})).status_code == 400
    result = await fly.http.post(f"{path}/exec", json={"command": ["echo", "a"], "stdin": "b", "timeout": 5})
    assert result.json() == {"exit_code": 3, "stdout": "echo a <b>", "stderr": ""}
    assert (await fly.http.post(f"{path}/exec", json={"command": ["sleep"]})).status_code == 408
    assert (await fly.http.post(f"{path}/exec", json={"command": []})).status_code == 400
    assert (await fly.http.get(f"{path}/ps")).json()[0]["pid"] >= 1000
    assert (await fly.http.get(f"{path}/memory")).json() == {"limit_mb": 256, "available_mb": 192}
    await fly.http.post(f"{path}/stop")
    await fly.reaches(path, "stopped")
    for method, part, body in (
        ("POST", "exec", {"command": ["echo"]}),
        ("POST", "signal", {"signal": "SIGHUP"}),
        ("GET", "ps", None),
        ("GET", "memory", None),
    ):
        assert (await fly.http.request(method, f"{path}/{part}", json=body)).status_code == 412, part


async def test_requests_for_one_machine_take_turns(fly: Fly) -> None:
    app = await fly.app()
    fly.platform.may_start.clear()
    machine = (await fly.http.post(f"{app}/machines", json={"config": {"image": "known:1"}})).json()
    path = f"{app}/machines/{machine['id']}"
    update = asyncio.create_task(fly.http.post(path, json={"config": {"image": "known:2"}}))
    await asyncio.wait([update], timeout=0.1)
    assert not update.done(), "it waits until the machine has started"
    fly.platform.may_start.set()
    assert (await update).status_code == 200
    await fly.reaches(path, "started")
    assert [spec.config["image"] for spec in fly.platform.started] == ["known:1", "known:2"]


async def test_a_turn_that_does_not_come_is_a_refusal(fly: Fly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.fly.turns.TURN_DEADLINE_S", 0.05)
    app = await fly.app()
    fly.platform.may_start.clear()
    machine = (await fly.http.post(f"{app}/machines", json={"config": {"image": "known"}})).json()
    answer = await fly.http.post(f"{app}/machines/{machine['id']}/stop")
    assert answer.status_code == 412
    assert "is still starting" in answer.json()["error"]


async def test_a_cordoned_machine_says_so(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine()
    path = f"{app}/machines/{machine['id']}"
    for action, cordoned in (("cordon", True), ("uncordon", False)):
        assert (await fly.http.post(f"{path}/{action}")).json() == {"ok": True}
        assert (await fly.http.get(path)).json()["cordoned"] is cordoned


async def test_machines_survive_the_daemon(serve: Serve) -> None:
    fly = await serve()
    app = await fly.app()
    machine = await fly.machine(name="web", config={"image": "known", "metadata": {"a": "b"}})
    again = await serve(fly.platform.computer)
    found = (await again.http.get(f"{app}/machines/{machine['id']}")).json()
    assert (found["state"], found["config"], found["instance_id"]) == (
        "started",
        machine["config"],
        machine["instance_id"],
    )
    assert again.platform.started == [], "it was left running"
