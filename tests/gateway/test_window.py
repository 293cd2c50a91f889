"""Counting within a minute, without I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits, teams
from gateway.limits import Verdict
from gateway.metering import duration
from gateway.spend import Budget
from gateway.window import WINDOW_S, Window, frees_in
from tests.gateway.examples import TEAMS_JSON

TEAM = teams.parse(TEAMS_JSON)["prod_ceo"]  # 5 requests, 120,000 tokens
RICH = Budget(limit=10, spent=0, fits=True, midnight_in_s=1.0)
ARRIVALS = st.lists(
    st.tuples(st.floats(0, 40, allow_subnormal=False), st.integers(1, 150_000)), max_size=40
)  # (seconds since the one before, tokens)


def decided(window: Window, tokens: Window, now: float, wanted: int) -> Verdict:
    ask = limits.Ask("id", wanted, 1)
    verdict = limits.decide(
        TEAM, ask, window.entries(now), tokens.entries(now), budget=RICH, now=now, admitted=None, in_redis=False
    )
    if verdict.admitted:
        window.add(verdict.second, 1)
        tokens.add(verdict.second, wanted)
    return verdict


@given(ARRIVALS)
def test_no_60_seconds_hold_more_than_the_limits(arrivals: list[tuple[float, int]]) -> None:
    requests, tokens, now, passed = Window(), Window(), 1e9, []
    for pause, wanted in arrivals:
        now += pause
        verdict = decided(requests, tokens, now, wanted)
        if verdict.admitted:
            passed.append((now, verdict.reserved))
    for start, _ in passed:
        within = [reserved for at, reserved in passed if start <= at < start + WINDOW_S]
        assert len(within) <= TEAM.requests_per_minute
        assert sum(within) <= TEAM.tokens_per_minute


@given(ARRIVALS, st.integers(1, 150_000))
def test_who_waits_as_told_passes_and_not_a_second_earlier(arrivals: list[tuple[float, int]], wanted: int) -> None:
    requests, tokens, now = Window(), Window(), 1e9
    for pause, size in arrivals:
        now += pause
        decided(requests, tokens, now, size)
    wanted = min(wanted, TEAM.tokens_per_minute)
    verdict = decided(requests, tokens, now, wanted)
    wait_s = max(verdict.requests.wait_s, verdict.tokens.wait_s)
    assert verdict.admitted == (wait_s == 0)
    if not verdict.admitted:
        assert 0 < wait_s <= WINDOW_S + 1
        assert not decided(requests, tokens, now + wait_s - 1, wanted).admitted
        assert decided(requests, tokens, now + wait_s + 1e-3, wanted).admitted


@given(ARRIVALS)
def test_what_remains_really_passes_and_the_reset_is_whole(arrivals: list[tuple[float, int]]) -> None:
    requests, tokens, now = Window(), Window(), 1e9
    verdict = None
    for pause, wanted in arrivals:
        now += pause
        verdict = decided(requests, tokens, now, wanted)
    if verdict is None:
        return
    later = now + verdict.requests.full_in_s + 1e-3
    assert not requests.entries(later)
    assert not tokens.entries(now + verdict.tokens.full_in_s + 1e-3)
    for _ in range(verdict.requests.remaining):
        requests.add(int(now), 1)
    assert sum(count for _, count in requests.entries(now)) == TEAM.requests_per_minute


def test_tokens_are_given_back_where_they_were_taken() -> None:
    window = Window()
    window.add(100, 50)
    window.add(130, 70)
    window.give_back(100, 30)
    assert window.entries(160.0) == [(100, 20), (130, 70)]
    window.give_back(161, 10)
    assert window.entries(161.0) == [(130, 70)]


def test_a_window_keeps_no_more_than_it_counts() -> None:
    window = Window()
    for second in range(10_000):
        window.add(second, 1)
    assert len(window._counts) == WINDOW_S + 1


def test_what_a_clock_that_was_set_back_left_is_not_counted() -> None:
    window = Window()
    window.add(5000, 1)
    assert window.entries(100.0) == []


def test_nothing_to_wait_for_is_no_wait() -> None:
    assert frees_in([(100, 5)], 100.5, 0) == 0.0
    assert frees_in([(100, 5)], 100.5, 5) == 60.5


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (0.2, "1s"), (59, "59s"), (60, "1m0s"), (60.1, "1m1s")])
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text
