"""The embedded Fly as one process, with real machines."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from local.ports import claim_network, free_ports, release_network
from local.settings import Settings, save

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-tests"
READY_S = 20
ENDED_S = 20
SERVER = b"""
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["GREETING"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
address = os.environ["FLY_PRIVATE_IP"], int(os.environ["PORT"])
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""


def machine(port: int) -> dict[str, Any]:
    """Serves its secret on this port of its own address."""
    service = {
        "protocol": "tcp",
        "internal_port": port,
        "ports": [{"port": 443, "handlers": ["tls", "http"]}],
        "checks": [{"type": "http", "path": "/", "interval": "1s"}],
    }
    config = {
        "image": "embedded/python",
        "init": {"exec": ["python3", "/server.py"]},
        "env": {"PORT": str(port)},
        "files": [{"guest_path": "/server.py", "raw_value": base64.b64encode(SERVER).decode()}],
        "stop_config": {"signal": "SIGKILL"},
        "restart": {"policy": "no"},
        "services": [service],
    }
    return {"name": "web", "config": config}


class Stack:
    """A state folder and the daemon that serves it, if one does."""

    def __init__(self, state: Path, settings: Settings) -> None:
        self.state = state
        self.settings = settings
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.api_port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
            timeout=20,
        )

    async def start(self) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "local.daemon", "--state", str(self.state)]
        self.daemon = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
        return self.daemon

    async def ready(self) -> dict[str, Any]:
        """Starts a daemon and returns its status."""
        await self.start()
        async with asyncio.timeout(READY_S):
            while self.daemon.returncode is None:
                try:
                    found: dict[str, Any] = (await self.http.get("/_embedded/status")).json()
                except httpx.TransportError:
                    await asyncio.sleep(0.02)  # nothing to wait on: another process opens its port
                else:
                    return found
        raise AssertionError((await self.daemon.communicate())[1].decode())

    async def ended(self) -> int:
        return await asyncio.wait_for(self.daemon.wait(), ENDED_S)

    async def proxied(self) -> httpx.Response:
        """What a client of the app gets."""
        url = f"http://127.0.0.1:{self.settings.hostnames['shop.fly.dev']}/"
        async with httpx.AsyncClient(trust_env=False, timeout=10) as stranger:
            return await stranger.get(url)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    api, proxy = free_ports(2)
    settings = Settings(
        api_port=api,
        token=TOKEN,
        network=claim_network(tmp_path),
        organization="acme",
        hostnames={"shop.fly.dev": proxy},
        app_propagation_s=0,
        rate_limits=False,
    )
    save(tmp_path, settings)
    stack = Stack(tmp_path, settings)
    try:
        yield stack
    finally:
        if stack.daemon.returncode is None:
            await stack.http.post("/_embedded/stop", json={"everything": True})
            await stack.ended()
        await stack.http.aclose()
        release_network(settings.network)


async def test_a_machine_survives_the_crash_of_its_daemon(stack: Stack) -> None:
    await stack.ready()
    for path, body in (
        ("/v1/apps", {"name": "shop", "org_slug": "acme"}),
        ("/v1/apps/shop/ip_assignments", {"type": "v6"}),
        ("/v1/apps/shop/secrets", {"values": {"GREETING": "hunter2"}}),
    ):
        assert (await stack.http.post(path, json=body)).is_success
    (port,) = free_ports(1)
    made = (await stack.http.post("/v1/apps/shop/machines", json=machine(port))).json()
    path = f"/v1/apps/shop/machines/{made['id']}"
    assert (await stack.http.get(f"{path}/wait", params={"timeout": 15})).status_code == 200
    assert (await stack.proxied()).text == "hunter2"
    before = (await stack.http.get("/_embedded/status")).json()["machines"][0]

    stack.daemon.kill()
    await stack.ended()
    async with httpx.AsyncClient(trust_env=False) as neighbour:
        assert (await neighbour.get(f"http://{before['address']}:{port}/")).text == "hunter2"

    assert (await stack.ready())["machines"] == [before]
    assert (await stack.proxied()).text == "hunter2"
    os.kill(before["pid"], signal.SIGKILL)
    wait = {"state": "stopped", "version": made["instance_id"], "timeout": 15}
    assert (await stack.http.get(f"{path}/wait", params=wait)).status_code == 200
    assert (await stack.proxied()).status_code == 503
    assert (await stack.http.post(f"{path}/start")).status_code == 200
    assert (await stack.http.get(f"{path}/wait", params={"timeout": 15})).status_code == 200
    pid = (await stack.http.get("/_embedded/status")).json()["machines"][0]["pid"]

    await stack.http.post("/_embedded/stop", json={"everything": True})
    assert await stack.ended() == 0
    assert not psutil.pid_exists(pid)
    log = (stack.state / "daemon.log").read_text()
    assert "POST /v1/apps/shop/secrets 200" in log
    assert "hunter2" not in log
    assert TOKEN not in log
    assert stat.S_IMODE((stack.state / "daemon.log").stat().st_mode) == 0o600


