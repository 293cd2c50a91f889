"""Inside the machine's namespaces: its root, its first process, its main process."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from local.machines.shim import Launch, Step, kernel

# What root may do in a machine. Above all not CAP_SYS_ADMIN: it could make the read-only mounts of the host writable.
CAPABILITIES_KEPT = {
    0: "CHOWN",
    1: "DAC_OVERRIDE",
    3: "FOWNER",
    4: "FSETID",
    5: "KILL",
    6: "SETGID",
    7: "SETUID",
    8: "SETPCAP",
    10: "NET_BIND_SERVICE",
}


def assemble_root(folder: str, steps: Sequence[Step]) -> None:
    """Builds the root in memory at `folder`, in a mount namespace of this process's own, and moves into it."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("root", folder, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755")
    for step in steps:
        _take(folder, step)
    proc = Path(folder, "proc")
    proc.mkdir()
    kernel.mount("proc", str(proc), "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.enter_root(folder)


def _take(folder: str, step: Step) -> None:
    path = Path(folder + step[1])
    if step[0] == "dir":
        path.mkdir()
        path.chmod(step[2])
    elif step[0] == "link":
        path.symlink_to(step[2])
    elif step[0] == "file":
        path.write_bytes(base64.b64decode(step[2]))
        path.chmod(step[3])
    else:
        _, _, host, writable = step
        if Path(host).is_dir():
            path.mkdir()
        else:
            path.touch(0o600)
        kernel.mount(host, str(path), "", kernel.MS_BIND | kernel.MS_REC)
        if not writable:
            kernel.make_read_only(str(path))


def run_first_process(launch: Launch, status: socket.socket, log: int) -> NoReturn:
    """Process 1 of the machine: starts the main process, collects orphans, ends with the main process.

    When process 1 ends, the kernel kills every other process of the machine: none is left behind.
    Messages to the shim: {"main": pid} with the pid as a credential, so that the kernel translates it; {"status": wait
    status}; or {"error", "errno", "step"}.
    """
    # Process 1 gets only signals it has a handler for; Python's own for SIGINT would let a machine kill it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    kernel.die_with_parent(signal.SIGKILL)
    try:
        assemble_root(launch["folder"] + "/root", launch["root"])
        socket.sethostname(launch["name"])
        main = start_main(launch, log)
    except OSError as error:
        step = str(error.filename or "start")
        status.send(json.dumps({"error": error.strerror, "errno": error.errno, "step": step}).encode())
        os._exit(1)
    credentials = struct.pack("iII", main, os.getuid(), os.getgid())
    status.sendmsg([b'{"main": 0}'], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
    while True:
        pid, wait_status = os.wait()
        if pid == main:
            status.send(json.dumps({"status": wait_status}).encode())
            os._exit(0)


def start_main(launch: Launch, log: int) -> int:
    """The pid, inside the machine, once the command has replaced the forked Python. Raises OSError when it cannot."""
    failure, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(failure)
        with contextlib.suppress(BaseException):
            null = os.open("/dev/null", os.O_RDWR)
            for target, source in ((0, null), (1, log), (2, log)):
                os.dup2(source, target)
            os.setsid()
        become(launch["argv"], launch["env"], launch["cwd"], report)
    os.close(report)
    with os.fdopen(failure, "rb") as file:
        problem = file.read()
    if problem:
        number, step = json.loads(problem)
        raise OSError(number, os.strerror(number), step)
    return pid


def become(argv: Sequence[str], env: dict[str, str], cwd: str, report: int) -> NoReturn:
    """Replaces this process by the command; writes [errno, what failed] to `report` if that fails."""
    step = "prepare the main process"
    try:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with contextlib.suppress(OSError, ValueError):  # two numbers belong to the C library
                signal.signal(number, signal.SIG_DFL)
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
        for capability in set(range(last + 1)) - set(CAPABILITIES_KEPT):
            kernel.drop_capability(capability)
        os.umask(0o022)  # not the operator's
        step = f"working directory {cwd}"
        os.chdir(cwd)
        step = f"command {argv[0]}"
        os.execvpe(argv[0], list(argv), env)  # noqa: S606 - a shell is what nobody wants here
    except OSError as error:
        os.write(report, json.dumps([error.errno, step]).encode())
    finally:
        os._exit(127)
