"""Money: what a request can cost, and the daily budget in a real Valkey under a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import valkey
from hypothesis import given
from hypothesis import strategies as st

from gateway import estimate, limits, teams
from gateway.limits import Ask, Limits
from gateway.spend import DAY_S, NANO, RESERVATION_S, Budget, Price, Purse, dearest, fits, midnight_in_s
from gateway.store import AwayError, Script
from tests.gateway.examples import TEAMS_JSON
from tests.gateway.redis_server import RedisServer, redis_server

TEAM = replace(teams.parse(TEAMS_JSON)["load"], usd_per_day=1e-6)  # 1,000 nanodollars
NOON = 20_000 * DAY_S + DAY_S // 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


class TestStore:
    """Runs the real scripts in a real Valkey, but under the test's clock; goes away when told to."""

    __test__ = False

    def __init__(self, client: Any) -> None:
        self.client = client
        self.now = NOON
        self.away = False

    def clock(self) -> float:
        return float(self.now)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[int | str]) -> Any:
        if self.away:
            raise AwayError
        assert limits.CLOCK in script.text
        text = script.text.replace(limits.CLOCK, f"local time = {{'{self.now}', '0'}}\n")
        return self.client.eval(text, len(keys), *keys, *arguments)


@pytest.fixture
def store(server: RedisServer) -> Iterator[TestStore]:
    with valkey.Valkey(port=server.port, password="redis-password", decode_responses=True) as client:
        client.flushall()
        yield TestStore(client)


def machine(store: TestStore) -> Limits:
    return Limits(store, "open", store.clock)


async def spend(machine: Limits, cost: int, *, reserve: int | None = None) -> bool:
    """Whether the request passed."""
    verdict = await machine.admit(TEAM, Ask("one", 1, cost if reserve is None else reserve))
    if verdict.admitted:
        await machine.settle(TEAM, verdict, 1, cost)
    return verdict.admitted


async def test_money_is_counted_over_machines_and_ends_at_midnight_utc(store: TestStore) -> None:
    one, other = machine(store), machine(store)
    assert await spend(one, 600)
    assert await spend(other, 400)
    for each in (one, other):
        verdict = await each.admit(TEAM, Ask("next", 1, 1))
        assert not verdict.admitted
        assert verdict.budget == Budget(1000, 1000, fits=False, midnight_in_s=DAY_S // 2)
        assert verdict.budget.is_used_up
    store.now = NOON + DAY_S // 2 - 1
    assert not await spend(one, 1)
    store.now += 1
    assert await spend(one, 999)
    assert (await other.admit(TEAM, Ask("next", 1, 1))).budget.spent == 999


async def test_what_ends_after_midnight_is_charged_to_the_new_day(store: TestStore) -> None:
    one = machine(store)
    store.now = NOON + DAY_S // 2 - 1
    verdict = await one.admit(TEAM, Ask("late", 1, 700))
    store.now += 2
    assert not (await one.admit(TEAM, Ask("too much", 1, 400))).admitted, "it stays reserved over midnight"
    await one.settle(TEAM, verdict, 1, 700)
    assert (await one.admit(TEAM, Ask("next", 1, 300))).budget.spent == 700


async def test_reservations_hold_others_back_until_they_are_settled(store: TestStore) -> None:
    one, other = machine(store), machine(store)
    held = await one.admit(TEAM, Ask("held", 1, 800))
    refused = await other.admit(TEAM, Ask("refused", 1, 201))
    assert not refused.admitted
    assert not refused.budget.is_used_up
    assert await spend(other, 200)
    await one.settle(TEAM, held, 0, 0)  # a failure releases
    assert await spend(other, 800)


async def test_reservations_of_a_dead_process_expire(store: TestStore) -> None:
    assert (await machine(store).admit(TEAM, Ask("lost", 1, 1000))).admitted
    survivor = machine(store)
    store.now += RESERVATION_S - 1
    assert not await spend(survivor, 1)
    store.now += 1
    assert await spend(survivor, 1)


async def test_an_answer_that_outlives_its_reservation_is_charged(store: TestStore) -> None:
    one = machine(store)
    verdict = await one.admit(TEAM, Ask("long", 1, 500))
    store.now += RESERVATION_S + 1
    await one.settle(TEAM, verdict, 1, 500)
    assert (await one.admit(TEAM, Ask("next", 1, 1))).budget.spent == 500


async def test_a_request_larger_than_the_budget_passes_alone(store: TestStore) -> None:
    one = machine(store)
    first = await one.admit(TEAM, Ask("large", 1, 5000))
    assert first.admitted
    assert not (await one.admit(TEAM, Ask("second", 1, 1))).admitted
    await one.settle(TEAM, first, 1, 10)
    assert await spend(one, 10)


async def test_a_flushed_redis_is_told_again_what_was_spent(store: TestStore) -> None:
    one = machine(store)
    await spend(one, 900)
    store.client.flushall()
    assert not (await one.admit(TEAM, Ask("next", 1, 101))).budget.spent < 900
    assert (await machine(store).admit(TEAM, Ask("other", 1, 1))).budget.spent == 900


async def test_what_was_spent_while_redis_was_away_is_charged_later_and_once(store: TestStore) -> None:
    one, other = machine(store), machine(store)
    await spend(one, 300)
    await spend(other, 100)
    running = await one.admit(TEAM, Ask("running", 1, 50))
    store.away = True
    await one.settle(TEAM, running, 1, 50)
    assert await spend(one, 200)
    assert await spend(one, 300)
    assert not (await one.admit(TEAM, Ask("no", 1, 401))).budget.is_used_up
    store.away = False
    store.now += RESERVATION_S
    for each in (one, other, one):
        assert (await each.admit(TEAM, Ask("look", 1, 10_000))).budget.spent == 950
        store.now += RESERVATION_S


async def test_what_is_owed_from_yesterday_is_not_charged_today(store: TestStore) -> None:
    one = machine(store)
    store.away = True
    await spend(one, 400)
    store.away = False
    store.now += DAY_S
    assert (await one.admit(TEAM, Ask("next", 1, 1))).budget.spent == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 400), st.floats(0, 1), st.booleans()), max_size=40
    )  # (machine, reserved, part of it that it costs, whether an earlier request ends first)
)
async def test_no_order_of_requests_overshoots_by_more_than_one(
    server: RedisServer, requests: list[tuple[int, int, float, bool]]
) -> None:
    with valkey.Valkey(port=server.port, password="redis-password", decode_responses=True) as client:
        client.flushall()
        store = TestStore(client)
        machines = [machine(store), machine(store)]
        running: list[tuple[Limits, limits.Verdict, int]] = []
        true = 0
        for number, (which, reserve, part, ends) in enumerate(requests):
            if ends and running:
                owner, verdict, cost = running.pop(0)
                await owner.settle(TEAM, verdict, 1, cost)
                true += cost
            verdict = await machines[which].admit(TEAM, Ask(str(number), 1, reserve))
            assert verdict.budget.spent == true
            amounts = [other.cost for _, other, _ in running]
            assert verdict.admitted == fits(1000, true, amounts, reserve), "Lua and Python decide alike"
            if verdict.admitted:
                running.append((machines[which], verdict, int(part * reserve)))
        for owner, verdict, cost in running:
            await owner.settle(TEAM, verdict, 1, cost)
            true += cost
        assert true < 1000 + max((reserve for _, reserve, _, _ in requests), default=1)


