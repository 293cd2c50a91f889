"""What requests turned out to cost: LiteLLM reports it some time after the answer, under the request's id.

Kept here and not in hooks.py, which may exist more than once in a process.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

REPORT_S = 10.0
"""LiteLLM reports within milliseconds, under load within seconds. Longer: the report is lost."""


@dataclass(frozen=True)
class Outcome:
    tokens: int
    """Of question and answers together, as the provider counted them."""
    cost: int
    """Nanodollars, by LiteLLM's table of prices."""


NOTHING = Outcome(0, 0)


class Outcomes:
    def __init__(self) -> None:
        self._expected: dict[str, asyncio.Future[Outcome]] = {}

    def expect(self, call_id: str) -> None:
        self._expected[call_id] = asyncio.get_running_loop().create_future()

    def report(self, call_id: str, outcome: Outcome) -> None:
        """Reports of requests that nobody expects are dropped."""
        future = self._expected.get(call_id)
        if future is not None and not future.done():
            future.set_result(outcome)

    async def of(self, call_id: str, *, answered: bool, otherwise: Outcome) -> Outcome:
        """Once for each expected id. An error costs nothing; an answer without a report costs `otherwise`."""
        future = self._expected[call_id]
        try:
            if not answered and not future.done():
                return NOTHING
            async with asyncio.timeout(REPORT_S):
                return await future
        except TimeoutError:
            return otherwise
        finally:
            del self._expected[call_id]


outcomes = Outcomes()
"""Of this process."""
