"""One transition of a machine at a time: the next request waits for its turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from local.fly.errors import ApiError
from local.fly.objects import Machine

# So long a request waits for the transition before it, which may be a program that takes its time to end.
TURN_DEADLINE_S = 30.0

Work = Coroutine[Any, Any, None]


class Turns:
    """Holds all work that goes on behind requests. `broke_off` hears of a transition that raised."""

    def __init__(self, broke_off: Callable[[Machine, Exception], None]) -> None:
        self._broke_off = broke_off
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def turn(self, machine: Machine, *, patient: bool = False) -> AsyncIterator[Callable[[Work], None]]:
        """What is given to the yielded function runs on behind the block, and the turn ends with it.

        Raises ApiError 412 when the transition before takes too long, unless `patient`.
        """
        lock = self._locks.setdefault(machine.id, asyncio.Lock())
        try:
            async with asyncio.timeout(None if patient else TURN_DEADLINE_S):
                await lock.acquire()
        except TimeoutError:
            raise ApiError(412, f"machine {machine.id} is still {machine.state}: try again when it is not") from None
        rest: list[Work] = []
        try:
            yield rest.append
        finally:
            if rest:
                self.spawn(self._finish(machine, rest[0], lock))
            else:
                lock.release()

    def spawn(self, work: Work) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, machine: Machine) -> None:
        """The machine has had its last turn."""
        self._locks.pop(machine.id, None)

    async def close(self) -> None:
        """Breaks off what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _finish(self, machine: Machine, work: Work, lock: asyncio.Lock) -> None:
        try:
            await work
        except Exception as error:
            self._broke_off(machine, error)
        finally:
            lock.release()
