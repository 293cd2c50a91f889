"""Calls an ASGI application without a server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gateway.authentication import OWNER
from gateway.errors import App, Message, Receive, Scope, Send
from gateway.keys import Owner

Headers = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


class Inner:
    """Stands behind a layer: keeps what came through and answers 200."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"passed"})


def http_scope(method: str, path: str, headers: Headers | None = None, *, owner: Owner | None = None) -> Scope:
    authenticated = {} if owner is None else {OWNER: owner}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": headers or [],
        "query_string": b"",
        **authenticated,
    }


async def call(app: App, scope: Scope, *chunks: bytes) -> Answer:
    """The body arrives in the given chunks."""
    incoming: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": i < len(chunks) - 1}
        for i, chunk in enumerate(chunks or (b"",))
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    return Answer(start["status"], dict(start["headers"]), b"".join(m.get("body", b"") for m in rest))
