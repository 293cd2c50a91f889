"""A running API over a platform in memory, and a client that speaks to it over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from local.fly.embedded import STOP
from local.fly.graphql_api import DATABASES
from local.fly.lifecycle import Lifecycle
from local.fly.routing import MachineRoutes
from local.fly.server import make_app
from local.fly.store import Store
from local.fly.world import World
from local.settings import Settings
from tests.contracts import contract
from tests.local.fly.fake_platform import Computer, FakePlatform

TOKEN = "a-token-for-tests"
CONTRACT = contract.load()
SETTINGS = Settings(
    api_port=0,
    token=TOKEN,
    network=77,
    organization="acme",
    app_propagation_s=0,
    certificate_s=0,
    restart_pause_s=0,
    rate_limits=False,
)
MACHINE: dict[str, Any] = {"region": "ord", "config": {"image": "known:1"}}


@dataclass
class Fly:
    """`http` is a client with the token; the rest is behind it."""

    http: httpx.AsyncClient
    world: World
    lifecycle: Lifecycle
    platform: FakePlatform
    routes: MachineRoutes
    stopping: asyncio.Future[bool]

    async def app(self, name: str = "shop") -> str:
        """Makes an app and returns its path."""
        answer = await self.http.post("/v1/apps", json={"name": name, "org_slug": "acme"})
        assert answer.status_code == 201, answer.text
        return f"/v1/apps/{name}"

    async def machine(self, app: str = "/v1/apps/shop", /, **body: Any) -> dict[str, Any]:
        """Makes a machine, waits until it runs, and returns it."""
        answer = await self.http.post(f"{app}/machines", json={**MACHINE, **body})
        assert answer.status_code == 200, answer.text
        machine: dict[str, Any] = answer.json()
        if not body.get("skip_launch"):
            await self.reaches(f"{app}/machines/{machine['id']}", "started")
        return machine

    async def reaches(self, machine: str, state: str) -> dict[str, Any]:
        """Waits for a state over the API and returns the machine."""
        version = (await self.http.get(machine)).json()["instance_id"]
        query: dict[str, str | int] = {"state": state, "timeout": 5, "version": version}
        answer = await self.http.get(f"{machine}/wait", params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = (await self.http.get(machine)).json()
        return found

    async def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = await self.http.post("/graphql", json={"query": query, "variables": variables})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def serving(settings: Settings, state: Path, computer: Computer) -> AsyncIterator[Fly]:
    store = Store(state / "fly.sqlite")
    world = World(settings, store)
    lifecycle = Lifecycle(world, lambda events: FakePlatform(events, computer, state / "logs"))
    assert isinstance(lifecycle.platform, FakePlatform)
    app = make_app(world, lifecycle)
    stopping = app[STOP] = asyncio.get_running_loop().create_future()
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await app[DATABASES].resume()
    await lifecycle.resume()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    problems: list[str] = []
    async with client(url, problems) as http:
        routes = MachineRoutes(world, lifecycle.platform)
        yield Fly(http, world, lifecycle, lifecycle.platform, routes, stopping)
    await runner.cleanup()
    await lifecycle.close(stop_everything=False)
    store.close()
    assert problems == [], "answers that Fly would not give"


def client(url: str, problems: list[str]) -> httpx.AsyncClient:
    """Holds every answer against the contract, where that knows the call."""

    async def hold(answer: httpx.Response) -> None:
        await answer.aread()
        call, path = answer.request, answer.request.url.raw_path.decode().partition("?")[0]
        if CONTRACT.find(call.method, path) is not None:
            body = answer.json() if answer.content else None
            problems.extend(CONTRACT.check_answer(call.method, path, answer.status_code, body))

    return httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {TOKEN}"},
        event_hooks={"response": [hold]},
        timeout=10,
        trust_env=False,
        verify=False,
    )


Serve = Callable[..., Awaitable[Fly]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts an API with changed settings; called again, another one beside it."""
    async with AsyncExitStack() as stack:

        async def start(computer: Computer | None = None, state: Path = tmp_path, **changes: Any) -> Fly:
            settings = replace(SETTINGS, **changes)
            return await stack.enter_async_context(serving(settings, state, computer or Computer()))

        yield start


@pytest.fixture
async def fly(serve: Serve) -> Fly:
    return await serve()
