"""The closed list of routes: LiteLLM has several hundred, many of them administrative; these few exist here.

Everything else is 404 before LiteLLM sees it. `/metrics` stays closed too: its label values name teams and models.
"""

from __future__ import annotations

from gateway import errors
from gateway.errors import App, Receive, Scope, Send

API = {
    prefix + path: method
    for prefix in ("/v1", "")  # clients of LiteLLM often leave out the version
    for path, method in {"/chat/completions": "POST", "/embeddings": "POST", "/models": "GET"}.items()
}
HEALTH = {"/health/liveliness": "GET", "/health/readiness": "GET"}

_OPEN = API | HEALTH


def method_of(path: str) -> str | None:
    """The one method a path answers to; None for a path that does not exist."""
    return _OPEN.get(path)


def needs_key(path: str) -> bool:
    return path in API


class ClosedRoutes:
    """ASGI: lets the listed routes and the life span pass. Websockets are refused."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # 1008: policy
            return
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            expected = method_of(path)
            if expected is None:
                await errors.answer(send, 404, f"Invalid URL ({method} {path})")
                return
            if method != expected:
                allow = [(b"allow", expected.encode())]
                await errors.answer(send, 405, f"Not allowed to {method} on {path}.", headers=allow)
                return
        await self._app(scope, receive, send)
