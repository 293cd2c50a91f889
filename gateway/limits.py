"""Requests and tokens per minute of a team, counted in Redis for all machines and workers together.

Requests are exact: within any 60 seconds no more than the limit pass. Tokens are known only after the answer:
an estimate is reserved before, and the difference is counted after, so that a window can hold more than its limit by
as much as the requests in flight turn out larger than estimated. A refused request counts nothing.

Without Redis each machine counts for itself (`open`, the default: an outage of Redis must not become one of the
product; with n machines up to n times the limit may pass) or refuses (`closed`).
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.environment import WithoutRedis
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

ADMIT = """
local most_requests, most_tokens, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local requests, request_entries = counted(KEYS[1])
local tokens, token_entries = counted(KEYS[2])
local admitted = 0
if requests + 1 <= most_requests and tokens + wanted <= most_tokens then
    admitted = 1
    count(KEYS[1], 1)
    count(KEYS[2], wanted)
end
return {admitted, now, tonumber(time[2]), request_entries, token_entries}
"""

SETTLE = f"""
local second, difference = tonumber(ARGV[1]), tonumber(ARGV[2])
if difference > 0 then
    count(KEYS[1], difference)
elseif second >= now - {WINDOW_S} and redis.call('HEXISTS', KEYS[1], second) == 1 then
    redis.call('HINCRBY', KEYS[1], second, difference)
end
return 0
"""

_ADMIT = Script(CLOCK + COUNT + ADMIT)
_SETTLE = Script(CLOCK + COUNT + SETTLE)


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
    reserved: int
    """Tokens."""
    second: int
    """Where they are counted: a second of the clock of whoever counted."""
    in_redis: bool


def decide(
    team: Team, requests: Entries, tokens: Entries, now: float, wanted: int, *, admitted: bool | None, in_redis: bool
) -> Verdict:
    """From the counts without this request. `admitted` is what Redis decided, None when it is decided here."""
    requests, tokens = list(requests), list(tokens)
    waits = (
        frees_in(requests, now, _sum(requests) + 1 - team.requests_per_minute),
        frees_in(tokens, now, _sum(tokens) + wanted - team.tokens_per_minute),
    )
    if admitted is None:
        admitted = not any(waits)
    if admitted:
        requests.append((int(now), 1))
        tokens.append((int(now), wanted))
    return Verdict(
        admitted,
        Use(team.requests_per_minute, _sum(requests), frees_in(requests, now, _sum(requests)), waits[0]),
        Use(team.tokens_per_minute, _sum(tokens), frees_in(tokens, now, _sum(tokens)), waits[1]),
        reserved=wanted,
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

    async def admit(self, team: Team, tokens: int) -> Verdict:
        """Raises AwayError when nothing can be counted and the setting is `closed`.

        A request that is estimated larger than the whole limit passes when nothing else is counted.
        """
        wanted = min(tokens, team.tokens_per_minute)
        arguments = [team.requests_per_minute, team.tokens_per_minute, wanted]
        try:
            reply = await self._store.run(_ADMIT, [_key(team, "requests"), _key(team, "tokens")], arguments)
        except AwayError:
            if self._without_redis == "closed":
                raise
            now = self._clock()
            requests, tokens_ = self._requests[team.name].entries(now), self._tokens[team.name].entries(now)
            verdict = decide(team, requests, tokens_, now, wanted, admitted=None, in_redis=False)
        else:
            verdict = read(team, reply, wanted)
        if verdict.admitted:
            self._requests[team.name].add(verdict.second, 1)
            self._tokens[team.name].add(verdict.second, wanted)
        return verdict

    async def settle(self, team: Team, verdict: Verdict, tokens: int) -> None:
        """`tokens`: what the answer turned out to have cost, 0 when there was none."""
        difference = tokens - verdict.reserved
        if difference == 0:
            return
        if difference > 0:
            self._tokens[team.name].add(int(self._clock()), difference)
        else:
            self._tokens[team.name].give_back(verdict.second, -difference)
        if verdict.in_redis:
            with contextlib.suppress(AwayError):  # the minute ends without it
                await self._store.run(_SETTLE, [_key(team, "tokens")], [verdict.second, difference])


def read(team: Team, reply: list[Any], wanted: int) -> Verdict:
    """What the script returned."""
    admitted, second, microseconds, requests, tokens = reply
    now = second + microseconds / 1e6
    return decide(team, _pairs(requests), _pairs(tokens), now, wanted, admitted=bool(admitted), in_redis=True)


def _pairs(flat: list[int]) -> Entries:
    return zip(flat[::2], flat[1::2], strict=True)


def _key(team: Team, what: str) -> str:
    """The braces keep what a team has on one node of a Redis cluster."""
    return f"gateway:{{{team.name}}}:{what}"
