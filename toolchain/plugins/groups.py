"""Child processes in groups of their own, so that what they started ends with them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

STOP_TIMEOUT_S = 3.0
"""Between SIGTERM and SIGKILL. The engine itself gives a plugin five seconds to leave."""

Process = subprocess.Popen[bytes]
PIPE = subprocess.PIPE


class StoppedError(Exception):
    """Nothing is started any more."""


class Groups:
    """The processes a plugin has started; all calls may come from any thread."""

    def __init__(self) -> None:
        self._running: set[Process] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def start(
        self,
        command: Sequence[str | Path],
        *,
        cwd: str | None,
        env: Mapping[str, str],
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Process:
        """Starts a program as the leader of a group. Raises StoppedError, OSError."""
        with self._lock:
            if self._stopped:
                raise StoppedError
            # The engine interrupts a plugin's group; a Python program in it would answer with a traceback.
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, process_group=0,
            )  # fmt: skip
            self._running.add(process)
            return process

    def wait(self, process: Process) -> int:
        """The exit code, negative for a signal."""
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Ends everything that runs; from now on `start` raises."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            end(process)


def end(process: Process) -> None:
    """SIGTERM to the group, SIGKILL to what is left of it in time. Nothing when its leader is gone already."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: PermissionError for a zombie
        os.killpg(process.pid, signal.SIGKILL)


def feed(stdin: IO[bytes] | None, text: str) -> None:
    """Writes a program's whole standard input. One that does not read all of it is no error."""
    if stdin:
        with contextlib.suppress(BrokenPipeError), stdin:
            stdin.write(text.encode())


def ending(code: int) -> str:
    """An exit code in words."""
    return f"exited with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
