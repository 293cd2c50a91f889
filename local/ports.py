"""Ports and loopback networks, chosen free once and then kept."""

from __future__ import annotations

import fcntl
import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local.state import LocalError, write_private

NETWORKS = range(16, 240)  # second byte of 127.x.0.0/16; low ones are what people and resolvers use by hand


def free_ports(count: int) -> list[int]:
    """That many different free TCP ports of 127.0.0.1."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def claim_network(owner: Path) -> int:
    """The second byte of a 127.x.0.0/16 that no other state folder on this machine holds."""
    claims = _claims()
    claims.mkdir(parents=True, exist_ok=True)
    candidates = list(NETWORKS)
    random.shuffle(candidates)
    with _alone_in(claims):
        for network in candidates:
            claim = claims / str(network)
            if claim.exists() and Path(claim.read_text() or "/nowhere").exists():
                continue  # otherwise its stack was wiped by hand
            write_private(claim, str(owner))
            return network
    raise LocalError(f"all {len(NETWORKS)} loopback networks are claimed; remove stale files in {claims}")


def release_network(network: int) -> None:
    (_claims() / str(network)).unlink(missing_ok=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Waits for others, who need milliseconds."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _claims() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "hotdash-llm-gateway" / "networks"
