"""Reads shared within a run: refreshing twenty machines of an app is one list, not twenty requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from components.fly.clock import Clock

WINDOW_S = 5.0  # as long as the resources of one refresh arrive one after another; what we change is forgotten at once


class _Entry:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.read_at: float | None = None
        self.value: Any = None


class SharedReads:
    """Keyed by app and path; threads that ask at once wait for one answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], _Entry] = {}

    def get(self, app: str, path: str, load: Callable[[], Any]) -> Any:
        with self._lock:
            entry = self._entries.setdefault((app, path), _Entry())
        with entry.lock:
            if entry.read_at is None or self._clock.now() - entry.read_at > WINDOW_S:
                entry.value = load()
                entry.read_at = self._clock.now()
            return entry.value

    def forget(self, app: str) -> None:
        """Drops what was read of an app; a read still under way is not handed to anyone who asks from now on."""
        with self._lock:
            for key in [key for key in self._entries if key[0] == app]:
                del self._entries[key]
