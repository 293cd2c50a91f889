"""The processes of a machine, in the shape of Fly's `ps` answer (fly-go's ProcessStat)."""

from __future__ import annotations

import shlex
import time
from typing import Any

import psutil


def processes(main: int) -> list[dict[str, Any]]:
    """One entry per process below the machine's first one: its pid on this host, times in s, memory in bytes."""
    try:
        first = psutil.Process(main).parent()
        members = first.children(recursive=True) if first else []
    except psutil.NoSuchProcess:
        return []
    return [entry for entry in map(_entry, members) if entry]


def _entry(process: psutil.Process) -> dict[str, Any] | None:
    try:
        with process.oneshot():
            times = process.cpu_times()
            return {
                "pid": process.pid,
                "command": shlex.join(process.cmdline()) or process.name(),
                "directory": process.cwd(),
                "cpu": int(times.user + times.system),
                "stime": int(times.system),
                "rtime": int(time.time() - process.create_time()),
                "rss": process.memory_info().rss,
                "listen_sockets": [
                    {"proto": "tcp", "address": f"{connection.laddr.ip}:{connection.laddr.port}"}
                    for connection in process.net_connections("tcp")
                    if connection.status == psutil.CONN_LISTEN
                ],
            }
    except psutil.Error:  # it ended while being looked at
        return None
