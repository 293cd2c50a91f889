"""The gate breaks off the call it is told to, on the side it is told to, and no other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.interruptions import gate as gates
from tests.interruptions.calls import Call, name_of
from tests.interruptions.gate import Gate

MACHINE = {"id": "7", "instance_id": "01", "name": "gateway-1"}


class Upstream(ThreadingHTTPServer):
    """A Fly that writes down what reaches it, and answers everything with one machine."""

    def __init__(self) -> None:
        self.reached: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.reached.append((self.path, sent))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(MACHINE).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the tests' output."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gate(upstream: Upstream) -> Iterator[Gate]:
    with gates.running(f"http://127.0.0.1:{upstream.server_port}") as running:
        yield running


def post(gate: Gate, path: str, **body: object) -> httpx.Response:
    return httpx.post(f"{gate.url}/v1/apps{path}", json=body, timeout=5, trust_env=False)


def test_a_call_is_broken_off_before_it_reaches_fly(gate: Gate, upstream: Upstream) -> None:
    reached_when_killed = []
    gate.arm(Call("POST x/secrets", 2), "before", lambda: reached_when_killed.append(len(upstream.reached)))
    assert post(gate, "/x/secrets").status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        post(gate, "/x/secrets")
    assert post(gate, "/x/secrets").status_code == 200, "once only"
    assert reached_when_killed == [1]
    assert len(upstream.reached) == 2


def test_a_call_is_broken_off_after_fly_has_carried_it_out(gate: Gate, upstream: Upstream) -> None:
    reached_when_killed = []
    gate.arm(Call("POST x/secrets", 1), "after", lambda: reached_when_killed.append(len(upstream.reached)))
    with pytest.raises(httpx.RemoteProtocolError):
        post(gate, "/x/secrets")
    assert reached_when_killed == [1]


def test_a_machine_is_called_by_its_name_as_soon_as_it_is_known(gate: Gate) -> None:
    post(gate, "/x/machines", name="gateway-1")
    post(gate, "/x/machines/7")
    post(gate, "/x/machines/7/lease")
    assert [str(call) for call in gate.calls] == [
        "POST x/machines gateway-1 #1",
        "POST x/machines/gateway-1 #1",
        "POST x/machines/gateway-1/lease #1",
    ]


def test_a_lease_is_short_unless_wanted_long(gate: Gate, upstream: Upstream) -> None:
    post(gate, "/x/machines/7/lease", ttl=60)
    gate.short_leases = False
    post(gate, "/x/machines/7/lease", ttl=60)
    assert [json.loads(sent)["ttl"] for _, sent in upstream.reached] == [gates.LEASE_S, 60]


@pytest.mark.parametrize(
    ("method", "path", "body", "name"),
    [
        ("GET", "/v1/apps/x/machines/7/wait", None, "GET x/machines/gateway-1/wait"),
        ("POST", "/v1/apps", {"name": "x", "org_slug": "o"}, "POST x"),
        ("POST", "/v1/apps/x/ip_assignments", {"type": "v6"}, "POST x/ip_assignments v6"),
        ("DELETE", "/v1/apps/x/ip_assignments/2a09%3A8280%3A%3A1", None, "DELETE x/ip_assignments/v6"),
        ("DELETE", "/v1/apps/x/ip_assignments/66.241.1.1", None, "DELETE x/ip_assignments/shared_v4"),
        ("POST", "/graphql", {"query": "query ($n: String!) { addOn(name: $n) { id } }"}, "query addOn"),
        ("POST", "/graphql", {"query": "mutation ($i: I!) { createAddOn(input: $i) { id } }"}, "mutation createAddOn"),
    ],
)
def test_a_name_is_the_same_in_every_run(method: str, path: str, body: object, name: str) -> None:
    assert name_of(method, path, body, {"7": "gateway-1"}) == name


def test_only_a_change_has_two_sides() -> None:
    assert Call("GET x", 1).sides == Call("query addOn", 1).sides == ("before",)
    assert Call("DELETE x", 1).sides == Call("mutation createAddOn", 1).sides == ("before", "after")
