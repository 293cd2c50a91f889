"""What a team may still use: requests and tokens per minute, money per day (spend.py), in one round trip to Redis.

Requests are exact: within any 60 seconds no more than the limit pass. Tokens are known only after the answer:
an estimate is reserved before, and the difference is counted after, so that a window can hold more than its limit by
as much as the requests in flight turn out larger than estimated. A refused request counts nothing.

Without Redis each machine counts for itself (`open`, the default: an outage of Redis must not become one of the
product; with n machines up to n times the limit may pass) or refuses (`closed`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.environment import WithoutRedis
from gateway.spend import DAY_S, MONEY, NANO, RESERVATION_S, Budget, Purse, fits, midnight_in_s
from gateway.store import AwayError, Script, Store
from gateway.teams import Team
from gateway.window import WINDOW_S, Entries, Window, frees_in

CLOCK = "local time = redis.call('TIME')\n"
"""Redis' own: the machines' clocks may differ."""

COUNT = f"""
local now = tonumber(time[1])

local function counted(key)
    local total, entries, old = 0, {{}}, {{}}
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
        local second = tonumber(fields[i])
        if second < now - {WINDOW_S} or second > now then
            old[#old + 1] = fields[i]
        else
            total = total + tonumber(fields[i + 1])
            entries[#entries + 1] = second
            entries[#entries + 1] = tonumber(fields[i + 1])
        end
    end
    if #old > 0 then redis.call('HDEL', key, unpack(old)) end
    return total, entries
end

local function count(key, number)
    redis.call('HINCRBY', key, now, number)
    redis.call('EXPIRE', key, {WINDOW_S + 1})
end
"""

ADMIT = f"""
local budget, cost, id, known_day, known, owed =
    tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local spent, reserved, number = money(KEYS[3], KEYS[4], known_day, known, owed)
local affordable = spent < budget and (number == 0 or spent + reserved + cost <= budget)
local most_requests, most_tokens, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local requests, request_entries = counted(KEYS[1])
local tokens, token_entries = counted(KEYS[2])
local admitted = 0
if affordable and requests + 1 <= most_requests and tokens + wanted <= most_tokens then
    admitted = 1
    redis.call('ZADD', KEYS[4], now + {RESERVATION_S}, id .. ' ' .. ARGV[5])
    redis.call('EXPIRE', KEYS[4], {RESERVATION_S})
    count(KEYS[1], 1)
    count(KEYS[2], wanted)
end
charge(KEYS[3], spent)
return {{admitted, now, tonumber(time[2]), request_entries, token_entries, spent, affordable and 1 or 0}}
"""

SETTLE = f"""
local second, difference = tonumber(ARGV[1]), tonumber(ARGV[2])
if difference > 0 then
    count(KEYS[1], difference)
elseif second >= now - {WINDOW_S} and redis.call('HEXISTS', KEYS[1], second) == 1 then
    redis.call('HINCRBY', KEYS[1], second, difference)
end
local cost, known_day, known, owed = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
redis.call('ZREM', KEYS[3], ARGV[3] .. ' ' .. ARGV[4])
local spent = money(KEYS[2], KEYS[3], known_day, known, owed) + cost
charge(KEYS[2], spent)
return {{day, spent}}
"""

_ADMIT = Script(CLOCK + COUNT + MONEY + ADMIT)
_SETTLE = Script(CLOCK + COUNT + MONEY + SETTLE)


class Ask(NamedTuple):
    """What a request wants."""

    id: str
    tokens: int
    """Likely."""
    cost: int
    """At most, nanodollars."""


@dataclass(frozen=True)
class Use:
    """One limit, as it stood when a request was decided on; an admitted request is already counted."""

    limit: int
    used: int
    full_in_s: float
    """Seconds until the limit is whole again if nothing more is counted."""
    wait_s: float
    """Seconds until a request of this size fits; 0.0 when it does."""

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)


@dataclass(frozen=True)
class Verdict:
    admitted: bool
    requests: Use
    tokens: Use
    budget: Budget
    id: str
    """Of the request."""
    reserved: int
    """Tokens."""
    cost: int
    """What is reserved of the budget, nanodollars."""
    second: int
    """Where they are counted: a second of the clock of whoever counted."""
    in_redis: bool


def decide(
    team: Team,
    ask: Ask,
    requests: Entries,
    tokens: Entries,
    *,
    budget: Budget,
    now: float,
    admitted: bool | None,
    in_redis: bool,
) -> Verdict:
    """From the counts without this request. `admitted` is what Redis decided, None when it is decided here."""
    requests, tokens = list(requests), list(tokens)
    wanted = min(ask.tokens, team.tokens_per_minute)
    waits = (
        frees_in(requests, now, _sum(requests) + 1 - team.requests_per_minute),
        frees_in(tokens, now, _sum(tokens) + wanted - team.tokens_per_minute),
    )
    if admitted is None:
        admitted = budget.fits and not any(waits)
    if admitted:
        requests.append((int(now), 1))
        tokens.append((int(now), wanted))
    return Verdict(
        admitted,
        Use(team.requests_per_minute, _sum(requests), frees_in(requests, now, _sum(requests)), waits[0]),
        Use(team.tokens_per_minute, _sum(tokens), frees_in(tokens, now, _sum(tokens)), waits[1]),
        budget,
        id=ask.id,
        reserved=wanted,
        cost=ask.cost,
        second=int(now),
        in_redis=in_redis,
    )


def _sum(entries: Entries) -> int:
    return sum(count for _, count in entries)


class Limits:
    def __init__(self, store: Store, without_redis: WithoutRedis, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._without_redis = without_redis
        self._clock = clock
        # Kept while Redis is there too: a machine that loses it goes on from what it has let pass itself.
        self._requests: defaultdict[str, Window] = defaultdict(Window)
        self._tokens: defaultdict[str, Window] = defaultdict(Window)
        self._purses: defaultdict[str, Purse] = defaultdict(lambda: Purse(clock))

    async def admit(self, team: Team, ask: Ask) -> Verdict:
        """Raises AwayError when nothing can be counted and the setting is `closed`.

        A request that is estimated larger than the whole limit passes when nothing else is counted. Whoever is
        admitted has to be settled.
        """
        purse = self._purses[team.name]
        owed = purse.take_owed()
        wanted = min(ask.tokens, team.tokens_per_minute)
        arguments: list[int | str] = [
            *(team.requests_per_minute, team.tokens_per_minute, wanted),
            *(_budget(team), ask.cost, ask.id, purse.known_day, purse.known, owed),
        ]
        try:
            reply = await self._store.run(_ADMIT, _keys(team, "requests", "tokens", "money", "reserved"), arguments)
        except AwayError:
            purse.owe(owed)
            if self._without_redis == "closed":
                raise
            verdict = self._admit_here(team, ask, purse)
        else:
            verdict = read(team, ask, reply)
            purse.learn(verdict.second // DAY_S, verdict.budget.spent)
        if verdict.admitted:
            self._requests[team.name].add(verdict.second, 1)
            self._tokens[team.name].add(verdict.second, verdict.reserved)
            purse.reserved[ask.id] = ask.cost
        return verdict

    def _admit_here(self, team: Team, ask: Ask, purse: Purse) -> Verdict:
        now = self._clock()
        spent = purse.spent()
        affordable = fits(_budget(team), spent, purse.reserved.values(), ask.cost)
        budget = Budget(_budget(team), spent, affordable, midnight_in_s(now))
        requests, tokens = self._requests[team.name].entries(now), self._tokens[team.name].entries(now)
        return decide(team, ask, requests, tokens, budget=budget, now=now, admitted=None, in_redis=False)

    async def settle(self, team: Team, verdict: Verdict, tokens: int, cost: int) -> None:
        """`tokens`, `cost` in nanodollars: what the answer turned out to be, 0 when there was none."""
        difference = tokens - verdict.reserved
        if difference > 0:
            self._tokens[team.name].add(int(self._clock()), difference)
        else:
            self._tokens[team.name].give_back(verdict.second, -difference)
        purse = self._purses[team.name]
        purse.reserved.pop(verdict.id, None)
        owed = purse.take_owed()
        arguments: list[int | str] = [
            *(verdict.second, difference if verdict.in_redis else 0),
            *(verdict.id, verdict.cost, cost, purse.known_day, purse.known, owed),
        ]
        try:
            day, spent = await self._store.run(_SETTLE, _keys(team, "tokens", "money", "reserved"), arguments)
        except AwayError:  # the minute ends without it, the day does not
            purse.owe(owed + cost)
        else:
            purse.learn(day, spent)


def read(team: Team, ask: Ask, reply: list[Any]) -> Verdict:
    """What the script returned."""
    admitted, second, microseconds, requests, tokens, spent, affordable = reply
    now = second + microseconds / 1e6
    budget = Budget(_budget(team), spent, bool(affordable), midnight_in_s(now))
    return decide(
        team, ask, _pairs(requests), _pairs(tokens), budget=budget, now=now, admitted=bool(admitted), in_redis=True
    )


def _budget(team: Team) -> int:
    return round(team.usd_per_day * NANO)


def _pairs(flat: list[int]) -> Entries:
    return zip(flat[::2], flat[1::2], strict=True)


def _keys(team: Team, *what: str) -> list[str]:
    """The braces keep what a team has on one node of a Redis cluster."""
    return [f"gateway:{{{team.name}}}:{name}" for name in what]
