"""What becomes of a machine when nobody asks for anything: it exits, fails to start, or its daemon goes away."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from local.contract import Exit
from local.fly.restarts import pause, restarts
from tests.local.fly.conftest import Fly, Serve
from tests.local.fly.fake_platform import Computer

NO = {"policy": "no"}
ALWAYS = {"policy": "always"}
TWICE = {"policy": "on-failure", "max_retries": 2}


@pytest.mark.parametrize(
    ("policy", "exit_code", "so_far", "again"),
    [
        (NO, 1, 0, False),
        (NO, 0, 0, False),
        (ALWAYS, 0, 0, True),
        (ALWAYS, 1, 1000, True),
        (TWICE, 0, 0, False),
        (TWICE, 1, 0, True),
        (TWICE, 137, 1, True),
        (TWICE, 1, 2, False),
    ],
)
def test_the_restart_policy(policy: dict[str, Any], exit_code: int, so_far: int, again: bool) -> None:
    assert restarts(policy, Exit(exit_code, None, requested=False), so_far) is again


def test_pauses_grow_to_a_limit() -> None:
    assert [pause(1, n) for n in (0, 1, 2, 3)] == [1, 2, 4, 8]
    assert pause(1, 50) == 30
    assert pause(0, 50) == 0


async def dies(fly: Fly, machine: dict[str, Any], exit_code: int, signal: int | None = None) -> dict[str, Any]:
    """Ends the machine's process and waits until the API has made up its mind."""
    path = f"/v1/apps/{'shop'}/machines/{machine['id']}"
    last = (await fly.http.get(path)).json()["events"][0]["id"]
    fly.platform.die(machine["id"], exit_code, signal)
    answer = await fly.http.get(f"{path}/wait", params={"state": "settled", "from_event_id": last, "timeout": 5})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = (await fly.http.get(path)).json()
    return found


async def test_without_restarts_an_exit_is_the_end(fly: Fly) -> None:
    await fly.app()
    machine = await fly.machine(config={"image": "known", "restart": NO})
    now = await dies(fly, machine, 139, 11)
    assert now["state"] == "stopped"
    event = now["events"][0]
    assert (event["type"], event["status"], event["source"]) == ("exit", "stopped", "flyd")
    happened = event["request"]["exit_event"]
    assert (happened["exit_code"], happened["signal"], happened["requested_stop"]) == (139, 11, False)
    assert len(fly.platform.started) == 1


async def test_on_failure_gives_up_after_its_retries(fly: Fly) -> None:
    await fly.app()
    machine = await fly.machine(config={"image": "known", "restart": TWICE})
    for tries in (1, 2):
        now = await dies(fly, machine, 1)
        assert now["state"] == "started"
        assert now["events"][0]["type"] == "start"
        exit_event = next(e for e in now["events"] if e["type"] == "exit")
        assert exit_event["request"]["restart_count"] == tries - 1
        assert exit_event["request"]["exit_event"]["restarting"] is True
    now = await dies(fly, machine, 1)
    assert now["state"] == "stopped"
    assert len(fly.platform.started) == 3
    await fly.http.post(f"/v1/apps/shop/machines/{machine['id']}/start")
    await fly.reaches(f"/v1/apps/shop/machines/{machine['id']}", "started")
    assert (await dies(fly, machine, 1))["state"] == "started", "a start on purpose counts anew"


async def test_on_failure_accepts_a_clean_end_and_always_does_not(fly: Fly) -> None:
    await fly.app()
    machine = await fly.machine(config={"image": "known", "restart": TWICE})
    assert (await dies(fly, machine, 0))["state"] == "stopped"
    machine = await fly.machine(config={"image": "known", "restart": ALWAYS})
    assert (await dies(fly, machine, 0))["state"] == "started"


