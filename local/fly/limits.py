"""Rate limits of the Machines API: so many requests per second for each action on each object."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from local.fly.errors import ApiError


@dataclass(frozen=True)
class Rate:
    per_s: float
    burst: int


# fly.io/docs/machines/api/working-with-machines-api, "Rate limits".
DEFAULT = Rate(per_s=1, burst=3)
SPECIAL = {
    ("GET", "/v1/apps/{app}/machines/{machine}"): Rate(per_s=5, burst=10),
    ("DELETE", "/v1/apps/{app}"): Rate(per_s=100 / 60, burst=100),
}
# The limit on deleting apps counts all of them; everything else counts per machine, or per app.
COUNTED_TOGETHER = {("DELETE", "/v1/apps/{app}")}
# A bucket that nobody asked for this long is full again under every rate above.
FULL_AFTER_S = 60.0


class Buckets:
    """Token buckets by action and object."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._levels: dict[tuple[str, ...], tuple[float, float]] = {}
        self._swept_at = clock()

    def take(self, key: tuple[str, ...], rate: Rate) -> bool:
        """Takes one token: false when there is none."""
        now = self._clock()
        self._sweep(now)
        level, since = self._levels.get(key, (float(rate.burst), now))
        level = min(rate.burst, level + (now - since) * rate.per_s)
        allowed = level >= 1
        self._levels[key] = (level - 1 if allowed else level, now)
        return allowed

    def _sweep(self, now: float) -> None:
        if now - self._swept_at > FULL_AFTER_S:
            self._swept_at = now
            self._levels = {k: v for k, v in self._levels.items() if now - v[1] < FULL_AFTER_S}


def check(buckets: Buckets, request: web.Request) -> None:
    """Raises ApiError 429."""
    resource = request.match_info.route.resource
    if resource is None or not resource.canonical.startswith("/v1/"):
        return
    action = (request.method, resource.canonical)
    rate = SPECIAL.get(action, DEFAULT)
    place = request.match_info
    subject = "" if action in COUNTED_TOGETHER else f"{place.get('app', '')} {place.get('machine', '')}"
    if not buckets.take((*action, subject), rate):
        raise ApiError(
            429, f"rate limit exceeded: {rate.per_s:g} requests/s with bursts of {rate.burst} for this action"
        )
