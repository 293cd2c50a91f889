"""The layers that count, in a process of their own, with a stand-in for LiteLLM behind them.

`python -m tests.gateway.counted PORT`, run by LiteLLM's Python, which has the Redis client; REDIS_URL and
LIMITS_WITHOUT_REDIS from the environment. The question says what the stand-in does: `cost 1234` answers and reports
1,234 tokens at NANO_PER_TOKEN, `fail` answers 500. `later` before it waits a moment first.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import uvicorn  # type: ignore[import-not-found,unused-ignore] # comes with LiteLLM

from gateway import environment
from gateway.admission import REQUEST, Admission
from gateway.authentication import Authentication
from gateway.errors import Receive, Scope, Send
from gateway.limits import Limits
from gateway.metering import CALL_ID, Metering
from gateway.outcomes import Outcome, outcomes
from gateway.redis_store import RedisStore
from gateway.spend import NANO, Price
from tests.gateway.examples import key_ring

LATER_S = 0.3
NANO_PER_TOKEN = 1_000
PRICE = Price(NANO_PER_TOKEN / NANO, NANO_PER_TOKEN / NANO)


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return
    await receive()
    call_id = dict(scope["headers"])[CALL_ID].decode()
    words = scope[REQUEST]["messages"][-1]["content"].split()
    if words[0] == "later":
        await asyncio.sleep(LATER_S)
        words.pop(0)
    status = 500 if words[0] == "fail" else 200
    body = json.dumps({"words": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"x-ratelimit-limit-requests", b"10000")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    if words[0] == "cost":
        outcomes.report(call_id, Outcome(int(words[1]), int(words[1]) * NANO_PER_TOKEN))


def main(port: int) -> None:
    limits = Limits(RedisStore(os.environ[environment.REDIS_URL]), environment.without_redis(os.environ))
    ring = key_ring()
    prices = dict.fromkeys(ring.models(), PRICE)
    app = Authentication(
        Admission(Metering(answering, limits, outcomes, lambda: prices), dict.fromkeys(ring.models(), "chat")),
        ring,
    )
    uvicorn.run(app, host="127.0.0.1", port=port, lifespan="off", access_log=False, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
