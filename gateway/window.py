"""Counts within the last minute, second by second: what limits are made of, without I/O.

Redis keeps the same counts for all machines (limits.py); a machine keeps its own for the time without Redis.
"""

from __future__ import annotations

from collections.abc import Iterable

WINDOW_S = 60
"""What was counted in a second counts in that second and the 60 after it: for 60 to 61 seconds, so that no
60 seconds, wherever they begin, hold more than the limit. A window takes at most 61 numbers."""

Entries = Iterable[tuple[int, int]]
"""(second, count) pairs, any order."""


def is_counted(second: int, now: float) -> bool:
    """A second in the future is left from before the clock was set back."""
    return int(now) - WINDOW_S <= second <= int(now)


def frees_in(entries: Entries, now: float, excess: int) -> float:
    """Seconds until at least `excess` of the counts has left the window; 0.0 if there is nothing to wait for."""
    waited = 0.0
    for second, count in sorted(entries):
        if excess <= 0:
            break
        excess -= count
        waited = second + WINDOW_S + 1 - now
    return waited


class Window:
    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def entries(self, now: float) -> list[tuple[int, int]]:
        """What counts at `now`, oldest first."""
        return sorted((second, count) for second, count in self._counts.items() if is_counted(second, now))

    def add(self, second: int, count: int) -> None:
        if second not in self._counts:
            self._counts = dict(self.entries(second))  # forgets what no longer counts
        self._counts[second] = self._counts.get(second, 0) + count

    def give_back(self, second: int, count: int) -> None:
        """Takes a count back from the second that it was added in, if that is still kept."""
        if second in self._counts:
            self._counts[second] = max(0, self._counts[second] - count)
