"""The life of a machine: start, signals, ends, restarts of the daemon. Real processes throughout."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from local.contract import Exit, LaunchError, MachineSpec
from local.machines.platform import ProcessPlatform
from tests.local.machines.conftest import DEADLINE_S, Events, MakeSpec, Reports

FOREVER = "signal.pause()"


def shim_of(state: Path, spec: MachineSpec) -> psutil.Process:
    run = json.loads((state / "machines" / spec.machine_id / "run.json").read_text())
    return psutil.Process(run["shim"])


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("sys.exit(0)", Exit(0, None, requested=False)),
        ("sys.exit(7)", Exit(7, None, requested=False)),
        ("os.kill(os.getpid(), signal.SIGSEGV)", Exit(139, signal.SIGSEGV, requested=False)),
    ],
)
async def test_an_end_is_reported_with_its_code(
    platform: ProcessPlatform, events: Events, spec: MakeSpec, program: str, expected: Exit
) -> None:
    machine = spec(python=program)
    await platform.start(machine)
    assert await events.exit_of(machine) == expected
    assert events.exits == [(machine.machine_id, machine.instance_id, expected)]


async def test_the_pid_is_the_main_process(platform: ProcessPlatform, spec: MakeSpec) -> None:
    pid = await platform.start(spec("sleep", "1000"))
    assert psutil.Process(pid).cmdline() == ["sleep", "1000"]


async def test_stop_lets_the_machine_end_by_itself(
    platform: ProcessPlatform, events: Events, reports: Reports, spec: MakeSpec
) -> None:
    machine = spec(python=f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); tell(ready=True); {FOREVER}")
    await platform.start(machine)
    await reports.next()
    await platform.stop(machine.machine_id, "SIGTERM", DEADLINE_S)
    assert await events.exit_of(machine) == Exit(3, None, requested=True)


async def test_stop_kills_after_the_time_out(
    platform: ProcessPlatform, events: Events, reports: Reports, spec: MakeSpec
) -> None:
    deaf = spec(python=f"signal.signal(signal.SIGINT, signal.SIG_IGN); tell(ready=True)\nwhile True: {FOREVER}")
    pid = await platform.start(deaf)
    await reports.next()
    await platform.stop(deaf.machine_id, "SIGINT", 0.2)
    assert not psutil.pid_exists(pid)
    assert await events.exit_of(deaf) == Exit(137, signal.SIGKILL, requested=True)


async def test_a_signal_reaches_the_main_process_only(
    platform: ProcessPlatform, reports: Reports, spec: MakeSpec
) -> None:
    program = f"""
signal.signal(signal.SIGUSR1, lambda *_: tell(got="SIGUSR1", by=os.getpid()))
child = os.fork()
tell(ready=os.getpid(), child=child == 0)
while True: {FOREVER}
"""
    machine = spec(python=program)
    await platform.start(machine)
    ready = [await reports.next(), await reports.next()]
    await platform.signal(machine.machine_id, "SIGUSR1")
    main = next(report["ready"] for report in ready if not report["child"])
    assert await reports.next() == {"got": "SIGUSR1", "by": main}


async def test_no_child_outlives_the_main_process(
    platform: ProcessPlatform, events: Events, reports: Reports, spec: MakeSpec
) -> None:
    program = f"""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
        tell(ready=True)
        while True: {FOREVER}
    os._exit(0)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True: {FOREVER}
