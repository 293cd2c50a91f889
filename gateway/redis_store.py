"""The store in Redis: each script one round trip, never for longer than a quarter of a second.

A Redis that does not answer costs the requests of that moment a quarter of a second; then it is left alone for
some seconds, after which one request asks again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import redis.asyncio as redis  # type: ignore[import-not-found,unused-ignore] # comes with LiteLLM, see __main__.py
from redis.asyncio.retry import Retry  # type: ignore[import-not-found,unused-ignore] # as above
from redis.backoff import NoBackoff  # type: ignore[import-not-found,unused-ignore] # as above
from redis.exceptions import NoScriptError, RedisError  # type: ignore[import-not-found,unused-ignore] # as above

from gateway.store import AWAY_S, AwayError, Script

CALL_S = 0.25
LATE_S = 0.05  # a timer that fires later than this was held up by the process itself
MOST_CONNECTIONS = 32  # a core serves some 100 requests a second, each of which needs Redis for a millisecond


class RedisStore:
    def __init__(self, url: str) -> None:
        # Retries and time-outs are this module's: the client's own would add up to seconds.
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=MOST_CONNECTIONS,
            timeout=CALL_S,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
            protocol=2,
        )
        self._redis = redis.Redis.from_pool(pool)
        self._away_until = 0.0

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[int | str]) -> Any:
        """What the script returns. Raises AwayError; the script may have run all the same."""
        if time.monotonic() < self._away_until:
            raise AwayError
        if self._away_until:  # this one asks; the others wait for how it ends
            self._away_until = time.monotonic() + AWAY_S
        try:
            reply = await _bounded(self._evaluate(script, keys, arguments))
        except (OSError, RedisError, TimeoutError) as e:
            self._away_until = time.monotonic() + AWAY_S
            raise AwayError(type(e).__name__) from None
        self._away_until = 0.0
        return reply

    async def _evaluate(self, script: Script, keys: Sequence[str], arguments: Sequence[int | str]) -> Any:
        try:
            return await self._redis.evalsha(script.digest, len(keys), *keys, *arguments)
        except NoScriptError:  # Redis is new or was flushed; nothing has been counted yet
            return await self._redis.eval(script.text, len(keys), *keys, *arguments)


async def _bounded(call: Any) -> Any:
    """The call's result. Raises TimeoutError after CALL_S of waiting.

    While LiteLLM holds the processor, time passes without anybody having waited for Redis: its answer may be there,
    unread. Taking that for an outage would make every machine count alone.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(call)
    try:
        while True:
            end = loop.time() + CALL_S
            done, _ = await asyncio.wait({task}, timeout=CALL_S)
            if done:
                return task.result()
            if loop.time() < end + LATE_S:
                raise TimeoutError
    finally:
        task.cancel()
