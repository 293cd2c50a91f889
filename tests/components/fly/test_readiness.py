from __future__ import annotations

from typing import Any

import pulumi
import pytest

from components.fly.errors import FlyError
from components.fly.machine import MachineProvider
from components.fly.readiness import MachineReadyProvider
from tests.components.fly.fake_clock import FakeClock
from tests.components.fly.fake_fly import START_S, FakeFly
from tests.components.fly.managed import Make, Managed
from tests.components.fly.test_machine import EDGE, settle, with_config

CHECKS = {"ready": {"type": "http", "port": 8080, "path": "/"}}
INPUTS = with_config(services=[], checks=CHECKS)


@pytest.fixture
def machine(provider: Make, fly: FakeFly) -> Managed:
    fly.add_app()
    return Managed(provider(MachineProvider))


@pytest.fixture
def ready(provider: Make) -> Managed:
    return Managed(provider(MachineReadyProvider))


def wait_for(ready: Managed, machine: Managed, deadline_s: int = 120) -> str:
    outputs = machine.outputs
    return ready.up(
        app="gw", machine_id=outputs["machine_id"], config_hash=outputs["config_hash"], deadline_s=deadline_s
    )


def failure(ready: Managed, machine: Managed, deadline_s: int = 120) -> str:
    with pytest.raises(FlyError) as caught:
        wait_for(ready, machine, deadline_s)
    return str(caught.value)


def test_a_machine_is_waited_for(fly: FakeFly, machine: Managed, ready: Managed, clock: FakeClock) -> None:
    machine.up(**INPUTS)
    began = clock.now()
    assert wait_for(ready, machine) == "create"
    assert START_S <= clock.now() - began < START_S + 5
    assert ready.refresh()
    assert wait_for(ready, machine) == "same"
    ready.destroy()
    assert fly.machine("gw", "edge-1"), "a wait owns nothing"


def test_checks_are_waited_for_too(
    fly: FakeFly, machine: Managed, ready: Managed, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.up(**INPUTS)
    clock.after(START_S, lambda: fly.set_check("gw", "edge-1", "critical", "connection refused"))
    clock.after(30, lambda: fly.set_check("gw", "edge-1", "passing"))
    began = clock.now()
    wait_for(ready, machine)
    assert 30 <= clock.now() - began < 40
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) in (2, 3), "a line every ten seconds"
    assert lines[0].endswith("started, waiting for ready, 10 s so far")


def test_no_result_yet_is_no_passing_check(fly: FakeFly, machine: Managed, ready: Managed, clock: FakeClock) -> None:
    machine.up(**INPUTS)
    clock.after(START_S, lambda: fly.machine("gw", "edge-1").update(checks=[]))
    clock.after(20, lambda: fly.set_check("gw", "edge-1", "passing"))
    began = clock.now()
    wait_for(ready, machine)
    assert clock.now() - began >= 20


def test_a_machine_without_checks_has_to_run(machine: Managed, ready: Managed) -> None:
    machine.up(**with_config(services=[]))
    assert wait_for(ready, machine) == "create"


def test_the_version_before_does_not_count(fly: FakeFly, machine: Managed, ready: Managed, clock: FakeClock) -> None:
    machine.up(**INPUTS)
    wait_for(ready, machine)
    machine.up(**{**INPUTS, "files": {}})
    # Fly may go on showing the version before for a while.
    fly.machine("gw", "edge-1").update(state="started", checks=[{"name": "ready", "status": "passing", "output": ""}])
    old, began = ready.outputs["version"], clock.now()
    assert wait_for(ready, machine) == "update"
    assert clock.now() - began >= START_S
    assert ready.outputs["version"] == machine.outputs["version"] != old


def test_a_deadline_ends_the_wait_and_says_what_failed(
    fly: FakeFly, machine: Managed, ready: Managed, clock: FakeClock
) -> None:
    machine.up(**INPUTS)
    clock.after(START_S, lambda: fly.set_check("gw", "edge-1", "critical", "503\n no upstream"))
    began = clock.now()
    text = failure(ready, machine, deadline_s=40)
    assert clock.now() - began < 50
    assert text.startswith(f"machine edge-1 ({machine.id}) of app gw is not ready: not after 40 s; it is started")
    assert "its check ready says: 503 no upstream" in text
    assert "exit" not in text, "nothing ended by itself"
    assert f"fly logs --app gw --machine {machine.id}" in text


