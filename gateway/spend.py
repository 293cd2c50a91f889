"""US dollars per day and team: reserved before a request, charged after it, in Redis; the day ends at midnight UTC.

What is reserved is the most that the request can cost by its text, its limit on the answer and the dearest of the
models that may answer it. A request passes when what is spent, reserved and needed fits the budget, or when nothing
is reserved and something is left. So a budget is overshot by no more than one request's highest cost, however many
come together. Outside the bound: what has no price per token (web searches, spoken answers).

Without Redis a machine goes on from what it knows, and charges what was spent once Redis answers again. A charge
that was on its way when Redis froze may be carried out when it thaws, and then counts twice, never not at all.

A request is charged on the day it ends. A reservation of a process that died expires. Amounts are whole nanodollars:
sums of fractions would drift.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.estimate import Size

NANO = 1_000_000_000
DAY_S = 86_400
RESERVATION_S = 900
"""Longer than answers take; one that takes longer is charged all the same."""
WARNING_FROM = 0.8
"""Part of the budget."""
ENVELOPE_TOKENS = 16  # what OpenAI's chat format adds to any question
MOST_INPUT = 128_000  # of a model that LiteLLM knows no window of: gpt-4o's
MOST_OUTPUT = 16_384  # likewise

MONEY = f"""
local day = math.floor(now / {DAY_S})

-- What is spent today, and the sum and number of what is reserved. `known` is what the asking machine has seen spent on
-- a day, and restores what a flushed Redis has forgotten; `owed` is what it could not charge earlier.
local function money(key, reservations, known_day, known, owed)
    local stored = redis.call('HMGET', key, 'day', 'spent')
    local spent = tonumber(stored[1]) == day and tonumber(stored[2]) or 0
    if known_day == day then spent = math.max(spent, known) end
    redis.call('ZREMRANGEBYSCORE', reservations, '-inf', now)
    local reserved, number = 0, 0
    for _, entry in ipairs(redis.call('ZRANGE', reservations, 0, -1)) do
        reserved = reserved + tonumber(string.match(entry, '%d+$'))
        number = number + 1
    end
    return spent + owed, reserved, number
end

local function charge(key, spent)
    redis.call('HSET', key, 'day', day, 'spent', spent)
    redis.call('EXPIRE', key, {2 * DAY_S})
end
"""


@dataclass(frozen=True)
class Price:
    """US dollars per token, and how many tokens there may be."""

    input: float
    output: float
    most_input: int = MOST_INPUT
    most_output: int = MOST_OUTPUT

    def nano(self, size: Size) -> int:
        """The most that a request can cost. A token is at least one byte; media are priced as a full window."""
        text = size.text_bytes + size.ids + ENVELOPE_TOKENS
        prompt = self.most_input if size.media else min(self.most_input, text)
        answer = self.most_output if size.answer_limit is None else min(self.most_output, size.answer_limit)
        return round(NANO * (prompt * self.input + size.answers * answer * self.output))


def dearest(prices: Iterable[Price]) -> Price:
    """At least one."""
    every = list(prices)
    return Price(
        max(price.input for price in every),
        max(price.output for price in every),
        max(price.most_input for price in every),
        max(price.most_output for price in every),
    )


def fits(budget: int, spent: int, reserved: Iterable[int], cost: int) -> bool:
    """Whether a request may begin. All in nanodollars; the same as in the script of limits.py."""
    amounts = list(reserved)
    return spent < budget and (not amounts or spent + sum(amounts) + cost <= budget)


@dataclass(frozen=True)
class Budget:
    """A team's money as it stood when a request was decided on, without that request. Nanodollars."""

    limit: int
    spent: int
    fits: bool
    midnight_in_s: float

    @property
    def is_used_up(self) -> bool:
        """False when it does not fit only because others are under way."""
        return self.spent >= self.limit

    @property
    def warning(self) -> str | None:
        part = self.spent / self.limit
        if part < WARNING_FROM:
            return None
        return f"{100 * part:.0f}% of today's {self.limit / NANO:g} USD are spent"


def midnight_in_s(now: float) -> float:
    return DAY_S - now % DAY_S


class Purse:
    """What one machine knows of one team's money."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.reserved: dict[str, int] = {}
        """By reservation, of this machine's requests."""
        self.known_day = 0
        self.known = 0
        """What Redis said was spent on the day, the newest of its answers."""
        self._owed_day = 0
        self._owed = 0

    def learn(self, day: int, spent: int) -> None:
        """Answers may arrive out of order; what is spent within a day only grows."""
        self.known = max(self.known, spent) if day == self.known_day else spent
        self.known_day = day

    def owe(self, amount: int) -> None:
        """Redis could not be told; it will be with the next call that it answers."""
        day = int(self._clock() // DAY_S)
        self._owed = amount + (self._owed if day == self._owed_day else 0)
        self._owed_day = day

    def take_owed(self) -> int:
        """For one call, which owes it again if it fails: two calls must not both charge it."""
        owed = self._owed if self._owed_day == int(self._clock() // DAY_S) else 0
        self._owed = 0
        return owed

    def spent(self) -> int:
        """Today, as far as this machine knows."""
        day = int(self._clock() // DAY_S)
        return (self.known if self.known_day == day else 0) + (self._owed if self._owed_day == day else 0)
