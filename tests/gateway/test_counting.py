"""Limits counted in a real Valkey by several processes at once, and while it is away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.spend import DAY_S, NANO
from gateway.store import AWAY_S
from gateway.window import WINDOW_S
from tests.gateway.examples import CEO_KEY, CUSTOMER_KEYS, LOAD_KEY
from tests.gateway.process import listens, python_env, running
from tests.gateway.redis_server import RedisServer, free_port, redis_server
from toolchain import litellm

# Needs LiteLLM's environment, where the Redis client is; not LiteLLM.
pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("counting")]

REQUESTS = 100  # of prod_customer, as examples.py says
TOKENS = 200_000
BRIEF_S = 0.25  # what a call of Redis may take


@contextlib.contextmanager
def machines(folder: Path, redis: RedisServer, count: int, without_redis: str = "open") -> Iterator[list[str]]:
    """Yields their URLs."""
    python = litellm.ensure() / "bin" / "python"
    env = python_env(REDIS_URL=redis.url, LIMITS_WITHOUT_REDIS=without_redis)
    with contextlib.ExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        for port in ports:
            command: list[str | Path] = [python, "-m", "tests.gateway.counted", str(port)]
            log = folder / f"machine-{port}.log"
            stack.enter_context(running(command, ready=listens(port), log=log, env=env))
        yield [f"http://127.0.0.1:{port}" for port in ports]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


async def ask(
    http: httpx.AsyncClient, url: str, question: str, key: str = CUSTOMER_KEYS[0], max_tokens: int = 10
) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}], "max_tokens": max_tokens}
    headers = {"authorization": f"Bearer {key}"}
    return await http.post(f"{url}/v1/chat/completions", json=body, headers=headers)


async def settled(redis: RedisServer, team: str = "prod_customer") -> None:
    """Waits until nothing of the team is under way: a request is settled after its answer, by another process."""
    deadline = time.monotonic() + 10
    with redis.client() as commands:
        while commands.zcard(f"gateway:{{{team}}}:reserved"):
            assert time.monotonic() < deadline, "a request is not settled"
            await asyncio.sleep(0.01)


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=30, trust_env=False, limits=httpx.Limits(max_connections=50))


async def test_of_150_concurrent_requests_to_two_machines_exactly_100_pass(tmp_path: Path, redis: RedisServer) -> None:
    with machines(tmp_path, redis, 2) as urls:
        async with client() as http:
            keys = CUSTOMER_KEYS  # both keys of the team share its limit
            answers = await asyncio.gather(
                *(ask(http, urls[i % 2], "cost 5", keys[i // 2 % 2]) for i in range(150)),
                *(ask(http, urls[i % 2], "cost 5", CEO_KEY) for i in range(5)),
            )
    assert Counter(answer.status_code for answer in answers[:150]) == {200: REQUESTS, 429: 50}
    assert {answer.status_code for answer in answers[150:]} == {200}, "another team has its own count"
    passed = [answer for answer in answers[:150] if answer.status_code == 200]
    remaining = sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in passed)
    assert remaining == list(range(REQUESTS)), "every request saw its own place"
    for answer in answers[:150]:
        assert answer.headers.get_list("x-ratelimit-limit-requests") == ["100"], "not what the provider said"
        if answer.status_code == 429:
            assert answer.json()["error"]["type"] == "requests"
            assert answer.json()["error"]["code"] == "rate_limit_exceeded"
            assert 0 < int(answer.headers["retry-after"]) <= WINDOW_S + 1
            assert answer.headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize("question", ["fail", "cost 10", "cost 5000"])
async def test_tokens_are_settled_with_what_the_answer_cost(tmp_path: Path, redis: RedisServer, question: str) -> None:
    cost = {"fail": 0, "cost 10": 10, "cost 5000": 5000}[question]
    with machines(tmp_path, redis, 1) as [url]:
        async with client() as http:
            first = await ask(http, url, question)
            reserved = TOKENS - int(first.headers["x-ratelimit-remaining-tokens"])
            await settled(redis)
            second = await ask(http, url, question)
    assert 10 < reserved < 100
    assert int(second.headers["x-ratelimit-remaining-tokens"]) == TOKENS - cost - reserved


async def test_tokens_overshoot_by_the_answers_in_flight_and_not_more(tmp_path: Path, redis: RedisServer) -> None:
    """8 answers of 60,000 tokens begin together, each estimated at some 30: all pass. Then none does."""
    with machines(tmp_path, redis, 2) as urls:
        async with client() as http:
            together = await asyncio.gather(*(ask(http, urls[i % 2], "later cost 60000") for i in range(8)))
            await settled(redis)
            after = [await ask(http, url, "cost 1") for url in urls]
    assert {answer.status_code for answer in together} == {200}
    for answer in after:
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "tokens")
        assert answer.headers["x-ratelimit-remaining-tokens"] == "0"
        assert int(answer.headers["x-ratelimit-remaining-requests"]) == REQUESTS - 8


async def test_in_sequence_tokens_overshoot_by_one_answer(tmp_path: Path, redis: RedisServer) -> None:
    with machines(tmp_path, redis, 1) as [url]:
        async with client() as http:
            statuses = []
            for _ in range(6):
                statuses.append((await ask(http, url, "cost 60000")).status_code)
                await settled(redis)
    assert statuses == [200] * 4 + [429] * 2  # 0, 60, 120, 180 thousand were below 200 thousand


async def test_a_flushed_redis_counts_anew_and_lets_nothing_pass_uncounted(tmp_path: Path, redis: RedisServer) -> None:
    with machines(tmp_path, redis, 2) as urls, redis.client() as commands:
        async with client() as http:
            first = await asyncio.gather(*(ask(http, urls[i % 2], "cost 5") for i in range(120)))
            commands.flushall()
            commands.script_flush()
            second = await asyncio.gather(*(ask(http, urls[i % 2], "cost 5") for i in range(120)))
    for answers in (first, second):
        assert Counter(answer.status_code for answer in answers) == {200: REQUESTS, 429: 20}


@pytest.mark.parametrize("failure", [signal.SIGKILL, signal.SIGSTOP])
async def test_open_counts_on_by_machine_and_one_request_at_a_time_pays_for_asking(
    tmp_path: Path, redis: RedisServer, failure: signal.Signals
) -> None:
    with machines(tmp_path, redis, 2) as urls:
        async with client() as http:
            before = [await ask(http, urls[i % 2], "cost 5") for i in range(40)]
            redis.process.send_signal(failure)
            begun = time.monotonic()
            took: list[float] = []
            statuses: dict[str, list[int]] = {url: [] for url in urls}
            for url in urls * 90:
                start = time.monotonic()
                statuses[url].append((await ask(http, url, "cost 5")).status_code)
                took.append(time.monotonic() - start)
            lasted = time.monotonic() - begun
            redis.process.send_signal(signal.SIGCONT)
    assert {answer.status_code for answer in before} == {200}
    for url in urls:  # each goes on from the 20 that it has let pass itself
        assert Counter(statuses[url]) == {200: 80, 429: 10}
    slow = [seconds for seconds in took if seconds > BRIEF_S * 0.9]
    assert len(slow) <= 2 * 2 * (1 + lasted / AWAY_S), "a request asks and settles, on two machines"
    assert max(took) < 4 * BRIEF_S


async def test_closed_refuses_what_it_cannot_count_and_takes_requests_when_redis_is_back(
    tmp_path: Path, redis: RedisServer
) -> None:
    with machines(tmp_path, redis, 1, without_redis="closed") as [url]:
        async with client() as http:
            redis.process.send_signal(signal.SIGSTOP)
            refused = await ask(http, url, "cost 5")
            redis.process.send_signal(signal.SIGCONT)
            error: dict[str, Any] = refused.json()["error"]
            assert (refused.status_code, error["code"]) == (503, "limits_unavailable")
            await asyncio.sleep(int(refused.headers["retry-after"]))  # the answer's own promise is what is tested
            assert (await ask(http, url, "cost 5")).status_code == 200


async def test_counting_goes_on_in_a_redis_that_was_killed_and_started_again(tmp_path: Path) -> None:
    with redis_server(tmp_path) as first, machines(tmp_path, first, 1) as [url]:
        async with client() as http:
            for _ in range(30):
                await ask(http, url, "cost 5")
            first.process.kill()
            first.process.wait()
            with redis_server(tmp_path, first.port):
                deadline = time.monotonic() + 2 * AWAY_S
                with first.client() as commands:
                    counted = 0
                    while counted <= 30 and time.monotonic() < deadline:
                        answer = await ask(http, url, "cost 5")
                        counted = sum(int(n) for n in commands.hvals("gateway:{prod_customer}:requests"))
                        await asyncio.sleep(0.5)
    assert answer.status_code == 200
    assert counted == 31, "30 from before, kept on disk, and the first that was counted there again"


async def spend(http: httpx.AsyncClient, url: str) -> httpx.Response:
    """Costs a hundredth of the budget of `load`, a dollar; reserves a tenth more than that."""
    return await ask(http, url, "later cost 10000", LOAD_KEY, max_tokens=10_900)


async def test_300_concurrent_requests_spend_no_more_than_the_budget(tmp_path: Path, redis: RedisServer) -> None:
    with machines(tmp_path, redis, 2) as urls, redis.client() as commands:
        async with client() as http:
            answers = await asyncio.gather(*(spend(http, urls[i % 2]) for i in range(300)))
            held_back = [answer for answer in answers if answer.status_code == 429]
            last = answers[0]
            while last.status_code != 429 or int(last.headers["retry-after"]) <= AWAY_S:
                last = await spend(http, urls[0])
        spent = int(commands.hget("gateway:{load}:money", "spent"))
        reserved = commands.zcard("gateway:{load}:reserved")
    assert spent == NANO, "all of the budget can be spent, and nothing more"
    assert reserved == 0
    for answer in held_back:
        assert answer.json()["error"]["code"] == "insufficient_quota"
    assert last.headers["x-gateway-budget-warning"] == "100% of today's 1 USD are spent"
    assert abs(int(last.headers["retry-after"]) - (DAY_S - time.time() % DAY_S)) < 5


async def test_what_was_spent_survives_a_restart_of_everything(tmp_path: Path) -> None:
    with redis_server(tmp_path) as first:
        with machines(tmp_path, first, 1) as [url]:
            async with client() as http:
                for _ in range(3):
                    await spend(http, url)
        first.process.kill()
        first.process.wait()
        with redis_server(tmp_path, first.port) as again, machines(tmp_path, again, 1) as [url]:
            async with client() as http:
                await spend(http, url)
            await settled(again, "load")
            with again.client() as commands:
                assert commands.hget("gateway:{load}:money", "spent") == str(4 * NANO // 100)


async def test_money_spent_while_redis_is_frozen_is_charged_when_it_answers_again(
    tmp_path: Path, redis: RedisServer
) -> None:
    with machines(tmp_path, redis, 1) as [url], redis.client() as commands:
        async with client() as http:
            await spend(http, url)
            await settled(redis, "load")
            redis.process.send_signal(signal.SIGSTOP)
            frozen = [await spend(http, url) for _ in range(4)]
            redis.process.send_signal(signal.SIGCONT)
            deadline = time.monotonic() + 2 * AWAY_S
            spent = 0
            while spent < 5 * NANO // 100 and time.monotonic() < deadline:
                await ask(http, url, "fail", LOAD_KEY)
                spent = int(commands.hget("gateway:{load}:money", "spent"))
                await asyncio.sleep(0.2)
    assert {answer.status_code for answer in frozen} == {200}
    assert spent == 5 * NANO // 100
