"""The layers in front of LiteLLM, each on its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway import admission, authentication, routes
from gateway.errors import Message
from gateway.keys import Owner
from gateway.readiness import Readiness
from tests.gateway.asgi import Inner, call, http_scope
from tests.gateway.examples import CEO_KEY, CUSTOMER_KEYS, MODELS, digest, key_ring

CHAT = "/v1/chat/completions"
QUESTION: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {key}".encode())]


def owner(key: str = CUSTOMER_KEYS[0]) -> Owner:
    found = key_ring().owner(key.encode())
    assert found is not None
    return found


@pytest.mark.parametrize("path", sorted(routes.API | routes.HEALTH))
async def test_listed_routes_pass(path: str) -> None:
    method = routes.method_of(path)
    assert method is not None
    assert (await call(routes.ClosedRoutes(Inner()), http_scope(method, path))).status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/metrics", "/metrics/", "/cache/flushall", "/ui", "/key/generate", f"{CHAT}/", f"/{CHAT}", "/v2"],
)
async def test_every_other_route_is_404(path: str) -> None:
    answer = await call(routes.ClosedRoutes(Inner()), http_scope("POST", path))
    assert answer.status == 404
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE"])
async def test_another_method_is_405(method: str) -> None:
    answer = await call(routes.ClosedRoutes(Inner()), http_scope(method, CHAT))
    assert (answer.status, answer.headers[b"allow"]) == (405, b"POST")


async def test_websockets_are_refused() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read from a refused websocket")

    await routes.ClosedRoutes(Inner())({"type": "websocket", "path": CHAT}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_valid_key_passes_with_its_owner(scheme: str) -> None:
    inner = Inner()
    headers = [(b"authorization", f"{scheme} {CEO_KEY}".encode())]
    answer = await call(authentication.Authentication(inner, key_ring()), http_scope("POST", CHAT, headers))
    assert answer.status == 200
    assert inner.scopes[0][authentication.OWNER] == owner(CEO_KEY)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], None),
        ([(b"authorization", b"")], None),
        ([(b"authorization", b"Bearer")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"Basic " + CEO_KEY.encode())], None),
        ([(b"authorization", CEO_KEY.encode())], None),
        ([(b"x-api-key", CEO_KEY.encode())], None),
        (bearer(CEO_KEY) * 2, None),
        (bearer("sk-unknown"), "invalid_api_key"),
        (bearer(digest(CEO_KEY)), "invalid_api_key"),
        (bearer(f"{CEO_KEY} {CEO_KEY}"), "invalid_api_key"),
        ([(b"authorization", b"Bearer \xff\x00\xfe")], "invalid_api_key"),
        (bearer("k" * 100_000), "invalid_api_key"),
    ],
)
async def test_no_key_or_a_wrong_one_is_401(headers: list[tuple[bytes, bytes]], code: str | None) -> None:
    inner = Inner()
    answer = await call(authentication.Authentication(inner, key_ring()), http_scope("POST", CHAT, headers), b"{")
    assert answer.status == 401
    assert answer.error["code"] == code
    assert answer.headers[b"www-authenticate"] == b"Bearer"
    assert CEO_KEY.encode() not in answer.body
    assert not inner.scopes


async def test_health_needs_no_key() -> None:
    answer = await call(authentication.Authentication(Inner(), key_ring()), http_scope("GET", "/health/liveliness"))
    assert answer.status == 200


MODES = {model: "embedding" if "embedding" in model else "chat" for model in MODELS}


def admitted(inner: Inner) -> admission.Admission:
    return admission.Admission(inner, MODES)


async def test_litellm_gets_one_meaning_and_no_key() -> None:
    inner = Inner()
    scope = http_scope(
        "POST",
        CHAT,
        [
            *bearer(CUSTOMER_KEYS[0]),
            (b"x-api-key", b"sk-customer-old"),
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"x-litellm-disable-callbacks", b"all"),
            (b"user-agent", b"tests"),
        ],
        owner=owner(),
    )
    scope["query_string"] = b"model=gpt-4o"
    body = json.dumps(QUESTION).encode()
    assert (await call(admitted(inner), scope, body[:10], body[10:])).status == 200
    assert inner.bodies == [body]
    assert inner.scopes[0]["query_string"] == b""
    assert sorted(inner.scopes[0]["headers"]) == [(b"content-type", b"application/json"), (b"user-agent", b"tests")]


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"", 400, None, None),
        (b"{", 400, None, None),
        (b"\xff\xfe{\x00}\x00", 400, None, None),
        (b"[" * 100_000, 400, None, None),
        (b"[]", 400, None, None),
        (b"null", 400, None, None),
        (QUESTION | {"model": None}, 400, None, None),
        (QUESTION | {"model": ""}, 400, None, None),
        (QUESTION | {"model": ["gpt-4o-mini"]}, 400, "model", "invalid_type"),
        (QUESTION | {"model": "gpt-9"}, 404, "model", "model_not_found"),
        (QUESTION | {"model": "openai/gpt-4o-mini"}, 404, "model", "model_not_found"),
        (QUESTION | {"model": "gpt-4o"}, 403, "model", "model_not_found"),
        (QUESTION | {"api_base": "http://127.0.0.1"}, 400, "api_base", "unknown_parameter"),
        (QUESTION | {"fallbacks": ["gpt-4o"]}, 400, "fallbacks", "unknown_parameter"),
        (QUESTION | {"no-log": True}, 400, "no-log", "unknown_parameter"),
        (QUESTION | {"input_cost_per_token": 0}, 400, "input_cost_per_token", "unknown_parameter"),
        (QUESTION | {"model": "text-embedding-3-large"}, 404, "model", "model_not_found"),
        (QUESTION | {"messages": "x"}, 400, "messages", "invalid_type"),
        (QUESTION | {"response_format": 5}, 400, "response_format", "invalid_type"),
        (QUESTION | {"top_p": float("inf")}, 400, None, None),
        (b'{"model": "gpt-4o-mini", "messages": [], "top_p": 1e999}', 400, None, None),
    ],
)
async def test_what_is_not_openais_is_refused(body: Any, status: int, param: str | None, code: str | None) -> None:
    inner = Inner()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await call(admitted(inner), http_scope("POST", CHAT, owner=owner()), content)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (status, param, code)
    assert not inner.scopes


async def test_a_body_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MOST_BODY_BYTES", 100)
    scope = http_scope("POST", CHAT, owner=owner())
    answer = await call(admitted(Inner()), scope, *[b"x" * 60] * 5)
    assert answer.status == 413


async def test_a_client_that_leaves_while_sending_is_not_answered() -> None:
    inner = Inner()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(f"nobody is there for {message}")

    await admitted(inner)(http_scope("POST", CHAT, owner=owner()), receive, send)
    assert not inner.scopes


async def test_the_end_of_a_connection_is_the_real_one() -> None:
    """A layer that invents a disconnect after the body ends every stream in the middle."""
    disconnect: Message = {"type": "http.disconnect"}
    after_body: list[Message] = []
    incoming: list[Message] = [{"type": "http.request", "body": json.dumps(QUESTION).encode()}, disconnect]

    async def inner(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        after_body.append(await receive())

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(_message: Message) -> None: ...

    scope = http_scope("POST", CHAT, owner=owner())
    await admission.Admission(inner, MODES)(scope, receive, send)
    assert after_body[0] is disconnect


async def lifespan(app: Any) -> Message:
    sent: list[Message] = []
    orders: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return orders.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    return sent[0]


class Starting:
    """Stands for LiteLLM: starts, and while it runs and while it stops asks how the readiness is."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.readiness: Readiness | None = None

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await self.ask()
        await send({"type": "lifespan.startup.complete"})
        await self.ask()
        await receive()
        await self.ask()
        await send({"type": "lifespan.shutdown.complete"})

    async def ask(self) -> None:
        assert self.readiness is not None
        self.asked.append((await call(self.readiness, http_scope("GET", "/health/readiness"))).status)


async def test_readiness_begins_with_the_end_of_the_start_and_ends_with_the_stop() -> None:
    inner = Starting()
    inner.readiness = Readiness(inner, start_problems=list)
    assert (await lifespan(inner.readiness))["type"] == "lifespan.startup.complete"
    assert inner.asked == [503, 200, 503]


async def test_a_start_that_left_something_out_is_a_failed_start() -> None:
    inner = Starting()
    inner.readiness = Readiness(inner, start_problems=lambda: ["A model is missing."])
    outcome = await lifespan(inner.readiness)
    assert outcome == {"type": "lifespan.startup.failed", "message": "The gateway does not start. A model is missing."}
    assert inner.asked == [503, 503, 503]
