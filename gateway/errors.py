"""Errors as OpenAI words them, for its clients: body, and answer on an ASGI connection."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def body(message: str, *, code: str | None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error body for a request that is the client's mistake."""
    return {"message": message, "type": "invalid_request_error", "param": param, "code": code}


async def answer(
    send: Send,
    status: int,
    message: str,
    *,
    code: str | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Sends a whole response."""
    content = json.dumps({"error": body(message, code=code)}).encode()
    length = (b"content-length", str(len(content)).encode())
    start = [(b"content-type", b"application/json"), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": content})
