"""Real machines in a temporary state folder; what they and the platform say is awaited, never slept for."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from local.contract import Check, Exit, MachineSpec
from local.machines.platform import ProcessPlatform

# Every wait in these tests ends with the event it is for; this bounds a test that fails anyway.
DEADLINE_S = 20.0

# What a machine's program in these tests starts with: `tell` sends one report to the test.
PRELUDE = """
import json, os, signal, socket, sys, time
def tell(**facts):
    with socket.create_connection(("127.0.0.1", int(os.environ["REPORT_PORT"]))) as connection:
        connection.sendall(json.dumps(facts).encode())
"""

MakeSpec = Callable[..., MachineSpec]


class Reports:
    """What machines tell the test, in order of arrival."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.port = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._queue.put_nowait(json.loads(await reader.read()))
        writer.close()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            return await self._queue.get()


class Events:
    """What the platform tells the API."""

    def __init__(self) -> None:
        self.exits: list[tuple[str, str, Exit]] = []
        self.checks: list[Check] = []
        self._news = asyncio.Event()

    def exited(self, machine_id: str, instance_id: str, exit: Exit) -> None:
        self.exits.append((machine_id, instance_id, exit))
        self._news.set()

    def check_changed(self, machine_id: str, check: Check) -> None:
        self.checks.append(check)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def exit_of(self, spec: MachineSpec) -> Exit:
        await self.until(lambda: any(machine == spec.machine_id for machine, _, _ in self.exits))
        return next(exit for machine, _, exit in self.exits if machine == spec.machine_id)


@pytest.fixture
async def reports() -> AsyncIterator[Reports]:
    reports = Reports()
    server = await asyncio.start_server(reports.take, "127.0.0.1", 0)
    reports.port = server.sockets[0].getsockname()[1]
    async with server:
        yield reports


@pytest.fixture
async def events() -> Events:
    return Events()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def platform(state: Path, events: Events) -> AsyncIterator[ProcessPlatform]:
    platform = ProcessPlatform(state, events)
    yield platform
    await platform.close(stop_everything=True)


@pytest.fixture
def address() -> Callable[[], str]:
    """Makes loopback addresses that nobody else uses: one in a million, above those of local stacks."""
    return lambda: f"127.{random.randint(240, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


@pytest.fixture
def port() -> int:
    """A port that is free on every address, also if somebody on this computer listens on all of them."""
    with socket.create_server(("", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def spec(address: Callable[[], str], reports: Reports) -> MakeSpec:
    """Makes the specification of a machine that runs `argv`, or a Python program given as text."""
    numbers = itertools.count(1)

    def make(
        *argv: str,
        python: str | None = None,
        secrets: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        files: list[dict[str, Any]] | None = None,
        **config: Any,
    ) -> MachineSpec:
        number = next(numbers)
        files = list(files or [])
        if python is not None:
            files.append(file("/srv/main.py", PRELUDE + python))
            argv = ("python3", "/srv/main.py")
        return MachineSpec(
            app="shop",
            machine_id=f"machine{number}",
            instance_id=f"version{number}",
            name=f"web-{number}",
            region="ord",
            address=address(),
            config={
                "image": "embedded/python",
                "init": {"exec": list(argv)},
                "env": {"REPORT_PORT": str(reports.port), **(env or {})},
                "files": files,
                **config,
            },
            secrets=secrets or {},
        )

    return make


def file(guest_path: str, text: str, **more: Any) -> dict[str, Any]:
    """An entry of a machine's `files`."""
    return {"guest_path": guest_path, "raw_value": base64.b64encode(text.encode()).decode(), **more}