async def test_a_machine_that_ran_steadily_has_all_its_retries_again(fly: Fly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.fly.restarts.STEADY_S", 0)
    await fly.app()
    machine = await fly.machine(config={"image": "known", "restart": {"policy": "on-failure", "max_retries": 1}})
    for _ in range(3):
        assert (await dies(fly, machine, 1))["state"] == "started"


async def test_a_stop_during_the_pause_ends_the_restarts(serve: Serve) -> None:
    fly = await serve(restart_pause_s=0.1)
    app = await fly.app()
    machine = await fly.machine(config={"image": "known", "restart": ALWAYS})
    path = f"{app}/machines/{machine['id']}"
    fly.platform.die(machine["id"], 1)
    assert (await fly.http.post(f"{path}/stop")).status_code == 200
    await fly.reaches(path, "stopped")
    await asyncio.sleep(0.2)  # the restart would have come by now
    assert (await fly.http.get(path)).json()["state"] == "stopped"
    assert len(fly.platform.started) == 1


async def test_a_machine_may_destroy_itself(fly: Fly) -> None:
    await fly.app()
    machine = await fly.machine(config={"image": "known", "restart": NO, "auto_destroy": True})
    fly.platform.die(machine["id"], 0)
    await fly.reaches(f"/v1/apps/shop/machines/{machine['id']}", "destroyed")


async def test_an_end_that_was_asked_for_restarts_nothing(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine(config={"image": "known", "restart": ALWAYS})
    path = f"{app}/machines/{machine['id']}"
    await fly.http.post(f"{path}/stop")
    stopped = await fly.reaches(path, "stopped")
    assert stopped["events"][0]["request"]["exit_event"]["requested_stop"] is True
    assert len(fly.platform.started) == 1


async def test_a_machine_that_cannot_start_has_failed_and_says_why(fly: Fly) -> None:
    app = await fly.app()
    body = {"config": {"image": "known", "init": {"exec": ["missing"]}}}
    machine = (await fly.http.post(f"{app}/machines", json=body)).json()
    path = f"{app}/machines/{machine['id']}"
    failed = await fly.reaches(path, "failed")
    assert (failed["events"][0]["type"], failed["events"][0]["status"]) == ("launch", "failed")
    assert (await fly.http.get("/_embedded/status")).json()["machines"][0][
        "failure"
    ] == "program missing: not found (missing)"
    await fly.http.post(path, json={"config": {"image": "known"}})
    await fly.reaches(path, "started")
    assert (await fly.http.get("/_embedded/status")).json()["machines"][0]["failure"] is None


def look_at(log: Path) -> tuple[list[str], int]:
    return log.read_text().splitlines(), stat.S_IMODE(log.stat().st_mode)


async def test_why_a_machine_cannot_start_is_in_its_log_without_its_secrets(fly: Fly) -> None:
    app = await fly.app()
    await fly.http.post(f"{app}/secrets", json={"values": {"KEY": "hunter2", "FLAG": "a"}})
    body = {"config": {"image": "known", "init": {"exec": ["missing", "hunter2"]}}}
    machine = (await fly.http.post(f"{app}/machines", json=body)).json()
    await fly.reaches(f"{app}/machines/{machine['id']}", "failed")
    status = (await fly.http.get("/_embedded/status")).json()["machines"][0]
    assert status["failure"] == "program missing: not found (missing [KEY])"
    lines, mode = look_at(Path(status["log"]))
    assert len(lines) == 1
    assert lines[0].endswith(f" the machine cannot start: {status['failure']}")
    assert mode == 0o600


@pytest.mark.parametrize("report_first", [True, False])
async def test_an_old_report_does_not_touch_the_new_process(fly: Fly, report_first: bool) -> None:
    """The process ends while the machine is being restarted: its end must not start a second one."""
    app = await fly.app()
    machine = await fly.machine(config={"image": "known", "restart": ALWAYS})
    path = f"{app}/machines/{machine['id']}"
    fly.platform.may_stop.clear()
    await fly.http.post(f"{path}/restart")
    if report_first:
        fly.platform.die(machine["id"], 1)
        fly.platform.may_stop.set()
    else:
        fly.platform.may_stop.set()
        fly.platform.die(machine["id"], 1)
    await fly.reaches(path, "started")
    await asyncio.sleep(0.05)
    assert fly.platform.runs(machine["id"])
    assert len(fly.platform.started) == 2


async def test_what_died_without_a_daemon_is_treated_as_exited(serve: Serve) -> None:
    fly = await serve()
    app = await fly.app()
    ends = await fly.machine(config={"image": "known", "restart": NO})
    restarts_ = await fly.machine(config={"image": "known", "restart": ALWAYS})
    lives = await fly.machine()
    computer = fly.platform.computer
    for machine in (ends, restarts_):
        del computer.processes[machine["id"]]
        computer.dead.append((machine["id"], machine["instance_id"], Exit(137, 9, requested=False)))

    again = await serve(computer)
    await again.reaches(f"{app}/machines/{ends['id']}", "stopped")
    await again.reaches(f"{app}/machines/{restarts_['id']}", "started")
    assert [spec.machine_id for spec in again.platform.started] == [restarts_["id"]]
    assert again.platform.runs(lives["id"])
    exit_event = (await again.http.get(f"{app}/machines/{ends['id']}")).json()["events"][0]
    assert exit_event["request"]["exit_event"]["exit_code"] == 137


async def test_after_everything_was_stopped_what_ran_runs_again(serve: Serve) -> None:
    fly = await serve()
    app = await fly.app()
    runs = await fly.machine(config={"image": "known", "restart": NO})
    stopped = await fly.machine()
    await fly.http.post(f"{app}/machines/{stopped['id']}/stop")
    await fly.reaches(f"{app}/machines/{stopped['id']}", "stopped")
    await fly.lifecycle.close(stop_everything=True)

    again = await serve(Computer())
    await again.reaches(f"{app}/machines/{runs['id']}", "started")
    assert (await again.http.get(f"{app}/machines/{stopped['id']}")).json()["state"] == "stopped"
    assert [spec.machine_id for spec in again.platform.started] == [runs["id"]]


@pytest.mark.parametrize("action", ["create", "update", "restart", "stop", "destroy"])
async def test_a_transition_the_daemon_could_not_end_is_ended_by_the_next(serve: Serve, action: str) -> None:
    fly = await serve()
    app = await fly.app()
    if action == "create":
        fly.platform.may_start.clear()
        machine = (await fly.http.post(f"{app}/machines", json={"config": {"image": "known:1"}})).json()
    else:
        machine = await fly.machine(config={"image": "known:1"})
    path = f"{app}/machines/{machine['id']}"
    fly.platform.may_stop.clear()
    match action:
        case "update":
            machine = (await fly.http.post(path, json={"config": {"image": "known:2"}})).json()
        case "restart" | "stop":
            await fly.http.post(f"{path}/{action}")
        case "destroy":
            fly.world.enter(fly.world.store.machines[machine["id"]], "destroying")
    await fly.lifecycle.close(stop_everything=False)

    again = await serve(fly.platform.computer)
    state = {"stop": "stopped", "destroy": "destroyed"}.get(action, "started")
    now = await again.reaches(path, state)
    assert now["instance_id"] == machine["instance_id"]
    assert again.platform.runs(machine["id"]) is (state == "started")
    if action == "update":
        assert again.platform.started[-1].config["image"] == "known:2"
