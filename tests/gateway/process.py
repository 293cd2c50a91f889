"""Starts the real programs these tests need, waits until they answer, and stops them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
START_S = 90.0  # LiteLLM takes 8 s, more while other tests use the processors
STOP_S = 20.0
POLL_S = 0.05


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    ready: Callable[[], bool],
    log: Path,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is `ready`. The environment is `env` and nothing else."""
    with log.open("wb") as out:
        words = [str(word) for word in command]
        process = subprocess.Popen(words, cwd=ROOT, env=dict(env or {}), stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait(process, words[0], ready, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], name: str, ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        if ready():
            return
        ended = process.poll()
        assert ended is None, f"{name} ended with {ended}:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"{name} is not ready:\n{log.read_text()}"
        time.sleep(POLL_S)  # there is no event to wait for: the other side is a foreign program


def answers(url: str) -> Callable[[], bool]:
    """Ready when the URL is answered, be it with 401."""

    def ready() -> bool:
        try:
            return httpx.get(url, timeout=5, trust_env=False).status_code < 500
        except httpx.TransportError:
            return False

    return ready


def listens(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ready


def python_env(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def upstream(
    name: str, address: str, port: int, log: Path
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A process of tests/gateway/upstream.py."""
    return running(
        [sys.executable, "-m", "tests.gateway.upstream", name, address, str(port)],
        ready=answers(f"http://{address}:{port}/ready"),
        log=log,
        env=python_env(),
    )
