"""Programs that outlive the command that started them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from local.state import ROOT

STOP_S = 20  # the embedded Fly ends its machines first; longer means it hangs


def start(arguments: Sequence[str], *, record: Path, log: Path, environment: Mapping[str, str]) -> None:
    """Starts a program in a session of its own and records which process it is."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(arguments),
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process = psutil.Process(child.pid)
    record.write_text(json.dumps({"pid": child.pid, "started": process.create_time()}))


def running(record: Path) -> psutil.Process | None:
    """The recorded process if it still is that process: a pid alone may have been given away."""
    try:
        known = json.loads(record.read_text())
        process = psutil.Process(known["pid"])
        alive = process.create_time() == known["started"] and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return process if alive else None


def stop(record: Path) -> None:
    """SIGTERM, then SIGKILL after a while; no process is fine."""
    if process := running(record):
        os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
    record.unlink(missing_ok=True)


def closed_environment(**extra: str) -> dict[str, str]:
    """What a program of this stack sees: how to print and where to keep things, nothing of the operator's."""
    kept = ("HOME", "LANG", "LC_ALL", "TERM", "COLUMNS", "NO_COLOR", "TMPDIR", "USER", "LOGNAME", "XDG_CACHE_HOME")
    base = {name: value for name in kept if (value := os.environ.get(name))}
    return base | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} | extra
