"""Programs that outlive the command that started them.

Arguments tell whose a program is: nothing has to be recorded, and no record can be wrong.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from local.machines.shim import kernel
from local.state import ROOT, LocalError

STOP_S = 20  # either program closes its connections and leaves within 5 s; longer means it hangs
POLL_S = 0.05


class EndedAtOnceError(LocalError):
    """A program ended before it was ready."""


class Log:
    """What a program says, in a file that programs before it have written to: from `begin` on, or from now on."""

    def __init__(self, path: Path, begin: int | None = None) -> None:
        self.path = path
        self._begin = begin if begin is not None else path.stat().st_size if path.exists() else 0

    def last_line(self) -> str:
        """Empty when it said nothing."""
        if not self.path.exists():
            return ""
        lines = self.path.read_bytes()[self._begin :].decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def start(module: str, arguments: Sequence[str], *, said: Log, environment: Mapping[str, str]) -> psutil.Process:
    """Starts `python -m module …` in a session of its own; its output is added to a log."""
    with os.fdopen(os.open(said.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return psutil.Process(child.pid)


def find(module: str, option: str, value: str) -> psutil.Process | None:
    """The running `python -m module … option value …`, whoever started it: these very words, not similar ones."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[1:3] == ["-m", module] and (option, value) in itertools.pairwise(words):
            return psutil.Process(process.pid)  # the iterator's own may be of an earlier process with this pid
    return None


def wait_until(ready: Callable[[], bool], process: psutil.Process, *, what: str, said: Log, timeout_s: float) -> None:
    """Raises LocalError: the program is not ready in time; EndedAtOnceError, with what it said last."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if not alive(process):
            raise EndedAtOnceError(f"{what} ended at once: {said.last_line() or 'it said nothing'}")
        if time.monotonic() > deadline:
            raise LocalError(
                f"{what} (process {process.pid}) is not ready after {timeout_s:.0f} s; {said.path} may say why"
            )
        time.sleep(POLL_S)  # nothing to wait on: another process opens its port


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for connection in process.net_connections("tcp")
        )
    except psutil.NoSuchProcess:
        return False


def supervised(state: Path) -> list[psutil.Process]:
    """Supervisors and main processes of machines and databases that still run, as the embedded Fly wrote them down."""
    found = []
    for record in (*state.glob("machines/*/run.json"), *state.glob("redis/*/run.json")):
        with suppress(FileNotFoundError, psutil.NoSuchProcess):  # it ends just now
            run = json.loads(record.read_text())
            found += [
                psutil.Process(run[name])
                for name in ("shim", "main")
                if kernel.identity(run[name]) == run[f"{name}_identity"]
            ]
    return [process for process in found if alive(process)]


def stop(processes: Sequence[psutil.Process]) -> None:
    """SIGTERM, then SIGKILL after a while; none is fine."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, STOP_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, STOP_S)


def closed_environment(**extra: str) -> dict[str, str]:
    """What a program of this stack sees: how to print and where to keep things, nothing of the operator's."""
    kept = ("HOME", "LANG", "LC_ALL", "TERM", "COLUMNS", "NO_COLOR", "TMPDIR", "USER", "LOGNAME", "XDG_CACHE_HOME")
    base = {name: value for name in kept if (value := os.environ.get(name))}
    return base | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} | extra
