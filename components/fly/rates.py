"""Fly's documented request rates, kept by waiting before a request rather than by being refused.

Fly counts per action and machine, or per action and app where there is no machine
(https://fly.io/docs/machines/api/working-with-machines-api/#rate-limits).
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

from components.fly.clock import Clock


@dataclass(frozen=True)
class Rate:
    per_second: float
    burst: int


ANY_ACTION = Rate(per_second=1, burst=3)
GET_MACHINE = Rate(per_second=5, burst=10)
GRAPHQL = Rate(per_second=10, burst=20)  # not documented; one database takes three requests
DELETE_APP = Rate(per_second=100 / 60, burst=3)

_MACHINE = re.compile(r"/apps/[^/]+/machines/(?P<machine>[^/]+)(?P<action>/.*)?$")
_APP = re.compile(r"/apps/(?P<app>[^/]+)(?P<action>/[^/]+)?")
DELETION = ("DELETE", "app deletions")  # counted for all apps together


def bucket(method: str, path: str) -> tuple[tuple[str, ...], Rate]:
    """What Fly counts a request under, and how fast that may go."""
    if path == "/graphql":
        return (path,), GRAPHQL
    if machine := _MACHINE.match(path):
        action = machine["action"] or ""
        rate = GET_MACHINE if method == "GET" and not action else ANY_ACTION
        return (method, machine["machine"], action), rate
    if app := _APP.match(path):
        if method == "DELETE" and not app["action"]:
            return DELETION, DELETE_APP
        return (method, app["app"], app["action"] or ""), ANY_ACTION
    return (method, path), ANY_ACTION


class Limiter:
    """Token buckets, shared by the threads of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[tuple[str, ...], float] = {}

    def reserve(self, method: str, path: str) -> float:
        """Takes one token and returns the seconds to wait until it may be used."""
        key, rate = bucket(method, path)
        with self._lock:
            now = self._clock.now()
            full_at = max(self._full_at.get(key, now), now) + 1 / rate.per_second
            self._full_at[key] = full_at
        return max(0.0, full_at - now - rate.burst / rate.per_second)
