"""Starting the shim's programs: in a session of their own, with nothing of this process's environment or files."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# What the child's Python needs to find the package; `-S -s` keep it from everything but the standard library.
_CHECKOUT = Path(__file__).parents[2]


def spawn(module: str, arguments: Sequence[str], files: Mapping[int, int]) -> int:
    """Starts `python -m module` with our descriptors `files[n]` as its descriptors n. Returns its pid."""
    # Descriptors are moved above those wanted first, so that none is overwritten before it is copied.
    moved = {wanted: os.dup(fd) for wanted, fd in files.items()}
    actions = [(os.POSIX_SPAWN_DUP2, fd, wanted) for wanted, fd in moved.items()]
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-S", "-s", "-m", module, *arguments],
            {"PYTHONPATH": str(_CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, 32, 33},
        )
    finally:
        for fd in moved.values():
            os.close(fd)


def memory_file(name: str, content: bytes = b"") -> int:
    """A descriptor on memory that is no file on any disk, read from its start. A pipe would block or need a reader."""
    fd = os.memfd_create(name)
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


async def gone(pidfd: int) -> None:
    """Waits until the process has ended, whoever its parent is."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, _resolve, ended)
    try:
        await ended
    finally:
        loop.remove_reader(pidfd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def reap(pid: int) -> int | None:
    """Takes the exit code of an ended child, so that no zombie stays; None for what is not our child."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None
