"""The database behind a Redis add-on: a real Valkey, asked with a real client."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from valkey.asyncio import Valkey
from valkey.exceptions import AuthenticationError, OutOfMemoryError
from valkey.exceptions import ConnectionError as ServerGoneError

from local.machines.platform import ProcessPlatform
from tests.local.machines.conftest import DEADLINE_S, Events

PASSWORD = 'p"a\\ss-word'


class Database:
    """Starts it with the settings a test is about; clients are closed at the end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._clients: list[Valkey] = []

    async def start(
        self, platform: ProcessPlatform, *, password: str = PASSWORD, eviction: bool = True, max_memory_mb: int = 64
    ) -> int:
        return await platform.start_redis(
            "cache", self.address, password, eviction=eviction, max_memory_mb=max_memory_mb
        )

    def client(self, password: str | None = PASSWORD, username: str | None = None) -> Valkey:
        client = Valkey(host=self.address, port=6379, username=username, password=password, socket_timeout=DEADLINE_S)
        self._clients.append(client)
        return client

    async def answer_of(self, key: str) -> object:
        """What a new client reads, as soon as there is a server that takes it."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    return await self.client().get(key)
                except ServerGoneError:
                    await asyncio.sleep(0.01)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


@pytest.fixture
async def database(address: Callable[[], str]) -> AsyncIterator[Database]:
    database = Database(address())
    yield database
    await database.close()


async def test_it_requires_the_password(platform: ProcessPlatform, database: Database) -> None:
    pid = await database.start(platform)
    assert PASSWORD not in " ".join(psutil.Process(pid).cmdline())
    assert await database.client(username="default").ping()
    with pytest.raises(AuthenticationError):
        await database.client(password=None).ping()
    with pytest.raises(AuthenticationError):
        await database.client(password="wrong").ping()


async def test_the_same_settings_leave_it_alone_and_data_survive_others(
    platform: ProcessPlatform, database: Database
) -> None:
    pid = await database.start(platform)
    await database.client().set("key", "value")
    assert await database.start(platform) == pid
    assert await database.start(platform, password="reset") != pid
    assert await database.client("reset").get("key") == b"value"


async def test_it_outlives_the_daemon(state: Path, events: Events, database: Database) -> None:
    first, second = ProcessPlatform(state, events), ProcessPlatform(state, events)
    pid = await database.start(first)
    await first.close(stop_everything=False)
    assert psutil.pid_exists(pid)
    assert await database.start(second) == pid
    await second.close(stop_everything=True)
    assert not psutil.pid_exists(pid)


async def test_it_is_started_again_when_it_dies(
    platform: ProcessPlatform, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.machines.databases.REVIVE_AFTER_S", 0.01)
    pid = await database.start(platform)
    await database.client().set("key", "value")
    os.kill(pid, signal.SIGKILL)
    assert await database.answer_of("key") == b"value"
    revived = await database.start(platform)
    assert revived != pid
    assert await database.start(platform) == revived


async def test_stop_keeps_the_data_and_erase_does_not(platform: ProcessPlatform, database: Database) -> None:
    for erase, expected in ((False, b"value"), (True, None)):
        await database.start(platform)
        await database.client().set("key", "value")
        await platform.stop_redis("cache", erase=erase)
        pid = await database.start(platform)
        assert await database.client().get("key") == expected
        await platform.stop_redis("cache", erase=False)
        assert not psutil.pid_exists(pid)
    await platform.stop_redis("nobody", erase=True)


@pytest.mark.parametrize("eviction", [True, False])
async def test_a_full_database_evicts_or_refuses(platform: ProcessPlatform, database: Database, eviction: bool) -> None:
    await database.start(platform, eviction=eviction, max_memory_mb=4)
    client = database.client()

    async def fill() -> None:
        for number in range(100):
            await client.set(f"key{number}", "x" * 100_000)

    if eviction:
        await fill()
        assert 0 < await client.dbsize() < 100
    else:
        with pytest.raises(OutOfMemoryError):
            await fill()
