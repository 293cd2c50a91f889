"""The rendered Caddyfile, run by the real Caddy in front of small upstreams, with names from a live /etc/hosts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from components.rendered import render
from tests.gateway.process import answers, running, upstream
from toolchain import caddy

pytestmark = pytest.mark.end_to_end

HOST = "gateway.example.com"
NAME = "gateway.process.app.internal"
UI = "langfuse.example.com"
UI_NAME = "ui.process.app.internal"
API_PATHS = ["/v1/chat/completions", "/v1/models", "/stream", "/release"]
DRAIN_S = 5
# As a machine sees it: its own name table, and no resolver that could be slow to say no.
ENTER = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"'


@dataclass
class Edge:
    address: str
    port: int
    """Of the edge and of the upstreams alike: their addresses differ."""
    hosts: Path
    log: Path
    pid: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    def upstream_address(self, number: int) -> str:
        return f"{self.address.rsplit('.', 1)[0]}.{10 + number}"

    def client(self, host: str = HOST, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"host": host, **headers}, timeout=30, trust_env=False)

    def publish(self, name: str, *numbers: int) -> None:
        """Writes the name table in place: the file is mounted."""
        self.hosts.write_text("".join(f"{self.upstream_address(n)} {name}\n" for n in numbers))

    @contextlib.contextmanager
    def machine(self, number: int) -> Iterator[int]:
        """An upstream; its process id."""
        log = self.log.with_name(f"upstream-{number}.log")
        with upstream(f"machine-{number}", self.upstream_address(number), self.port, log) as process:
            yield process.pid


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    pid = os.getpid()
    address = f"127.{100 + pid % 100}.{pid // 100 % 250}.1"  # of this test process alone
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    made = Edge(address, port, tmp_path / "hosts", tmp_path / "caddy.log")
    made.hosts.touch()
    nsswitch = tmp_path / "nsswitch.conf"
    nsswitch.write_text("hosts: files\n")
    config = tmp_path / "Caddyfile"
    config.write_text(
        render(
            "Caddyfile.j2",
            port=port,
            health_path="/_edge/health",
            drain_s=DRAIN_S,
            routes=[
                {"hostnames": [HOST], "upstream": NAME, "port": port, "open_paths": API_PATHS},
                {"hostnames": [UI, "ui.example.com"], "upstream": UI_NAME, "port": port, "open_paths": []},
            ],
        )
    )
    command: list[str | Path] = [
        *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", ENTER, "sh"),
        *(made.hosts, nsswitch, caddy.ensure()),
        *("run", "--config", config, "--adapter", "caddyfile"),
    ]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LISTEN": address}
    with running(command, ready=answers(f"{made.url}/_edge/health"), log=made.log, env=env) as process:
        made.pid = process.pid
        yield made


async def test_hosts_and_paths_are_a_closed_list(edge: Edge) -> None:
    edge.publish(NAME, 1)
    with edge.machine(1):
        async with edge.client() as http:
            open_path = await http.post("/v1/chat/completions?a=b", content=b"{}")
            answers = [await http.get(path) for path in ("/health", "/ui", "/", "/v1/chat/completionsx")]
            answers.append(await http.post("/cache/flushall"))
            answers.append(await http.post("/v1/chat/completions", headers={"host": "unknown.example.com"}))
    assert open_path.status_code == 200
    assert open_path.json()["path"] == "/v1/chat/completions?a=b"
    for answer in answers:
        assert answer.status_code == 404, answer.request.url
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_what_the_upstream_and_the_client_see(edge: Edge) -> None:
    edge.publish(NAME, 1)
    spoofed = {
        "fly-client-ip": "203.0.113.9",
        "x-forwarded-for": "198.51.100.1",
        "x-forwarded-host": "evil.example.com",
        "x-forwarded-proto": "https",
        "forwarded": "for=198.51.100.1",
    }
    with edge.machine(1):
        async with edge.client(**spoofed) as http:
            answer = await http.post("/v1/chat/completions")
    seen = {name.lower(): value for name, value in answer.json()["headers"].items()}
    assert seen["host"] == HOST
    assert seen["x-forwarded-for"] == "203.0.113.9"
    assert seen["x-forwarded-host"] == HOST
    assert seen["x-forwarded-proto"] == "https"
    assert "forwarded" not in seen
    assert not {"server", "via", "x-powered-by"} & set(answer.headers)


async def test_a_large_body_arrives_whole(edge: Edge) -> None:
    edge.publish(NAME, 1)
    body = os.urandom(12_000_000)
    with edge.machine(1):
        async with edge.client() as http:
            answer = await http.post("/v1/chat/completions", content=body)
    assert (answer.json()["bytes"], answer.json()["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


async def test_events_of_a_stream_leave_at_once(edge: Edge) -> None:
    edge.publish(NAME, 1)
    with edge.machine(1):
        async with edge.client() as http, http.stream("GET", "/stream") as answer:
            events = answer.aiter_text()
            assert await anext(events) == "data: 1\n\n"
            await http.post("/release")  # the second event exists only after the first has been read
            assert await anext(events) == "data: 2\n\n"


async def test_machines_come_and_go_by_name_alone(edge: Edge) -> None:
    async with edge.client() as http:
        edge.publish(NAME, 1)
        with edge.machine(1):
            assert (await http.post("/v1/chat/completions")).json()["upstream"] == "machine-1"
        edge.publish(NAME, 2)
        with edge.machine(2):  # its name is new and its predecessor gone: the request waits for the table
            assert (await http.post("/v1/chat/completions")).json()["upstream"] == "machine-2"


async def test_a_killed_machine_fails_nothing_that_began_later(edge: Edge) -> None:
    """Its name stays, and the test lasts longer than the edge remembers a failure: it is tried, and others answer."""
    clients, share, kill_at = 12, 100, 150
    edge.publish(NAME, 1, 2)
    killed = asyncio.Event()
    answered: list[str] = []
    failed: list[tuple[bool, int]] = []

    async def client(http: httpx.AsyncClient, victim: int) -> None:
        for _ in range(share):
            began_after = killed.is_set()
            answer = await http.post("/v1/chat/completions", headers={"x-delay-ms": "50"})
            if answer.status_code == 200:
                answered.append(answer.json()["upstream"])
            else:
                failed.append((began_after, answer.status_code))
            if len(answered) == kill_at:
                os.kill(victim, signal.SIGKILL)
                # Until the kernel has closed its socket, the dying machine still takes requests into its hands.
                await asyncio.to_thread(os.waitid, os.P_PID, victim, os.WEXITED | os.WNOWAIT)
                killed.set()

    with edge.machine(1) as victim, edge.machine(2):
        async with edge.client() as http:
            await asyncio.gather(*(client(http, victim) for _ in range(clients)))
    assert killed.is_set()
    assert set(answered) == {"machine-1", "machine-2"}
    assert len(answered) + len(failed) == clients * share
    assert not [status for began_after, status in failed if began_after]
    assert len(failed) <= clients, "at most one request per client was in its hands"


async def test_a_machine_that_stops_in_good_order_costs_nothing(edge: Edge) -> None:
    edge.publish(NAME, 1, 2)
    statuses: list[int] = []

    async def client(http: httpx.AsyncClient, victim: int) -> None:
        for _ in range(60):
            answer = await http.post("/v1/chat/completions", headers={"x-delay-ms": "3"})
            statuses.append(answer.status_code)
            if len(statuses) == 200:
                os.kill(victim, signal.SIGTERM)

    with edge.machine(1) as victim, edge.machine(2):
        async with edge.client() as http:
            await asyncio.gather(*(client(http, victim) for _ in range(16)))
    assert statuses == [200] * 960


async def test_a_request_that_was_sent_is_not_sent_again(edge: Edge) -> None:
    edge.publish(NAME, 1)
    with edge.machine(1) as victim, edge.machine(2):
        async with edge.client() as http:
            request = asyncio.create_task(http.post("/v1/chat/completions", headers={"x-delay-ms": "60000"}))
            async with httpx.AsyncClient(trust_env=False) as direct:
                await direct.get(f"http://{edge.upstream_address(1)}:{edge.port}/busy", timeout=30)
            edge.publish(NAME, 2)
            os.kill(victim, signal.SIGKILL)
            answer = await request
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "server_error"


async def test_no_machine_is_an_error_of_the_gateway(edge: Edge) -> None:
    async with edge.client() as http:
        answer = await http.post("/v1/chat/completions")
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "server_error"


async def test_logs_hold_no_key_and_no_query(edge: Edge) -> None:
    edge.publish(NAME, 1)
    secret = "sk-very-secret"
    with edge.machine(1):
        async with edge.client(authorization=f"Bearer {secret}", **{"x-api-key": secret}) as http:
            await http.post(f"/v1/chat/completions?key={secret}", headers={"fly-request-id": "01ABC"})
        async with edge.client(UI, authorization=f"Bearer {secret}", cookie=secret) as http:
            await http.get(f"/api/auth/callback?code={secret}")  # an error line: nobody is there
    log = edge.log.read_text()
    assert secret not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    access = [line for line in lines if "http.log.access" in line.get("logger", "")]
    assert [(line["status"], line["request"]["uri"]) for line in access] == [
        (200, "/v1/chat/completions"),
        (503, "/api/auth/callback"),
    ]
    assert access[0]["fly_request_id"] == "01ABC"


async def test_a_stream_finishes_after_the_order_to_stop(edge: Edge) -> None:
    edge.publish(NAME, 1)
    with edge.machine(1):
        async with edge.client() as http, http.stream("GET", "/stream") as answer:
            events = answer.aiter_text()
            assert await anext(events) == "data: 1\n\n"
            os.kill(edge.pid, signal.SIGTERM)
            await _refuses_connections(edge.address, edge.port)
            async with httpx.AsyncClient(trust_env=False) as direct:
                await direct.post(f"http://{edge.upstream_address(1)}:{edge.port}/release")
            assert await anext(events) == "data: 2\n\n"


async def _refuses_connections(address: str, port: int) -> None:
    async with asyncio.timeout(DRAIN_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(address, port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.02)  # the other side is a foreign program: there is no event to wait for
