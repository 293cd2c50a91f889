"""`/health/readiness`: 200 once LiteLLM has started and holds what it should, 503 before and while it stops.

A start that left something out is a failed start: the process ends, and says what is missing.
Redis and the provider are not asked: without Redis the gateway serves on, and a provider that is down
would take every machine out of service at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from gateway.errors import App, Message, Receive, Scope, Send

PATH = "/health/readiness"


class Readiness:
    """ASGI: watches the life span pass and answers for it."""

    def __init__(self, app: App, start_problems: Callable[[], list[str]]) -> None:
        self._app = app
        self._start_problems = start_problems
        self._status = "starting"
        self._failure: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, self._watched(receive), self._checked(send))
        elif scope["type"] == "http" and scope["path"] == PATH:
            await self._answer(send)
        else:
            await self._app(scope, receive, send)

    def _watched(self, receive: Receive) -> Receive:
        async def watched() -> Message:
            message = await receive() if self._failure is None else {"type": "lifespan.shutdown"}
            if message["type"] == "lifespan.shutdown":
                self._status = "stopping"
            return message

        return watched

    def _checked(self, send: Send) -> Send:
        async def checked(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                problems = self._start_problems()
                if problems:  # LiteLLM is told to stop; once it has, the server hears of the failed start
                    self._failure = f"The gateway does not start. {' '.join(problems)}"
                    return
                self._status = "ready"
            elif self._failure is not None:
                message = {"type": "lifespan.startup.failed", "message": self._failure}
            await send(message)

        return checked

    async def _answer(self, send: Send) -> None:
        content = json.dumps({"status": self._status}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
        ]
        status = 200 if self._status == "ready" else 503
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
