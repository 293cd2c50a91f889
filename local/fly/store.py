"""Everything the API knows: in memory for reading, in one SQLite file for the next start.

A write is in the file before `put` returns, so an answer never promises what a crash of the daemon would take back.
(After a power cut the last writes may be missing, but the machines they were about are gone then too.)
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from local.fly.objects import (
    Address,
    App,
    Certificate,
    DnsRecord,
    Machine,
    MachineVersion,
    Redis,
    Volume,
)

T = TypeVar("T")
_ADAPTERS: dict[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (Address, App, Certificate, DnsRecord, Machine, MachineVersion, Redis, Volume)
}


class Table(Generic[T]):
    """The objects of one kind by key. An object that was changed is `put` again."""

    def __init__(self, file: sqlite3.Connection, kind: type[T], key: Callable[[T], str]) -> None:
        self._file = file
        self._name = kind.__name__
        self._key = key
        self._adapter: TypeAdapter[T] = _ADAPTERS[kind]
        rows = file.execute("SELECT key, body FROM objects WHERE kind = ? ORDER BY rowid", (self._name,))
        self._objects: dict[str, T] = {key: self._adapter.validate_json(body) for key, body in rows}

    def get(self, key: str) -> T | None:
        return self._objects.get(key)

    def __getitem__(self, key: str) -> T:
        return self._objects[key]

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def __iter__(self) -> Iterator[T]:
        """In the order in which they were first put."""
        return iter(list(self._objects.values()))

    def put(self, item: T) -> None:
        key = self._key(item)
        self._objects[key] = item
        self._file.execute(
            "INSERT INTO objects (kind, key, body) VALUES (?, ?, ?)"
            " ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
            (self._name, key, self._adapter.dump_json(item)),
        )

    def remove(self, item: T) -> None:
        key = self._key(item)
        del self._objects[key]
        self._file.execute("DELETE FROM objects WHERE kind = ? AND key = ?", (self._name, key))


class Store:
    """Opens or makes the file, for its owner only: it holds secrets."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # the files SQLite puts beside it get the same mode
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS objects (kind TEXT, key TEXT, body TEXT, PRIMARY KEY (kind, key))"
        )
        self.apps = Table(self._file, App, lambda app: app.name)
        self.machines = Table(self._file, Machine, lambda machine: machine.id)
        self.versions = Table(self._file, MachineVersion, lambda version: version.id)
        self.volumes = Table(self._file, Volume, lambda volume: volume.id)
        self.addresses = Table(self._file, Address, lambda address: f"{address.app} {address.ip}")
        self.certificates = Table(self._file, Certificate, lambda certificate: certificate.hostname)
        self.zone = Table(self._file, DnsRecord, lambda record: f"{record.name} {record.type} {record.value}")
        self.databases = Table(self._file, Redis, lambda redis: redis.name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes within are kept, or none in the file. The block must not await."""
        self._file.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")

    def next_number(self, name: str) -> int:
        """1, 2, 3, …: a series that survives a restart."""
        row = self._file.execute(
            "INSERT INTO objects (kind, key, body) VALUES ('series', ?, 1)"
            " ON CONFLICT (kind, key) DO UPDATE SET body = body + 1 RETURNING body",
            (name,),
        ).fetchone()
        return int(row[0])

    def close(self) -> None:
        self._file.close()
