"""The proxy between a client and a Fly that answers what a test tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.contracts.proxy import Proxy, validating

TOKEN = "a-token-nobody-may-see"
SECRET = {"name": "KEY", "digest": "d", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
SECRETS = "/v1/apps/shop/secrets"
ORGANIZATION = {"query": "query ($slug: String!) { organization(slug: $slug) { id } }", "variables": {"slug": "acme"}}


class ScriptedFly:
    """Gives every request the answer it was told last, and remembers what came."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.says(None)

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        """JSON, or bytes as they are."""
        text = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self._respond: Callable[[], web.Response] = lambda: web.Response(status=status, body=text, headers=headers)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        return self._respond()

    async def break_off(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@pytest.fixture
async def fly() -> AsyncIterator[ScriptedFly]:
    scripted = ScriptedFly()
    app = web.Application()
    app.router.add_get("/v1/apps/broken", scripted.break_off)
    app.router.add_route("*", "/{path:.*}", scripted.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    await runner.cleanup()


@dataclass
class Wire:
    """A client, the proxy it speaks to, and the Fly behind that."""

    http: httpx.AsyncClient
    proxy: Proxy
    fly: ScriptedFly


@pytest.fixture
async def wire(fly: ScriptedFly) -> AsyncIterator[Wire]:
    proxy = Proxy(fly.url)
    await proxy.start()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=proxy.url, headers=headers, trust_env=False) as http:
        yield Wire(http, proxy, fly)
    await proxy.close()


async def test_requests_and_answers_pass_unchanged(wire: Wire) -> None:
    certificate = f"{SECRETS[: -len('secrets')]}certificates/%2A.example.com"
    wire.fly.says({"error": "no certificate"}, 404, **{"fly-request-id": "01ABC", "Retry-After": "3"})
    answer = await wire.http.get(certificate)
    assert (answer.status_code, answer.json()) == (404, {"error": "no certificate"})
    assert (answer.headers["fly-request-id"], answer.headers["retry-after"]) == ("01ABC", "3")
    wire.fly.says({"secrets": [SECRET], "version": 1})
    await wire.http.post(SECRETS, json={"values": {"KEY": "x"}}, params={}, headers={"X-Own": "1"})
    read, written = wire.fly.requests
    assert read.raw_path == certificate
    assert written.headers["Authorization"] == f"Bearer {TOKEN}"
    assert written.headers["X-Own"] == "1"
    assert json.loads(wire.fly.bodies[1]) == {"values": {"KEY": "x"}}
    assert wire.proxy.problems == []
    assert dict(wire.proxy.calls) == {
        "GET /v1/apps/{app}/certificates/{hostname}": 1,
        "POST /v1/apps/{app}/secrets": 1,
    }


async def test_an_unknown_field_in_a_request_is_caught(wire: Wire) -> None:
    wire.fly.says({"secrets": [], "version": 1})
    for _ in range(2):
        await wire.http.post(SECRETS, json={"values": {}, "stage": TOKEN})
    assert wire.proxy.problems == ["POST /v1/apps/{app}/secrets: body: unknown field stage (2 times)"]


async def test_an_unknown_field_in_an_answer_is_caught(wire: Wire) -> None:
    wire.fly.says({"secrets": [{**SECRET, "value": "sk-leaked"}]})
    assert (await wire.http.get(SECRETS)).json()["secrets"][0]["value"] == "sk-leaked"
    assert wire.proxy.problems == ["GET /v1/apps/{app}/secrets: 200.secrets.0: unknown field value (1 times)"]


@pytest.mark.parametrize(
    ("method", "path", "sent", "problem"),
    [
        ("GET", "/v1/apps/shop/postgres", b"", "GET /v1/apps/…/…: no such call"),
        ("POST", SECRETS, b"{", "POST /v1/apps/{app}/secrets: body: is not JSON"),
        ("GET", SECRETS + "?since=1", b"", "GET /v1/apps/{app}/secrets: query: unknown since"),
        ("GET", SECRETS + "?version=1&version=2", b"", "GET /v1/apps/{app}/secrets: query.version: given 2 times"),
    ],
)
async def test_a_wrong_request_is_caught(wire: Wire, method: str, path: str, sent: bytes, problem: str) -> None:
    wire.fly.says({"error": "bad"}, 400)
    await wire.http.request(method, path, content=sent)
    assert f"{problem} (1 times)" in wire.proxy.problems


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (418, b"{}", "status 418 is none of"),
        (200, b"<html>", "200: is not JSON"),
        (404, b"{}", "404: missing field error"),
        (200, b"", "200: must be object, is null"),
        (502, b"<html>", None),
    ],
)
async def test_a_wrong_answer_is_caught(wire: Wire, status: int, body: bytes, problem: str | None) -> None:
    wire.fly.says(body, status)
    assert (await wire.http.get(SECRETS)).content == body
    assert len(wire.proxy.problems) == (problem is not None)
    assert problem is None or problem in wire.proxy.problems[0]


async def test_graphql_is_held_too(wire: Wire) -> None:
    wire.fly.says({"data": {"organization": {"id": "o"}}})
    await wire.http.post("/graphql", json=ORGANIZATION)
    assert wire.proxy.problems == []
    wire.fly.says({"data": {"organization": {"id": "o", "slug": "acme"}}})
    await wire.http.post("/graphql", json=ORGANIZATION)
    wire.fly.says({"errors": [{"message": "no", "hint": "x"}]})
    await wire.http.post("/graphql", json={"query": "{ organization { color } }"})
    await wire.http.post("/graphql", json=ORGANIZATION)
    assert [problem.rpartition(" (")[0] for problem in wire.proxy.problems] == [
        "query organization: Cannot query field 'color' on type 'Organization'.",
        "query organization: data.organization: slug was not asked for",
        "query organization: errors.0: unknown field hint",
    ]
    assert dict(wire.proxy.calls) == {"query organization": 4}


async def test_what_is_not_flys_passes_unheld(wire: Wire) -> None:
    wire.fly.says({"anything": 1})
    assert (await wire.http.get("/_embedded/status")).json() == {"anything": 1}
    assert (wire.proxy.problems, dict(wire.proxy.calls)) == ([], {})


async def test_a_broken_connection_breaks(wire: Wire) -> None:
    with pytest.raises(httpx.TransportError):
        await wire.http.get("/v1/apps/broken")
    assert wire.proxy.calls["GET /v1/apps/{app}"] == 1


async def test_neither_bodies_nor_tokens_are_kept(wire: Wire) -> None:
    wire.fly.says({"secrets": [{**SECRET, "value": "sk-answered"}]})
    await wire.http.post(SECRETS, json={"values": {"KEY": ["sk-sent"]}, "more": "sk-sent"})
    await wire.http.post("/graphql", json={**ORGANIZATION, "variables": {"slug": ["sk-sent"]}})
    kept = repr(vars(wire.proxy))
    assert len(wire.proxy.problems) >= 3
    assert not [word for word in (TOKEN, "sk-sent", "sk-answered") if word in kept]


async def test_it_runs_in_a_thread_for_clients_that_block(fly: ScriptedFly) -> None:
    def ask() -> tuple[int, list[str]]:
        with validating(fly.url) as proxy, httpx.Client(trust_env=False) as http:
            return http.get(f"{proxy.url}{SECRETS}").status_code, proxy.problems

    fly.says({"secrets": []})
    assert await asyncio.to_thread(ask) == (200, [])