@pytest.mark.parametrize(("when", "made"), [("before", False), ("after", True)])
async def test_a_crash_on_demand_takes_back_nothing_that_was_done(stack: Stack, when: str, made: bool) -> None:
    await stack.ready()
    rule = {"kind": "crash", "when": when, "method": "POST", "path": "/v1/apps"}
    assert (await stack.http.post("/_embedded/faults", json=rule)).status_code == 201
    with pytest.raises(httpx.TransportError):
        await stack.http.post("/v1/apps", json={"name": "shop", "org_slug": "acme"})
    assert await stack.ended() == -signal.SIGKILL
    assert ("shop" in (await stack.ready())["apps"]) is made
    assert (await stack.http.get("/_embedded/faults")).json() == []


async def test_machines_that_die_at_their_start_or_cannot_start(stack: Stack) -> None:
    await stack.ready()
    await stack.http.post("/v1/apps", json={"name": "shop", "org_slug": "acme"})
    assert (await stack.http.post("/_embedded/faults", json={"kind": "dies_at_start", "object": "web"})).is_success
    config = {"image": "embedded/python", "init": {"exec": ["sleep", "1000"]}}
    made = (await stack.http.post("/v1/apps/shop/machines", json={"name": "web", "config": config})).json()
    path = f"/v1/apps/shop/machines/{made['id']}"
    async with asyncio.timeout(20):
        while True:  # nothing to wait on: it is started before and after
            found = (await stack.http.get(path)).json()
            ends = [event["request"]["exit_event"] for event in found["events"] if event["type"] == "exit"]
            if ends and found["state"] == "started":
                break
            await asyncio.sleep(0.05)
    assert [(end["signal"], end["requested_stop"], end["restarting"]) for end in ends] == [(9, False, True)]
    assert (await stack.http.get("/_embedded/faults")).json()[0]["fired"] == 1

    impossible = {"image": "embedded/python", "init": {"exec": ["/no/such/program"]}}
    made = (await stack.http.post("/v1/apps/shop/machines", json={"name": "no", "config": impossible})).json()
    assert (await stack.http.get(f"/v1/apps/shop/machines/{made['id']}/wait?state=failed&timeout=15")).is_success
    status = (await stack.http.get("/_embedded/status")).json()["machines"][1]
    assert "/no/such/program" in status["failure"]
    assert status["failure"] in last_line(Path(status["log"]))


def last_line(log: Path) -> str:
    return log.read_text().splitlines()[-1]


async def test_one_daemon_per_folder_which_leaves_when_told(stack: Stack) -> None:
    await stack.ready()
    first = stack.daemon
    second = await stack.start()
    _, complaint = await asyncio.wait_for(second.communicate(), ENDED_S)
    assert second.returncode == 1
    assert f"process {first.pid} already serves {stack.state}" in complaint.decode()
    assert b"Traceback" not in complaint
    stack.daemon = first
    first.terminate()
    assert await stack.ended() == 0
    with pytest.raises(httpx.ConnectError):
        await stack.http.get("/_embedded/status")


async def test_a_port_that_is_taken_is_one_line(stack: Stack) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", stack.settings.api_port)
    async with taken:
        daemon = await stack.start()
        _, complaint = await asyncio.wait_for(daemon.communicate(), ENDED_S)
    assert daemon.returncode == 1
    assert "address already in use" in complaint.decode()
    assert len(complaint.splitlines()) == 1
