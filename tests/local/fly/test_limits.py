from __future__ import annotations

from local.fly.limits import FULL_AFTER_S, Buckets, Rate

RATE = Rate(per_s=1, burst=3)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_one_per_second() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    assert [buckets.take(("a",), RATE) for _ in range(4)] == [True, True, True, False]
    clock.now += 0.9
    assert not buckets.take(("a",), RATE)
    clock.now += 0.2
    assert buckets.take(("a",), RATE)
    assert not buckets.take(("a",), RATE)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    buckets.take(("a",), RATE)
    clock.now += 3600
    assert [buckets.take(("a",), RATE) for _ in range(4)] == [True, True, True, False]


def test_buckets_nobody_uses_are_forgotten() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    for number in range(1000):
        buckets.take((str(number),), RATE)
    clock.now += FULL_AFTER_S + 1
    buckets.take(("a",), RATE)
    assert len(buckets._levels) == 1
