"""Fly Proxy on loopback: hostname → app → port → a machine that passes its checks, chosen anew for each request."""

from __future__ import annotations

import asyncio
import secrets

from aiohttp import web

from local.contract import Backend, Routes
from local.proxy.balance import Balancer
from local.proxy.forward import BrokenError, RefusedError, forward, open_session
from local.proxy.headers import Arrival
from local.proxy.websocket import forward_websocket, wants_websocket

# Every listener stands for a hostname's https port.
EXTERNAL_PORT = 443
# How long a request waits for a machine that may take it: through a restart, not through an outage.
PATIENCE_S = 2.0
# Nothing tells when a machine has become free or healthy: the routes are asked again.
ASK_AGAIN_S = 0.05
# Requests still running when the proxy is closed are cut off after this.
CLOSE_TIMEOUT_S = 0.5
# Larger than any header or path a gateway sees; aiohttp's own limits would refuse long cookies.
MAX_HEADER_BYTES = 64 * 1024


class FlyProxy:
    """Listens on 127.0.0.1: on one port per hostname, and on ports where the Host header decides."""

    def __init__(self, routes: Routes, *, region: str = "ord", patience_s: float = PATIENCE_S) -> None:
        """`region` is the one the proxy says it stands in."""
        self._routes = routes
        self._region = region
        self._patience_s = patience_s
        self._balancer = Balancer()
        self._hostnames: dict[int, str] = {}

    async def start(self) -> None:
        self._session = open_session(MAX_HEADER_BYTES)
        server = web.Server(
            self._handle,
            handler_cancellation=True,  # a client that goes away ends the request to the machine at once
            auto_decompress=False,
            access_log=None,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=CLOSE_TIMEOUT_S)
        await self._runner.setup()

    async def listen(self, port: int, hostname: str | None = None) -> int:
        """Opens a port (0: a free one) and returns it. Raises OSError when it is taken."""
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        opened = int(self._runner.addresses[-1][1])
        if hostname is not None:
            self._hostnames[opened] = hostname
        return opened

    async def close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrival = self._arrival(request)
        app = self._routes.app_of(arrival.hostname)
        if app is None:
            return _refusal(404, arrival, f"no app has the hostname {arrival.hostname}")
        if not self._routes.has_service(app, arrival.port):
            return _refusal(502, arrival, f"app {app} has no service on port {arrival.port}")
        return await self._serve(request, arrival, app)

    def _arrival(self, request: web.BaseRequest) -> Arrival:
        assert request.transport is not None  # noqa: S101 - a request that is being handled has one
        listener = request.transport.get_extra_info("sockname")[1]
        return Arrival(
            hostname=self._hostnames.get(listener) or request.host.partition(":")[0].lower(),
            client=request.remote or "127.0.0.1",
            port=EXTERNAL_PORT,
            region=self._region,
            request_id=f"{secrets.token_hex(13).upper()}-{self._region}",
        )

    async def _serve(self, request: web.BaseRequest, arrival: Arrival, app: str) -> web.StreamResponse:
        """Tries machines until one takes the request; only a request of which nothing was sent goes to another."""
        send = forward_websocket if wants_websocket(request) else forward
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        refused: dict[Backend, str] = {}
        while True:
            backends = self._routes.backends(app, arrival.port)
            backend = self._balancer.pick(backends, without=refused)
            if backend is not None:
                try:
                    with self._balancer.carrying(backend):
                        return await send(self._session, request, backend, arrival)
                except RefusedError as error:
                    refused[backend] = str(error)
                except BrokenError as error:
                    return _refusal(502, arrival, f"machine {backend.machine_id} of app {app}: {error}")
            elif loop.time() < deadline:
                await asyncio.sleep(ASK_AGAIN_S)
                refused.clear()
            elif not backends:
                return _refusal(503, arrival, f"app {app}: no machine with a service on port {arrival.port} is healthy")
            elif refused:
                return _refusal(502, arrival, f"app {app}: no machine takes connections: {'; '.join(refused.values())}")
            else:
                return _refusal(503, arrival, f"app {app}: every machine is at its hard limit")


def _refusal(status: int, arrival: Arrival, text: str) -> web.Response:
    return web.Response(status=status, text=f"Fly Proxy: {text}\n", headers={"Fly-Request-Id": arrival.request_id})
