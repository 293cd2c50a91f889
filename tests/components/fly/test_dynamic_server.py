"""Providers in the process the engine really starts: pickling, floats, unknowns, errors over gRPC."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from pulumi.runtime.rpc import UNKNOWN

from components.fly.app import AppProvider
from components.fly.machine import MachineProvider
from components.fly.provider import FlyProvider
from components.fly.secret import SecretsProvider
from tests.components.fly.fake_clock import FakeClock
from tests.components.fly.fake_fly import TOKEN, FakeFly
from tests.components.fly.test_machine import EDGE, with_config

ROOT = Path(__file__).parent.parent.parent.parent
PROJECT = "hotdash-llm-gateway"
START_S = 20


class Server:
    """The dynamic provider process, spoken to as the engine does; `__provider` goes along with all properties."""

    def __init__(self, stub: provider_pb2_grpc.ResourceProviderStub) -> None:
        self._stub = stub

    def check(
        self, cls: type[FlyProvider], olds: dict[str, Any], news: dict[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        request = provider_pb2.CheckRequest(olds=self._sent(cls, olds), news=self._sent(cls, news))
        answer = self._stub.Check(request)
        return received(answer.inputs), [failure.reason for failure in answer.failures]

    def create(self, cls: type[FlyProvider], props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        answer = self._stub.Create(provider_pb2.CreateRequest(properties=self._sent(cls, props)))
        return answer.id, received(answer.properties)

    def diff(
        self, cls: type[FlyProvider], id_: str, olds: dict[str, Any], news: dict[str, Any]
    ) -> provider_pb2.DiffResponse:
        request = provider_pb2.DiffRequest(id=id_, olds=self._sent(cls, olds), news=self._sent(cls, news))
        answer: provider_pb2.DiffResponse = self._stub.Diff(request)
        return answer

    def read(self, cls: type[FlyProvider], id_: str, props: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        answer = self._stub.Read(provider_pb2.ReadRequest(id=id_, properties=self._sent(cls, props)))
        return received(answer.properties), received(answer.inputs)

    def _sent(self, cls: type[FlyProvider], props: dict[str, Any]) -> struct_pb2.Struct:
        struct = struct_pb2.Struct()
        struct.update({**props, "__provider": serialize_provider(cls())})
        return struct


def received(struct: struct_pb2.Struct) -> dict[str, Any]:
    props: dict[str, Any] = MessageToDict(struct)
    props.pop("__provider", None)
    return props


class Handler(BaseHTTPRequestHandler):
    """Hands requests of the real HTTP client to the fake."""

    fly: FakeFly

    def _any(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        request = httpx.Request(
            self.command, f"http://fly{self.path}", headers=dict(self.headers), content=self.rfile.read(length)
        )
        response = self.fly.transport.handle_request(request)
        self.send_response(response.status_code)
        for name in ("content-type", "fly-request-id"):
            if name in response.headers:
                self.send_header(name, response.headers[name])
        self.send_header("content-length", str(len(response.content)))
        self.end_headers()
        self.wfile.write(response.content)

    do_GET = do_POST = do_PUT = do_DELETE = _any

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: pytest's output is for failures."""


@pytest.fixture(scope="module")
def fly() -> FakeFly:
    return FakeFly(FakeClock())


@pytest.fixture(scope="module")
def server(fly: FakeFly) -> Iterator[Server]:
    handler = type("FlyHandler", (Handler,), {"fly": fly})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        command = [sys.executable, "-u", "-m", "pulumi.dynamic", "127.0.0.1:1"]
        environment = {**os.environ, "PULUMI_PROJECT": PROJECT}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                grpc.channel_ready_future(channel).result(timeout=START_S)
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                config = struct_pb2.Struct()
                config.update(
                    {f"{PROJECT}:flyToken": TOKEN, f"{PROJECT}:flyApiUrl": f"http://127.0.0.1:{http.server_port}"}
                )
                stub.Configure(provider_pb2.ConfigureRequest(args=config))
                yield Server(stub)
            process.terminate()
        http.shutdown()
        thread.join()


def test_an_app_is_made_and_read(server: Server) -> None:
    inputs, failures = server.check(AppProvider, {}, {"app": "first", "organization": "acme"})
    assert (inputs["hostname"], failures) == ("first.fly.dev", [])
    id_, outputs = server.create(AppProvider, inputs)
    assert (id_, outputs) == ("first", inputs)
    assert server.read(AppProvider, id_, outputs) == (inputs, inputs)
    assert server.diff(AppProvider, id_, outputs, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE


def test_a_check_bears_unknowns_and_reports_failures(server: Server) -> None:
    inputs, failures = server.check(AppProvider, {}, {"app": UNKNOWN, "organization": "Not A Slug"})
    assert "hostname" not in inputs
    assert failures == ["organization is 'Not A Slug'; give the slug `fly orgs list` shows"]


def test_a_machine_is_no_difference_to_itself(server: Server, fly: FakeFly) -> None:
    fly.add_app("gw").secrets_version = 3
    inputs, failures = server.check(MachineProvider, {}, {**EDGE, "min_secrets_version": 3})
    assert failures == []
    id_, outputs = server.create(MachineProvider, inputs)
    memory = fly.machine("gw", "edge-1")["config"]["guest"]["memory_mb"]
    assert (memory, type(memory)) == (512, int), "whole numbers, although they travel as floats"
    assert fly.bodies[-1]["min_secrets_version"] == 3
    outputs, live = server.read(MachineProvider, id_, outputs)
    assert server.diff(MachineProvider, id_, outputs, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE
    again, _ = server.check(MachineProvider, live, {**EDGE, "min_secrets_version": 3})
    assert again["config_hash"] == inputs["config_hash"]
    assert again["machine_id"] == id_


def test_a_hash_is_unknown_until_all_it_covers_is_known(server: Server) -> None:
    inputs, failures = server.check(
        MachineProvider, {}, {**with_config(env={"A": UNKNOWN}), "min_secrets_version": UNKNOWN}
    )
    assert failures == []
    assert inputs["config_hash"] == UNKNOWN
    assert inputs["config"]["env"]["A"] == UNKNOWN
    assert inputs["config"]["metadata"]["fly_process_group"] == "edge"


def test_secrets_of_a_preview_may_be_unknown(server: Server) -> None:
    news = {"app": "gw", "set": "main", "values": {"A": UNKNOWN, "B": "2"}}
    inputs, failures = server.check(SecretsProvider, {}, news)
    assert (inputs, failures) == (news, [])


def test_an_error_is_one_line_without_the_token(server: Server, fly: FakeFly) -> None:
    fly.elsewhere.add("taken")
    with pytest.raises(grpc.RpcError) as caught:
        server.create(AppProvider, {"app": "taken", "organization": "acme", "hostname": "taken.fly.dev"})
    text = caught.value.details() or ""
    assert text.count("\n") == 1
    assert "the app name taken belongs to another organization" in text
    assert "fly-request-id 01REQUEST" in text
    assert 'File "' not in text, "no traceback"
    assert TOKEN not in text