"""
    machine = spec(python=program)
    await platform.start(machine)
    await reports.next()
    members = [entry["pid"] for entry in platform.processes(machine.machine_id)]
    assert len(members) == 2  # the main process and the orphan; the one between them is gone and was collected
    await platform.stop(machine.machine_id, "SIGTERM", DEADLINE_S)
    assert not [pid for pid in members if psutil.pid_exists(pid)]


async def test_a_second_start_is_refused(platform: ProcessPlatform, spec: MakeSpec) -> None:
    machine = spec("sleep", "1000")
    await platform.start(machine)
    with pytest.raises(LaunchError, match="machine1 runs already"):
        await platform.start(machine)


async def test_a_machine_starts_again_after_its_end(platform: ProcessPlatform, events: Events, spec: MakeSpec) -> None:
    machine = spec("true")
    for count in (1, 2):
        await platform.start(machine)
        await events.until(lambda count=count: len(events.exits) == count)  # type: ignore[misc]  # bound default
    assert [exit.exit_code for _, _, exit in events.exits] == [0, 0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"image": "nginx:1"}, "image 'nginx:1'.*Known images: caddy, "),
        ({"init": {"exec": ["no-such-program"]}}, "command no-such-program: No such file"),
        ({"files": [{"guest_path": "relative", "raw_value": ""}]}, "guest path 'relative'"),
        ({"files": [{"guest_path": "/a", "secret_name": "GONE"}]}, "no secret GONE"),
        ({"files": [{"guest_path": "/a", "raw_value": "not base64"}]}, "file /a: raw_value is not base64"),
        ({"checks": {"up": {"type": "smoke", "port": 1}}}, "check up: type 'smoke'"),
        ({"containers": [{"name": "a"}]}, "`containers` is not part of the embedded Fly"),
    ],
)
async def test_a_start_that_cannot_be_says_why(
    platform: ProcessPlatform, spec: MakeSpec, config: dict[str, object], message: str
) -> None:
    with pytest.raises(LaunchError, match=message):
        await platform.start(spec("true", **config))


@pytest.mark.parametrize("part", ["services", "checks"])
async def test_a_port_that_is_taken_names_its_holder(platform: ProcessPlatform, spec: MakeSpec, part: str) -> None:
    with socket.create_server(("0.0.0.0", 0)) as holder:
        port = holder.getsockname()[1]
        config = {"services": [{"internal_port": port}], "checks": {"up": {"type": "tcp", "port": port}}}
        with pytest.raises(LaunchError, match=f"port {port} of .* is taken by process {os.getpid()} "):
            await platform.start(spec("true", **{part: config[part]}))


async def test_a_cancelled_start_leaves_nothing(platform: ProcessPlatform, state: Path, spec: MakeSpec) -> None:
    machine = spec("sleep", "1000")
    start = asyncio.create_task(platform.start(machine))
    folder = state / "machines" / machine.machine_id
    async with asyncio.timeout(DEADLINE_S):
        while not (folder / "shim.log").exists():  # noqa: ASYNC110 - no event says that the shim is on its way
            await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(folder) in str(process.info)]
    assert json.loads((folder / "exit.json").read_text())["signal"] == signal.SIGKILL


async def test_no_such_signal(platform: ProcessPlatform, events: Events, spec: MakeSpec) -> None:
    machine = spec("sleep", "1000")
    pid = await platform.start(machine)
    with pytest.raises(ValueError, match="signal 'SIGNONE': no such signal"):
        await platform.stop(machine.machine_id, "SIGNONE", 1)
    os.kill(pid, signal.SIGTERM)
    assert await events.exit_of(machine) == Exit(143, signal.SIGTERM, requested=False)


async def test_two_platforms_side_by_side(
    platform: ProcessPlatform, reports: Reports, spec: MakeSpec, port: int, tmp_path: Path
) -> None:
    """The same machine, the same port, two stacks: only the addresses differ."""
    listen = f"socket.create_server((os.environ['HOST'], {port})); tell(address=os.environ['HOST']); {FOREVER}"
    one = spec(python=listen, env={"HOST": "::"})
    two = replace(spec(python=listen, env={"HOST": "::"}), machine_id=one.machine_id)
    other = ProcessPlatform(tmp_path / "other", Events())
    await platform.start(one)
    await other.start(two)
    assert {(await reports.next())["address"], (await reports.next())["address"]} == {one.address, two.address}
    await other.close(stop_everything=True)
    assert len(platform.processes(one.machine_id)) == 1


async def test_unknown_machines(platform: ProcessPlatform) -> None:
    await platform.stop("nobody", "SIGTERM", 1)
    await platform.forget("nobody")
    assert platform.checks("nobody") == []
    assert platform.processes("nobody") == []
    with pytest.raises(LookupError, match="nobody is not running"):
        await platform.signal("nobody", "SIGTERM")
    with pytest.raises(LookupError, match="nobody is not running"):
        await platform.execute("nobody", ["true"], "", 1)


async def test_forget_ends_the_machine_and_keeps_its_log(
    platform: ProcessPlatform, state: Path, reports: Reports, spec: MakeSpec
) -> None:
    machine = spec(python=f"print('last words', flush=True); tell(ready=True); {FOREVER}")
    pid = await platform.start(machine)
    await reports.next()
    await platform.forget(machine.machine_id)
    assert not psutil.pid_exists(pid)
    assert not (state / "machines" / machine.machine_id).exists()
    assert "last words" in platform.log_path(machine).read_text()


async def test_closing_leaves_nothing(state: Path, events: Events, spec: MakeSpec) -> None:
    platform = ProcessPlatform(state, events)
    machines = [spec("sleep", "1000"), spec("sleep", "1000", stop_config={"signal": "SIGTERM", "timeout": "1s"})]
    for machine in machines:
        await platform.start(machine)
    shims = [shim_of(state, machine) for machine in machines]
    await platform.close(stop_everything=True)
    assert not [shim for shim in shims if shim.is_running()]
    assert not psutil.Process().children(recursive=True)
    assert str(state) not in mounts()
    assert events.exits == []
    assert await ProcessPlatform(state, events).reattach(machines) == {}
    assert events.exits == []


async def test_reattach_finds_what_runs_and_reports_what_ended(
    state: Path, events: Events, reports: Reports, spec: MakeSpec
) -> None:
    ends = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); tell(ready=True); signal.pause()"
    stays, leaves, orphan = spec("sleep", "1000"), spec(python=ends), spec("sleep", "1000")
    first = ProcessPlatform(state, events)
    pids = {machine.machine_id: await first.start(machine) for machine in (stays, leaves, orphan)}
    await reports.next()
    shim = shim_of(state, leaves)
    await first.close(stop_everything=False)
    os.kill(pids[leaves.machine_id], signal.SIGTERM)
    await asyncio.to_thread(shim.wait, DEADLINE_S)

    second = ProcessPlatform(state, events)
    assert await second.reattach([stays, leaves]) == {stays.machine_id: pids[stays.machine_id]}
    assert events.exits == [(leaves.machine_id, leaves.instance_id, Exit(5, None, requested=False))]
    assert not psutil.pid_exists(pids[orphan.machine_id])
    await second.stop(stays.machine_id, "SIGTERM", DEADLINE_S)
    assert await events.exit_of(stays) == Exit(143, signal.SIGTERM, requested=True)
    await second.close(stop_everything=True)


async def test_a_later_process_with_the_same_id_is_not_taken_for_the_machine(
    state: Path, platform: ProcessPlatform, events: Events, spec: MakeSpec
) -> None:
    machine = spec("sleep", "1000")
    await platform.start(machine)
    path = state / "machines" / machine.machine_id / "run.json"
    run = path.read_text()
    await platform.close(stop_everything=True)
    path.write_text(json.dumps({**json.loads(run), "shim": os.getpid(), "main": os.getpid()}))
    assert await ProcessPlatform(state, events).reattach([machine]) == {}
    assert [exit.requested for _, _, exit in events.exits] == [True]


DAEMON = """
import asyncio, json, sys
from pathlib import Path
from local.contract import MachineSpec
from local.machines.platform import ProcessPlatform

