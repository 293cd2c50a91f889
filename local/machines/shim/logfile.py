"""A machine's log: every line with its time, in a file of bounded size."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

# A line without an end in sight is cut here, in bytes, rather than kept in memory.
LONGEST_LINE = 65536


class LogFile:
    """Takes output as it comes and appends whole lines; beyond `limit` bytes the file becomes `<path>.1`."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = Path(path)
        self._limit = limit
        self._rest = b""
        self._open()

    def _open(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "ab", buffering=0)
        self._size = os.fstat(fd).st_size

    def write(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) >= LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        self._append(lines)

    def close(self) -> None:
        self._append([self._rest] if self._rest else [])
        self._file.close()

    def _append(self, lines: list[bytes]) -> None:
        if not lines:
            return
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ ").encode()
        text = b"".join(stamp + line.rstrip(b"\r") + b"\n" for line in lines)
        if self._size and self._size + len(text) > self._limit:
            self._file.close()
            self._path.replace(f"{self._path}.1")
            self._open()
        self._size += len(text)
        self._file.write(text)
