"""A clock that only a sleep moves."""

from __future__ import annotations

import threading
from collections.abc import Callable


class FakeClock:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 1000.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds
            due = [happen for at, happen in self._due if at <= self._now]
            self._due = [(at, happen) for at, happen in self._due if at > self._now]
        for happen in due:
            happen()

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        """Does `happen` when sleeps have reached that moment."""
        self._due.append((self._now + seconds, happen))