def test_a_loop_of_exits_ends_the_wait_early(fly: FakeFly, machine: Managed, ready: Managed, clock: FakeClock) -> None:
    fly.starts = False
    machine.up(**INPUTS)
    for _ in range(3):
        fly.exit("gw", "edge-1", 78, state="starting")
    began = clock.now()
    text = failure(ready, machine)
    assert "it exits again and again" in text
    assert "its last exit: exit code 78" in text
    assert clock.now() == began


def test_exits_of_an_earlier_version_do_not_count(fly: FakeFly, machine: Managed, ready: Managed) -> None:
    machine.up(**INPUTS)
    for _ in range(5):
        fly.exit("gw", "edge-1", 78, state="started")
    machine.up(**{**INPUTS, "files": {}})
    assert wait_for(ready, machine) == "create"


def test_exits_someone_asked_for_do_not_count(fly: FakeFly, machine: Managed, ready: Managed) -> None:
    machine.up(**INPUTS)
    for _ in range(5):
        fly.exit("gw", "edge-1", 0, state="starting", requested=True)
    assert wait_for(ready, machine) == "create"


def test_a_machine_that_stays_down_ends_the_wait_early(
    fly: FakeFly, machine: Managed, ready: Managed, clock: FakeClock
) -> None:
    fly.starts = False
    machine.up(**INPUTS)
    fly.exit("gw", "edge-1", 1)
    began = clock.now()
    assert "it does not run; it is stopped" in failure(ready, machine)
    assert clock.now() - began < 30


def test_a_machine_that_vanishes_ends_the_wait(fly: FakeFly, machine: Managed, ready: Managed) -> None:
    machine.up(**INPUTS)
    fly.apps["gw"].machines.clear()
    assert "is gone" in failure(ready, machine)


def test_a_machine_that_falls_ill_is_waited_for_again(fly: FakeFly, machine: Managed, ready: Managed) -> None:
    machine.up(**INPUTS)
    wait_for(ready, machine)
    fly.set_check("gw", "edge-1", "critical")
    fly.clock.sleep(10)
    assert not ready.refresh()
    assert ready.inputs["ready"] is False, "which a preview shows as false => true"
    fly.clock.after(5, lambda: fly.set_check("gw", "edge-1", "passing"))
    assert wait_for(ready, machine) == "update"
    fly.clock.sleep(10)
    assert ready.refresh()


def test_a_version_someone_else_made_is_waited_for(fly: FakeFly, machine: Managed, ready: Managed) -> None:
    machine.up(**INPUTS)
    wait_for(ready, machine)
    fly.change_machine("gw", "edge-1", image="evil:1")
    fly.clock.sleep(10)
    machine.refresh()
    assert not ready.refresh(), "although it is healthy: `up` is about to undo it"
    machine.up(**INPUTS)
    assert wait_for(ready, machine) == "update"
    assert ready.outputs["version"] == fly.machine("gw", "edge-1")["instance_id"]


def test_a_machine_fly_proxy_has_stopped_is_well(fly: FakeFly, machine: Managed, ready: Managed) -> None:
    machine.up(**with_config(services=[{**EDGE["config"]["services"][0], "autostop": "stop"}]))
    wait_for(ready, machine)
    settle(fly)["state"] = "stopped"
    assert ready.refresh()


def test_a_wait_goes_with_its_machine(fly: FakeFly, machine: Managed, ready: Managed) -> None:
    machine.up(**INPUTS)
    wait_for(ready, machine)
    fly.apps["gw"].machines.clear()
    fly.clock.sleep(10)
    assert not ready.refresh()
    assert ready.id is None


def test_another_deadline_alone_waits_for_nothing(machine: Managed, ready: Managed) -> None:
    machine.up(**INPUTS)
    wait_for(ready, machine)
    assert wait_for(ready, machine, deadline_s=7) == "same"


@pytest.mark.parametrize(
    ("change", "replaces"),
    [
        ({"machine_id": pulumi.UNKNOWN}, []),
        ({"config_hash": pulumi.UNKNOWN}, []),
        ({"config_hash": "x"}, []),
        ({"machine_id": "x"}, ["machine_id"]),
    ],
)
def test_only_another_machine_replaces_a_wait(
    machine: Managed, ready: Managed, change: dict[str, Any], replaces: list[str]
) -> None:
    machine.up(**INPUTS)
    wait_for(ready, machine)
    diff = ready.provider.diff(ready.id or "", ready.outputs, {**ready.inputs, **change})
    assert (diff.changes, diff.replaces) == (True, replaces)
