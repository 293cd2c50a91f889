"""One supervised process tree, seen from the daemon: start it, find it again, signal it, learn how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any, cast

from local.contract import ExecResult, LaunchError
from local.machines import forbidden, spawn
from local.machines.shim import End, Entry, Launch, Report, Run, kernel

# Python's start, a few hundred mounts and one exec take well under a second; a busy machine may take many.
LAUNCH_DEADLINE_S = 30.0
# A shim that was told to end its machine needs milliseconds for it.
KILL_DEADLINE_S = 5.0


class Supervised:
    """A running process tree. `ended` becomes the record of its end, whoever caused it."""

    def __init__(self, folder: Path, run: Run) -> None:
        """Raises ProcessLookupError when the shim is gone."""
        self.pid = run["main"]
        self.instance_id = run["instance_id"]
        self._folder = folder
        self._shim_pid = run["shim"]
        self._shim = _open(run["shim"], run["shim_identity"])
        try:
            self._main: int | None = _open(run["main"], run["main_identity"])
        except ProcessLookupError:  # it ends just now: the shim still writes down how
            self._main = None
        self.ended: asyncio.Task[End] = asyncio.create_task(self._end())

    @classmethod
    async def launch(cls, launch: Launch) -> Supervised:
        """Starts it. Raises LaunchError with the step that failed and, where the host forbids it, what to allow.

        When cancelled, it leaves nothing running.
        """
        start = asyncio.create_task(cls._launch(launch))
        try:
            return await asyncio.shield(start)
        except asyncio.CancelledError:
            await (await start).kill()
            raise

    @classmethod
    async def _launch(cls, launch: Launch) -> Supervised:
        folder = Path(launch["folder"])
        (folder / "root").mkdir(parents=True, exist_ok=True)
        for name in ("run.json", "exit.json", "stop"):
            (folder / name).unlink(missing_ok=True)
        Path(launch["log"]).parent.mkdir(parents=True, exist_ok=True)
        report = await _start_shim(launch)
        if "error" in report:
            raise LaunchError(forbidden.explain(launch["name"], report))
        return cls(folder, _read(folder / "run.json"))

    @classmethod
    def find(cls, folder: Path) -> Supervised | None:
        """The one that was started with this folder, perhaps by an earlier daemon. None when it does not run."""
        try:
            return cls(folder, _read(folder / "run.json"))
        except (FileNotFoundError, ProcessLookupError):
            return None

    def signal(self, name: str) -> None:
        """To the main process only, as Fly does. Raises ValueError for a name that is no signal."""
        number = signal_number(name)
        if self._main is not None and not self.ended.done():
            _send(self._main, number)

    async def stop(self, name: str, timeout_s: float) -> End:
        """Sends the signal, kills everything after `timeout_s`; returns when nothing is left."""
        (self._folder / "stop").touch()
        self.signal(name)
        try:
            return await asyncio.wait_for(asyncio.shield(self.ended), timeout_s)
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> End:
        (self._folder / "stop").touch()
        _send(self._shim, signal.SIGTERM)  # it kills the machine and writes that down
        try:
            return await asyncio.wait_for(asyncio.shield(self.ended), KILL_DEADLINE_S)
        except TimeoutError:
            _send(self._shim, signal.SIGKILL)  # the machine's first process dies with it
            return await self.ended

    async def execute(self, entry: Entry, stdin: str, timeout_s: float) -> ExecResult:
        """Runs a command inside. Raises LookupError when the machine is gone, TimeoutError."""
        if self._main is None:
            raise LookupError("the machine is not running")
        machine, spec = 3, 4
        files = {
            0: spawn.memory_file("stdin", stdin.encode()),
            1: spawn.memory_file("stdout"),
            2: spawn.memory_file("stderr"),
            machine: self._main,
            spec: spawn.memory_file("entry", json.dumps(entry).encode()),
        }
        try:
            pid = spawn.spawn("local.machines.shim.enter", [str(machine), str(spec)], files)
            command = os.pidfd_open(pid)
            try:
                await asyncio.wait_for(spawn.gone(command), timeout_s)
            except BaseException:
                _send(command, signal.SIGTERM)
                raise
            finally:
                code = await asyncio.to_thread(spawn.reap, pid)
                os.close(command)
            return ExecResult(code or 0, _text(files[1]), _text(files[2]))
        finally:
            for fd in set(files.values()) - {self._main}:
                os.close(fd)

    async def release(self) -> None:
        """Stops watching; the process tree, if it still runs, goes on."""
        self.ended.cancel()
        await asyncio.wait([self.ended])

    async def _end(self) -> End:
        try:
            await spawn.gone(self._shim)
            spawn.reap(self._shim_pid)
            return last_end(self._folder)
        finally:
            os.close(self._shim)
            if self._main is not None:
                os.close(self._main)
                self._main = None


def last_end(folder: Path) -> End:
    """How what ran here ended. A shim that was killed could not write it down: its machine was killed with it."""
    try:
        return cast(End, _read(folder / "exit.json"))
    except FileNotFoundError:
        run: Run = _read(folder / "run.json")
        return {"instance_id": run["instance_id"], "exit_code": 128 + signal.SIGKILL, "signal": signal.SIGKILL}


def was_requested(folder: Path) -> bool:
    return (folder / "stop").exists()


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def signal_number(name: str) -> signal.Signals:
    try:
        return signal.Signals[name]
    except KeyError:
        raise ValueError(f"signal {name!r}: no such signal; one like SIGTERM or SIGINT is needed") from None


async def _start_shim(launch: Launch) -> Report:
    """Gives it the order, waits for its one line."""
    order = spawn.memory_file("launch", json.dumps(launch).encode())
    answer_read, answer_write = os.pipe()
    errors = os.open(launch["folder"] + "/shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = spawn.spawn("local.machines.shim", [launch["name"]], {0: order, 1: answer_write, 2: errors})
    finally:
        for fd in (order, answer_write, errors):
            os.close(fd)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader),
        os.fdopen(answer_read, "rb", buffering=0),
    )
    try:
        line = await asyncio.wait_for(reader.readline(), LAUNCH_DEADLINE_S)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(spawn.reap, pid)
        return {"error": f"no answer within {LAUNCH_DEADLINE_S:.0f} s", "step": "start"}
    finally:
        transport.close()
    if not line:
        await asyncio.to_thread(spawn.reap, pid)
        return {"error": f"its supervisor broke off, see {launch['folder']}/shim.log", "step": "start"}
    report: Report = json.loads(line)
    if "error" in report:
        await asyncio.to_thread(spawn.reap, pid)
    return report


def _open(pid: int, identity: str) -> int:
    """A descriptor on exactly that process, not on a later one with its id. Raises ProcessLookupError."""
    fd = os.pidfd_open(pid)
    if kernel.identity(pid) != identity:
        os.close(fd)
        raise ProcessLookupError(f"process {pid} is another one now")
    return fd


def _send(pidfd: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended between the decision and the signal
        signal.pidfd_send_signal(pidfd, number)


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _text(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(fd, "rb", closefd=False) as file:
        return file.read().decode(errors="replace")
