"""`python -m local.machines.shim.enter PIDFD ENTRY_FD`: runs one command inside a running machine, as its root would.

Standard input, output and error are the command's. Exits as it does; 127 when it cannot be run. SIGTERM kills the
command with all it has started in its session.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys

from local.machines.shim import Entry, kernel
from local.machines.shim.guest import become

NAMESPACES = kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS


def main() -> None:
    machine, entry_fd = (int(argument) for argument in sys.argv[1:])
    os.closerange(max(machine, entry_fd) + 1, os.sysconf("SC_OPEN_MAX"))  # whatever the operator's shell left open
    with os.fdopen(entry_fd) as file:
        entry: Entry = json.load(file)
    kernel.setns(machine, NAMESPACES)
    os.close(machine)
    failure, report = os.pipe()
    pid = os.fork()  # only a child is inside the process namespace
    if pid == 0:
        kernel.die_with_parent(signal.SIGKILL)
        os.setsid()
        os.close(failure)
        become(entry["argv"], entry["env"], entry["cwd"], report)
    signal.signal(signal.SIGTERM, lambda *_: kill_session(pid))
    os.close(report)
    with os.fdopen(failure, "rb") as problem_file:
        problem = problem_file.read()
    if problem:
        number, step = json.loads(problem)
        os.write(2, f"{step}: {os.strerror(number)}\n".encode())
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def kill_session(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may not lead its session yet
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
