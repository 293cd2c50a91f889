"""A real proxy between a real client and real machines' servers."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web

from local.contract import Backend
from local.proxy.server import FlyProxy

# Bounds a test that fails anyway; no passing test waits so long.
DEADLINE_S = 20.0
HOSTNAME = "gateway.example.com"
APP = "shop"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def free_port() -> int:
    """A port that is free on every address, also if somebody on this computer listens on all of them."""
    with socket.create_server(("", 0)) as found:
        return int(found.getsockname()[1])


class Table:
    """Routes a test fills in."""

    def __init__(self) -> None:
        self.hostnames = {HOSTNAME: APP, "shop.fly.dev": APP, "idle.fly.dev": "idle"}
        self.machines: list[Backend] = []
        self.ports = {443}

    def app_of(self, hostname: str) -> str | None:
        return self.hostnames.get(hostname)

    def backends(self, app: str, external_port: int) -> list[Backend]:
        return list(self.machines) if app == APP and external_port in self.ports else []

    def has_service(self, app: str, external_port: int) -> bool:
        return app == APP and external_port in self.ports


class Stage:
    """Servers that stand for machines, behind a proxy with one port for HOSTNAME and one where Host decides."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.table = Table()
        self.proxy = FlyProxy(self.table, region="ord", patience_s=0.2)
        self.url = ""
        self.any_host_url = ""

    async def open(self) -> None:
        await self.proxy.start()
        self._stack.push_async_callback(self.proxy.close)
        self.url = f"http://127.0.0.1:{await self.proxy.listen(0, HOSTNAME)}"
        self.any_host_url = f"http://127.0.0.1:{await self.proxy.listen(0)}"
        self.client = await self._stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))

    def backend(self, *, soft: int = 20, hard: int | None = None, idle_timeout_s: float = DEADLINE_S) -> Backend:
        """A machine's address, also in the routes. Nothing listens there yet."""
        address = f"127.{random.randint(240, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        backend = Backend(f"machine{len(self.table.machines)}", address, free_port(), soft, hard, idle_timeout_s)
        self.table.machines.append(backend)
        return backend

    async def serve(self, backend: Backend, handler: Handler) -> None:
        runner = web.ServerRunner(web.Server(handler, access_log=None, handler_cancellation=True), shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, backend.address, backend.internal_port).start()

    async def serve_raw(
        self, backend: Backend, handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        """For machines that do not speak proper HTTP."""
        server = await asyncio.start_server(handler, backend.address, backend.internal_port)
        self._stack.callback(server.close)

    async def machine(self, handler: Handler, **limits: int) -> Backend:
        backend = self.backend(**limits)
        await self.serve(backend, handler)
        return backend


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stage = Stage(stack)
        await stage.open()
        yield stage
