"""Where counts are kept for all machines together, as those who count see it; redis_store.py is the real one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

AWAY_S = 5.0
"""How long a store is left alone after it did not answer."""


class AwayError(Exception):
    """The store does not answer, or not in time, or is being left alone."""


class Script:
    """Lua for Redis, which keeps it under its digest."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - Redis' name for it, not a protection


class Store(Protocol):
    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[int | str]) -> Any:
        """What the script returns. Raises AwayError; the script may have run all the same, or run later."""
