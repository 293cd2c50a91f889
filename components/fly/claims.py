"""One remote value has one owner: two resources of a program that claim the same are refused.

A registry per provider process, hence per run: Pulumi checks every resource of the program in it.
"""

from __future__ import annotations

import threading


class Claims:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: dict[tuple[str, str], str] = {}

    def claim(self, app: str, name: str, owner: str) -> str | None:
        """None, or the other owner of `name` in `app`. The same owner may claim again: a replacement checks twice."""
        with self._lock:
            holder = self._owners.setdefault((app, name), owner)
        return None if holder == owner else holder

    def is_of_another(self, app: str, name: str, owner: str) -> bool:
        """Whether `name` has gone over to another resource in this run, which sets it before or after."""
        with self._lock:
            return self._owners.get((app, name), owner) != owner
