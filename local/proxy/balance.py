"""Which machine gets the next request."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from local.contract import Backend


class Balancer:
    """Counts requests in flight per machine and port; prefers the least loaded, among equals the longest unused."""

    def __init__(self) -> None:
        self._load: Counter[tuple[str, int]] = Counter()
        self._last_pick: dict[tuple[str, int], int] = {}
        self._picks = itertools.count(1)

    def pick(self, backends: Sequence[Backend], without: Collection[Backend] = ()) -> Backend | None:
        """None when every machine is at its hard limit or in `without`. Above its soft limit one is a last resort."""
        free = [
            backend
            for backend in backends
            if backend not in without and (backend.hard_limit is None or self._load[_key(backend)] < backend.hard_limit)
        ]
        return min(free, key=self._order, default=None)

    @contextmanager
    def carrying(self, backend: Backend) -> Iterator[None]:
        """Counts one request while the block runs."""
        key = _key(backend)
        self._load[key] += 1
        self._last_pick[key] = next(self._picks)
        try:
            yield
        finally:
            self._load[key] -= 1

    def _order(self, backend: Backend) -> tuple[bool, int, int]:
        key = _key(backend)
        return self._load[key] >= backend.soft_limit, self._load[key], self._last_pick.get(key, 0)


def _key(backend: Backend) -> tuple[str, int]:
    return backend.machine_id, backend.internal_port