def test_the_most_a_request_can_cost() -> None:
    price = Price(2e-9, 3e-9, most_input=1000, most_output=100)
    size = estimate.size({"messages": [{"content": "ab"}], "max_tokens": 10, "n": 2})
    assert size.text_bytes == len("content") + 2
    assert price.nano(size) == (9 + 16) * 2 + 2 * 10 * 3
    assert price.nano(replace(size, answer_limit=None)) == (9 + 16) * 2 + 2 * 100 * 3
    assert price.nano(replace(size, answer_limit=5000, answers=1)) == (9 + 16) * 2 + 100 * 3
    assert price.nano(replace(size, text_bytes=10**9, answers=0)) == 1000 * 2
    assert price.nano(replace(size, media=1, answers=0)) == 1000 * 2
    assert dearest([price, Price(1e-9, 9e-9, 10, 2000)]) == Price(2e-9, 9e-9, 1000, 2000)


TEXT = st.text("aé漢😀\ud800", max_size=10)  # a client may send half a surrogate pair
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT | st.sampled_from(["image_url", "content"]), inner),
)


@given(
    st.dictionaries(st.sampled_from(["messages", "tools", "input", "n", "max_tokens", "max_completion_tokens"]), JSON)
)
def test_any_request_has_a_size(request: dict[str, Any]) -> None:
    size = estimate.size(request)
    assert size.tokens >= 1
    assert Price(1e-6, 1e-6).nano(size) >= 0


def test_deep_requests_have_a_size_too() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert estimate.size({"messages": deep}).text_bytes == 1


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        ({"messages": [{"content": "x" * 33}], "max_tokens": 7}, 10 + 7),
        ({"messages": [{"content": "x" * 33}], "max_completion_tokens": 7, "n": 3}, 10 + 21),
        ({"messages": [{"content": "x" * 33}]}, 10 + estimate.ANSWER_TOKENS),
        ({"messages": [{"image_url": {"url": "data:" + "x" * 10_000}}], "max_tokens": 1}, 9 // 4 + 1000 + 1),
        ({"input": ["four", "more"]}, 2),
        ({"input": [[1, 2, 3], [4]]}, 4),
        ({"input": ""}, 1),
    ],
)
def test_a_likely_number_of_tokens(request_: dict[str, Any], tokens: int) -> None:
    assert estimate.size(request_).tokens == tokens


@pytest.mark.parametrize(("spent", "warning"), [(799, None), (800, "80% of today's 1e-06 USD are spent")])
def test_a_warning_from_80_percent(spent: int, warning: str | None) -> None:
    assert Budget(1000, spent, fits=True, midnight_in_s=1.0).warning == warning


def test_midnight_is_utcs() -> None:
    assert midnight_in_s(20_000 * DAY_S) == DAY_S
    assert midnight_in_s(20_000 * DAY_S - 0.5) == 0.5


def test_what_is_known_never_shrinks_within_a_day() -> None:
    purse = Purse(lambda: NOON)
    purse.learn(20_000, 500)
    purse.learn(20_000, 400)
    assert purse.spent() == 500
    assert purse.known == 500
    purse.learn(20_001, 3)
    assert purse.known == 3
    assert NANO == 10**9
