"""Requests wait for the rate Fly documents instead of being refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from components.fly.api import Api
from components.fly.rates import Limiter
from tests.components.fly.fake_clock import FakeClock
from tests.components.fly.fake_fly import FakeFly

MACHINE = "/apps/x/machines/1"


def waits(limiter: Limiter, method: str, path: str, times: int) -> list[float]:
    return [round(limiter.reserve(method, path), 3) for _ in range(times)]


def test_three_go_at_once_and_then_one_a_second(clock: FakeClock) -> None:
    assert waits(Limiter(clock), "POST", "/apps/x/secrets", 5) == [0, 0, 0, 1, 2]


def test_reading_one_machine_is_faster(clock: FakeClock) -> None:
    assert waits(Limiter(clock), "GET", MACHINE, 12) == [0] * 10 + [0.2, 0.4]


def test_all_app_deletions_count_together(clock: FakeClock) -> None:
    limiter = Limiter(clock)
    assert waits(limiter, "DELETE", "/apps/x", 3) == [0, 0, 0]
    assert waits(limiter, "DELETE", "/apps/y", 1) == [0.6]


def test_each_action_and_each_object_counts_for_itself(clock: FakeClock) -> None:
    limiter = Limiter(clock)
    calls = [
        ("POST", MACHINE),
        ("POST", "/apps/x/machines/2"),
        ("POST", f"{MACHINE}/start"),
        ("POST", f"{MACHINE}/lease"),
        ("DELETE", f"{MACHINE}/lease"),
        ("GET", "/apps/x/machines"),
        ("GET", "/apps/y/machines"),
        ("GET", "/apps/x/secrets"),
        ("GET", "/apps/x/certificates/a.example.com"),
    ]
    assert [waits(limiter, *call, 3) for call in calls] == [[0, 0, 0]] * len(calls)
    assert waits(limiter, "GET", "/apps/x/certificates/b.example.com", 1) == [1], "per app where there is no machine"


def test_a_pause_fills_the_bucket_again_and_no_further(clock: FakeClock) -> None:
    limiter = Limiter(clock)
    assert waits(limiter, "POST", MACHINE, 4) == [0, 0, 0, 1]
    clock.sleep(100)
    assert waits(limiter, "POST", MACHINE, 4) == [0, 0, 0, 1]


def test_threads_share_the_buckets(clock: FakeClock) -> None:
    limiter = Limiter(clock)
    with ThreadPoolExecutor(4) as threads:
        turns = [*threads.map(lambda _: limiter.reserve("POST", MACHINE), range(103))]
    assert sorted(turns) == [0, 0, 0, *range(1, 101)]


def test_a_burst_waits_and_is_never_refused(fly: FakeFly, api: Api) -> None:
    fly.add_app("x")
    for _ in range(40):
        api.get("/apps/x", to="read app x")
    assert fly.count("GET /apps/x") == 40, "each was asked once: Fly never answered 429"
