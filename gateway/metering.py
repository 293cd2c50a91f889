"""Counts what teams use: before a request is passed on, and once more when it is known what it cost.

What it cost comes from LiteLLM (outcomes.py), under the request's id, which is given to LiteLLM as its call id.
Requests that reach no provider (lists of models, refused ones) count nothing.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping

from gateway import errors, estimate
from gateway.admission import REQUEST
from gateway.authentication import OWNER
from gateway.errors import App, Message, Receive, Scope, Send
from gateway.limits import Ask, Limits, Verdict
from gateway.outcomes import Outcome, Outcomes
from gateway.spend import NANO, Budget, Price
from gateway.store import AWAY_S, AwayError
from gateway.teams import Team

CALL_ID = b"x-litellm-call-id"
RESERVED_RETRY_S = 5  # of the order of an answer
Headers = list[tuple[bytes, bytes]]
_OURS = {
    f"x-ratelimit-{what}-{of}".encode() for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
}
"""LiteLLM sets these to what the provider said about the operator's own account."""


class Metering:
    """ASGI, behind Admission."""

    def __init__(self, app: App, limits: Limits, outcomes: Outcomes, prices: Callable[[], Mapping[str, Price]]) -> None:
        """`prices`: by model, the dearest that may answer for it; asked once LiteLLM has started."""
        self._app = app
        self._prices = prices
        self._limits = limits
        self._outcomes = outcomes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or REQUEST not in scope:
            await self._app(scope, receive, send)
            return
        team: Team = scope[OWNER].team
        call_id = str(uuid.uuid4())
        size = estimate.size(scope[REQUEST])
        ask = Ask(call_id, size.tokens, self._prices()[scope[REQUEST]["model"]].nano(size))
        try:
            verdict = await self._limits.admit(team, ask)
        except AwayError:
            await _answer_uncounted(send)
            return
        headers = limit_headers(verdict)
        if not verdict.admitted:
            await _refuse(send, team, verdict, headers)
            return
        answered = False

        async def watched(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = message["status"] < 400
                kept = [(name, value) for name, value in message["headers"] if name.lower() not in _OURS]
                message = {**message, "headers": [*kept, *headers]}
            await send(message)

        self._outcomes.expect(call_id)
        try:
            await self._app({**scope, "headers": [*scope["headers"], (CALL_ID, call_id.encode())]}, receive, watched)
        finally:
            # The client has its answer by now; this only keeps the request's task alive a little longer.
            estimated = Outcome(verdict.reserved, verdict.cost)
            outcome = await self._outcomes.of(call_id, answered=answered, otherwise=estimated)
            await self._limits.settle(team, verdict, outcome.tokens, outcome.cost)


def limit_headers(verdict: Verdict) -> Headers:
    """In OpenAI's names and forms."""
    headers = []
    for of, use in (("requests", verdict.requests), ("tokens", verdict.tokens)):
        for what, value in (("limit", use.limit), ("remaining", use.remaining), ("reset", duration(use.full_in_s))):
            headers.append((f"x-ratelimit-{what}-{of}".encode(), str(value).encode()))
    if verdict.budget.warning is not None:
        headers.append((b"x-gateway-budget-warning", verdict.budget.warning.encode()))
    return headers


def duration(seconds: float) -> str:
    """As OpenAI writes it: `0s`, `59s`, `1m1s`. Rounded up: whoever waits for as long waits long enough."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


async def _refuse(send: Send, team: Team, verdict: Verdict, headers: Headers) -> None:
    if not verdict.budget.fits:
        await _refuse_spending(send, team, verdict.budget, headers)
        return
    kind, use = ("requests", verdict.requests) if verdict.requests.wait_s else ("tokens", verdict.tokens)
    wait_s = max(1, math.ceil(max(verdict.requests.wait_s, verdict.tokens.wait_s)))
    requested = 1 if kind == "requests" else verdict.reserved
    message = (
        f"Rate limit reached for team {team.name} on {kind} per minute: limit {use.limit}, used {use.used}, "
        f"requested {requested}. Please try again in {wait_s}s."
    )
    retry_after = (b"retry-after", str(wait_s).encode())
    await errors.answer(send, 429, message, type=kind, code="rate_limit_exceeded", headers=[retry_after, *headers])


async def _refuse_spending(send: Send, team: Team, budget: Budget, headers: Headers) -> None:
    limit = f"{budget.limit / NANO:g} USD"
    if budget.is_used_up:
        wait_s = math.ceil(budget.midnight_in_s)
        message = f"Team {team.name} has spent today's budget of {limit}. It begins anew at midnight UTC."
    else:
        wait_s = RESERVED_RETRY_S
        message = (
            f"What is left of today's {limit} of team {team.name} is reserved for requests under way. "
            f"Please try again in {wait_s}s, or set a lower max_completion_tokens."
        )
    retry_after = (b"retry-after", str(wait_s).encode())
    kind = "insufficient_quota"
    await errors.answer(send, 429, message, type=kind, code=kind, headers=[retry_after, *headers])


async def _answer_uncounted(send: Send) -> None:
    message = "The gateway cannot count this request: its Redis does not answer. Please try again."
    retry_after = (b"retry-after", str(math.ceil(AWAY_S)).encode())
    await errors.answer(send, 503, message, type="server_error", code="limits_unavailable", headers=[retry_after])
