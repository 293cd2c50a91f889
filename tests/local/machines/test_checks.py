"""Health checks against real servers; transitions are awaited as the platform reports them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from local.contract import Check
from local.machines.checks import WAITING, Checks, Probe, perform, probes
from local.machines.platform import ProcessPlatform
from tests.local.machines.conftest import DEADLINE_S, Events, MakeSpec


class Server:
    """A machine's web server, whose answer the test decides."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.status = 200
        self.requests: list[web.BaseRequest] = []
        self.hang = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.requests.append(request)
        if self.status == 0:
            await self.hang.wait()
        return web.Response(status=self.status, text="fine", headers={"Location": "/elsewhere"})


@pytest.fixture
async def server(address: Callable[[], str], port: int) -> AsyncIterator[Server]:
    server = Server(address(), port)
    runner = web.ServerRunner(web.Server(server.answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, server.address, port).start()
    yield server
    server.hang.set()
    await runner.cleanup()


def http(port: int, **more: Any) -> Probe:
    return Probe(name="up", kind="http", port=port, interval=0.02, timeout=0.5, grace_period=0.0, **more)


def test_all_checks_of_a_configuration_are_found() -> None:
    config = {
        "checks": {"ready": {"type": "tcp", "port": 5000}},
        "services": [
            {"internal_port": 4000, "checks": [{"type": "http", "path": "/health", "interval": "10s"}]},
            {"internal_port": 4001},
            {"internal_port": 4002, "checks": [{"type": "tcp", "timeout": 3_000_000_000, "port": 4444}]},
        ],
    }
    assert probes(config) == [
        Probe("ready", "tcp", 5000, interval=15, timeout=2, grace_period=1),
        Probe("servicecheck-00-http-4000", "http", 4000, interval=10, timeout=2, grace_period=1, path="/health"),
        Probe("servicecheck-01-tcp-4444", "tcp", 4444, interval=15, timeout=3, grace_period=1),
    ]


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, "passing"), (204, "passing"), (302, "critical"), (404, "critical"), (503, "critical")],
)
async def test_2xx_passes_and_redirects_are_not_followed(server: Server, status: int, expected: str) -> None:
    server.status = status
    result, output = await perform(server.address, http(server.port, path="/health?full=1"))
    assert (result, len(server.requests)) == (expected, 1)
    assert output.startswith(f"GET http://{server.address}:{server.port}/health?full=1: {status} ")


async def test_method_path_and_headers_are_sent(server: Server) -> None:
    headers = [("Host", "gateway.example.com"), ("X-Two", "a"), ("X-Two", "b")]
    await perform(server.address, http(server.port, method="POST", path="/deep", headers=headers))
    (request,) = server.requests
    assert (request.method, request.path, request.host) == ("POST", "/deep", "gateway.example.com")
    assert request.headers.getall("X-Two") == ["a", "b"]


async def test_no_answer_is_critical(server: Server, address: Callable[[], str]) -> None:
    server.status = 0
    assert await perform(server.address, replace(http(server.port), timeout=0.05)) == (
        "critical",
        f"GET http://{server.address}:{server.port}/: no answer within 0.05 s",
    )
    status, output = await perform(address(), http(server.port))
    assert (status, "Connect call failed" in output) == ("critical", True)


async def test_tcp(server: Server, address: Callable[[], str]) -> None:
    probe = replace(http(server.port), kind="tcp")
    assert await perform(server.address, probe) == ("passing", f"connect to {server.address}:{server.port}: connected")
    assert (await perform(address(), probe))[0] == "critical"


async def test_changes_are_reported_once_each(server: Server) -> None:
    changes: asyncio.Queue[Check] = asyncio.Queue()
    checks = Checks(server.address, [http(server.port)], changes.put_nowait)
    assert [(check.status, check.output) for check in checks.results()] == [("critical", WAITING)]
    checks.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            for status, expected in ((200, "passing"), (503, "critical"), (200, "passing")):
                server.status = status
                change = await changes.get()
                assert change.status == expected
                assert checks.results() == [change]
                asked = len(server.requests)
                while len(server.requests) < asked + 2:  # noqa: ASYNC110 - two more attempts tell nothing new
                    await asyncio.sleep(0.01)
                assert changes.empty()
    finally:
        checks.stop()


async def test_failures_in_the_grace_period_do_not_count(server: Server) -> None:
    server.status = 503
    changes: asyncio.Queue[Check] = asyncio.Queue()
    checks = Checks(server.address, [replace(http(server.port), grace_period=0.3)], changes.put_nowait)
    started = asyncio.get_running_loop().time()
    checks.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            change = await changes.get()
    finally:
        checks.stop()
    assert asyncio.get_running_loop().time() - started >= 0.3
    assert (change.status, len(server.requests) > 2) == ("critical", True)


async def test_a_success_in_the_grace_period_ends_it(server: Server) -> None:
    changes: asyncio.Queue[Check] = asyncio.Queue()
    checks = Checks(server.address, [replace(http(server.port), grace_period=1000.0)], changes.put_nowait)
    checks.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert (await changes.get()).status == "passing"
            server.status = 500
            assert (await changes.get()).status == "critical"
    finally:
        checks.stop()


LISTENER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists("/tmp/healthy") else 500); self.end_headers()
    def log_message(self, *_): pass
open("/tmp/healthy", "w")
http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


async def test_a_machines_checks_live_with_it(
    platform: ProcessPlatform, events: Events, spec: MakeSpec, port: int
) -> None:
    check = {"type": "http", "interval": "50ms", "timeout": "1s", "grace_period": "10s"}
    machine = spec(
        python=LISTENER, env={"HOST": "::", "PORT": str(port)}, services=[{"internal_port": port, "checks": [check]}]
    )
    await platform.start(machine)
    (first,) = platform.checks(machine.machine_id)
    assert (first.name, first.status) == (f"servicecheck-00-http-{port}", "critical")
    await events.until(lambda: [check.status for check in events.checks] == ["passing"])
    await platform.execute(machine.machine_id, ["rm", "/tmp/healthy"], "", DEADLINE_S)
    await events.until(lambda: [check.status for check in events.checks] == ["passing", "critical"])
    assert platform.checks(machine.machine_id) == [events.checks[-1]]
    await platform.stop(machine.machine_id, "SIGTERM", DEADLINE_S)
    assert platform.checks(machine.machine_id) == []