async def main() -> None:
    state, fields = sys.argv[1:]
    platform = ProcessPlatform(Path(state), None)
    await platform.start(MachineSpec(**json.loads(fields)))
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_machines_outlive_a_killed_daemon(
    state: Path, platform: ProcessPlatform, events: Events, reports: Reports, spec: MakeSpec
) -> None:
    answers = "signal.signal(signal.SIGUSR1, lambda *_: tell(alive=True)); tell(ready=True)\nwhile True: signal.pause()"
    machine = spec(python=answers)
    fields = json.dumps({**vars(machine)})
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DAEMON, str(state), fields, stdout=asyncio.subprocess.PIPE
    )
    assert daemon.stdout is not None
    assert await daemon.stdout.readline() == b"started\n"
    assert await reports.next() == {"ready": True}
    daemon.kill()
    await daemon.wait()

    running = await platform.reattach([machine])
    await platform.signal(machine.machine_id, "SIGUSR1")
    assert await reports.next() == {"alive": True}
    await platform.stop(machine.machine_id, "SIGTERM", DEADLINE_S)
    assert not psutil.pid_exists(running[machine.machine_id])


async def test_a_killed_supervisor_takes_its_machine_along(
    platform: ProcessPlatform, state: Path, events: Events, spec: MakeSpec
) -> None:
    machine = spec("sleep", "1000")
    pid = await platform.start(machine)
    main = psutil.Process(pid)
    shim_of(state, machine).kill()
    assert await events.exit_of(machine) == Exit(137, signal.SIGKILL, requested=False)
    await asyncio.to_thread(main.wait, DEADLINE_S)
