"""`python -m local.machines.shim`: reads a Launch on standard input, supervises one machine until it ends."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from local.machines.shim import End, Launch, Report, Run, kernel
from local.machines.shim.guest import run_first_process
from local.machines.shim.logfile import LogFile

STDERR = 2
CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


def main() -> None:
    os.closerange(STDERR + 1, os.sysconf("SC_OPEN_MAX"))  # whatever the operator's shell left open
    launch: Launch = json.load(sys.stdin)
    redirect_to_null(0)
    os.chdir("/")
    try:
        first, status, log = start_first_process(launch)
        pid = await_start(status)
        write_whole(launch["folder"] + "/run.json", run_record(launch, pid))
    except OSError as error:
        answer({"error": error.strerror or str(error), "errno": error.errno or 0, "step": str(error.filename)})
        return
    # SIGTERM to the shim kills the machine, and the shim lives on to write down that it ended.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
    answer({"main": pid})
    wait_status = follow(launch, status, log)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.waitpid(first, 0)
    write_whole(launch["folder"] + "/exit.json", end_record(launch, wait_status))


def start_first_process(launch: Launch) -> tuple[int, socket.socket, int]:
    """Its pid, the socket it reports on, and the pipe with the machine's output."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{launch['uid']} {uid} 1"),
        ("gid_map", f"{launch['uid']} {gid} 1"),
    ):
        Path("/proc/self", name).write_text(text)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    log_read, log_write = os.pipe()
    first = os.fork()
    if first == 0:
        ours.close()
        os.close(log_read)
        run_first_process(launch, theirs, log_write)
    theirs.close()
    os.close(log_write)
    return first, ours, log_read


def await_start(status: socket.socket) -> int:
    """The main process's pid as the host sees it. Raises OSError with the step that failed."""
    data, ancillary, _, _ = status.recvmsg(65536, socket.CMSG_SPACE(CREDENTIALS.size))
    if not data:
        raise OSError(0, "the machine's first process ended before it could report", "start")
    message: dict[str, Any] = json.loads(data)
    if "error" in message:
        raise OSError(message["errno"], message["error"], message["step"])
    pid: int = CREDENTIALS.unpack(ancillary[0][2][: CREDENTIALS.size])[0]
    return pid


def follow(launch: Launch, status: socket.socket, log: int) -> int | None:
    """Keeps the log until the machine's last process is gone; the main process's wait status, None if killed."""
    wait_status: int | None = None
    file = LogFile(launch["log"], launch["log_bytes"])
    with selectors.DefaultSelector() as selector:
        selector.register(status, selectors.EVENT_READ)
        selector.register(log, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if key.fileobj is status:
                    message = status.recv(65536)
                    if message:
                        wait_status = json.loads(message)["status"]
                    else:
                        selector.unregister(status)
                else:
                    data = os.read(log, 65536)
                    if data:
                        file.write(data)
                    else:
                        selector.unregister(log)
    file.close()
    return wait_status


def run_record(launch: Launch, pid: int) -> Run:
    return {
        "instance_id": launch["instance_id"],
        "shim": os.getpid(),
        "shim_identity": kernel.identity(os.getpid()) or "",
        "main": pid,
        "main_identity": kernel.identity(pid) or "",
    }


def end_record(launch: Launch, wait_status: int | None) -> End:
    """Without a wait status process 1 was killed, and with it the whole machine."""
    code = -signal.SIGKILL if wait_status is None else os.waitstatus_to_exitcode(wait_status)
    number = -code if code < 0 else None
    return {
        "instance_id": launch["instance_id"],
        "exit_code": 128 + number if number else code,
        "signal": number,
    }


def write_whole(path: str, record: Run | End) -> None:
    fresh = Path(path + ".new")
    with fresh.open("w") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def answer(report: Report) -> None:
    """One line for the daemon, then the way to it is closed: it may be gone long before the machine is."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(report).encode() + b"\n")
    redirect_to_null(1)


def redirect_to_null(fd: int) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)


if __name__ == "__main__":
    main()
