"""A proxy on loopback between a client of Fly and a Fly, that holds every request and every answer to the contract.

    with validating("http://127.0.0.1:4280") as proxy:
        ...  # flyApiUrl and flyGraphqlUrl = proxy.url
    assert proxy.problems == []

It changes nothing on the way, breaks connections where the Fly behind it does, and keeps neither bodies nor tokens.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from multidict import CIMultiDict
from yarl import URL

from tests.contracts import contract, graphql_contract

GRAPHQL = "/graphql"
NOT_FLY = "/_embedded/"  # the embedded Fly's own interface: nothing of Fly's
LARGEST_BODY = 64 * 1024 * 1024  # machine files travel inside configurations
START_S = 10
CLOSE_S = 10
# About one connection, not about what is said; the lengths are counted anew.
HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade", "accept-encoding"}


class Proxy:
    """Public attributes: url; calls, which counts requests by method and template; problems; and both contracts."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.rstrip("/")
        self.rest = contract.load()
        self.graphql = graphql_contract.load()
        self._found: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.url = ""

    @property
    def problems(self) -> list[str]:
        """Each once, with how often it was seen."""
        return [f"{problem} ({times} times)" for problem, times in sorted(self._found.items())]

    async def start(self) -> None:
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        # A `wait` may take a minute, so only connecting has a limit here; clients have their own.
        self._client = ClientSession(timeout=ClientTimeout(total=None, sock_connect=START_S), auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _forward(self, request: web.Request) -> web.Response:
        sent = await request.read()
        checked = self._check_request(request, sent)
        try:
            async with self._client.request(
                request.method,
                URL(self._upstream + request.raw_path, encoded=True),
                data=sent or None,
                headers=[(name, text) for name, text in request.headers.items() if name.lower() not in HOP_BY_HOP],
                allow_redirects=False,
                skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent"),
            ) as answer:
                body = await answer.read()
        except (ClientError, OSError):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        self._check_answer(request, checked, answer.status, body)
        headers = CIMultiDict((name, text) for name, text in answer.headers.items() if name.lower() not in HOP_BY_HOP)
        return web.Response(status=answer.status, body=body, headers=headers)

    def _check_request(self, request: web.Request, sent: bytes) -> Any:
        """The body of a GraphQL request whose answer can be held against it; None for everything else."""
        path = _path(request)
        if path.startswith(NOT_FLY):
            return None
        name = str(self.rest.find(request.method, path) or (path if path == GRAPHQL else "unknown call"))
        try:
            body: Any = json.loads(sent) if sent else None
        except ValueError:
            self.calls[name] += 1
            self._found[f"{name}: body: is not JSON"] += 1
            return None
        if path != GRAPHQL:
            self.calls[name] += 1
            query = {key: request.query.getall(key) for key in request.query}
            self._found.update(self.rest.check_request(request.method, path, query, body, request.headers))
            return None
        self.calls[self.graphql.name(body)] += 1
        problems = self.graphql.check_request(body)
        self._found.update(problems)
        return None if problems else body

    def _check_answer(self, request: web.Request, graphql_body: Any, status: int, answered: bytes) -> None:
        path = _path(request)
        call = self.rest.find(request.method, path)
        if status >= 500 or (call is None and path != GRAPHQL):
            return
        try:
            answer = json.loads(answered) if answered else None
        except ValueError:
            self._found[f"{call or path}: {status}: is not JSON"] += 1
            return
        if call is not None:
            self._found.update(self.rest.check_answer(request.method, path, status, answer))
        elif status != 200:
            self._found.update(self.graphql.check_refusal(status, answer))
        elif graphql_body is not None:
            self._found.update(self.graphql.check_answer(graphql_body, answer))


@contextmanager
def validating(upstream: str) -> Iterator[Proxy]:
    """Runs a Proxy in a thread of its own, for clients in other processes and for tests that block."""
    proxy = Proxy(upstream)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="contract proxy", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(START_S)
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result(CLOSE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSE_S)
        loop.close()


def _path(request: web.Request) -> str:
    return request.raw_path.partition("?")[0]
