"""A stack's processes: found exactly, started once, and ended whatever has happened to the embedded Fly."""

from __future__ import annotations

import dataclasses
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from local import background, embedded, settings
from local.pulumi_stack import PulumiStack
from local.stack import LocalStack
from local.state import LocalError, State

# Outliving whoever started them is the purpose of what is started here.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

NOTICED_S = 10  # far below the time that a program has for its start
WELL_S = 20


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    stack = LocalStack(State(tmp_path / "s"))
    assert stack.settings
    try:
        yield stack
    finally:
        stack.kill()


def run_machine(stack: LocalStack) -> psutil.Process:
    """Starts the embedded Fly with one machine in it; the machine's main process."""
    stack.start_fly()
    headers = {"Authorization": f"Bearer {stack.settings.token}"}
    with httpx.Client(base_url=f"{stack.fly.url}/v1", headers=headers, trust_env=False, timeout=20) as fly:
        fly.post("/apps", json={"name": "shop", "org_slug": "local"}).raise_for_status()
        time.sleep(stack.settings.app_propagation_s)  # the new app answers 404 for exactly so long
        init = {"exec": ["sleep", "1000"]}
        body = {
            "name": "web",
            "config": {"image": "embedded/python", "init": init, "stop_config": {"signal": "SIGKILL"}},
        }
        made = fly.post("/apps/shop/machines", json=body).raise_for_status().json()
        fly.get(f"/apps/shop/machines/{made['id']}/wait?timeout={WELL_S}").raise_for_status()
    (machine,) = stack.machines()
    assert {"name", "group", "state", "address", "pid", "log"} <= machine.keys()
    return psutil.Process(machine["pid"])


def daemon(stack: LocalStack) -> psutil.Process:
    process = stack.fly.process()
    assert process is not None
    return process


def kill(process: psutil.Process) -> None:
    process.kill()
    psutil.wait_procs([process], 10)


@pytest.fixture
def foreign_server() -> Iterator[int]:
    """Another program's port, which answers everything as if it were what is looked for."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"machines": []}')

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_down_ends_the_machines_of_an_embedded_fly_that_died(stack: LocalStack) -> None:
    machine = run_machine(stack)
    kill(daemon(stack))
    described = stack.describe()
    assert described["machines"] == []
    (problem,) = described["problems"]
    assert "the embedded Fly.io does not run" in problem
    assert str(machine.pid) in problem
    stack.down()
    assert not machine.is_running()
    assert stack.processes() == []
    assert stack.describe()["problems"] == []


def test_an_embedded_fly_that_hangs_is_named_and_not_replaced(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.start_fly()
    monkeypatch.setattr(embedded, "ASK_TIMEOUT_S", 0.3)
    hanging = daemon(stack)
    hanging.send_signal(signal.SIGSTOP)
    try:
        for command in (stack.start_fly, stack.describe):
            with pytest.raises(LocalError, match=rf"process {hanging.pid}\) runs but does not answer.*kill -KILL"):
                command()
        monkeypatch.setattr(embedded, "STOP_TIMEOUT_S", 0.3)
        for ending in (stack.down, stack.reset):
            with pytest.raises(LocalError, match=f"process {hanging.pid}"):
                ending()
        assert stack.processes() == [hanging]
        assert stack.state.settings.exists()
    finally:
        hanging.send_signal(signal.SIGCONT)
    stack.down()
    assert not hanging.is_running()


def test_reset_ends_what_runs_when_the_settings_are_broken(stack: LocalStack) -> None:
    machine = run_machine(stack)
    stack.state.settings.write_text("")
    again = LocalStack(stack.state)
    with pytest.raises(LocalError, match=r"settings.json: .*`scripts/local reset`"):
        again.down()
    assert again.reset() == []
    assert not machine.is_running()
    assert not stack.state.folder.exists()


def test_reset_ends_what_runs_when_the_embedded_fly_cannot_start(stack: LocalStack) -> None:
    machine = run_machine(stack)
    kill(daemon(stack))
    with socket.create_server(("127.0.0.1", stack.settings.api_port)):
        with pytest.raises(LocalError, match="address already in use"):
            stack.down()
        assert machine.is_running()
        assert stack.reset() == []
    assert not machine.is_running()


def test_processes_that_only_speak_of_a_stack_are_not_its_own(stack: LocalStack) -> None:
    other = LocalStack(State(stack.state.folder.with_name("s2")))
    log = stack.state.logs / "fly.log"
    log.touch()
    with subprocess.Popen(["tail", "--follow", log], stdout=subprocess.DEVNULL) as tail:
        try:
            other.start_fly()
            assert stack.fly.process() is None
            assert stack.processes() == []
            assert other.processes() == [daemon(other)]
            stack.down()
            assert other.fly.status() is not None
        finally:
            tail.kill()
            other.kill()


LISTEN = """
import signal, socket, sys
server = socket.create_server((sys.argv[1], 0))
print(server.getsockname()[1], flush=True)
signal.pause()
"""


def test_a_listener_in_the_stacks_network_is_its_own(stack: LocalStack) -> None:
    address = f"127.{stack.settings.network}.0.9"
    with subprocess.Popen([sys.executable, "-c", LISTEN, address], stdout=subprocess.PIPE, text=True) as listener:
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline()
            with pytest.raises(LocalError, match=rf"still running after `down`: .*kill {listener.pid}`"):
                stack.down()
        finally:
            listener.kill()
    stack.down()


def seconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def test_a_taken_port_of_fly_is_told_at_once(stack: LocalStack, foreign_server: int) -> None:
    settings.save(stack.state.folder, dataclasses.replace(stack.settings, api_port=foreign_server))
    stack = LocalStack(stack.state)

    def start() -> None:
        with pytest.raises(
            LocalError, match=rf"ended at once: .*{foreign_server}.*address already in use.*settings\.json"
        ):
            stack.start_fly()

    assert seconds(start) < NOTICED_S
    assert stack.processes() == []


def test_a_taken_port_of_the_provider_is_told_at_once(stack: LocalStack, foreign_server: int) -> None:
    (stack.state.provider / "port").write_text(str(foreign_server))

    def start() -> None:
        with pytest.raises(LocalError, match=rf"cannot listen on 127.0.0.1:{foreign_server}.* remove .*provider/port"):
            stack.start_provider()

    assert seconds(start) < NOTICED_S
    assert stack.provider_process() is None


def test_a_provider_that_died_is_told_with_its_last_words(stack: LocalStack) -> None:
    stack.start_fly()
    url, _ = stack.start_provider()
    stack.state.stack_file.write_text(f"config:\n  hotdash-llm-gateway:openaiBaseUrl: {url}\n")
    provider = stack.provider_process()
    assert provider is not None
    assert list(stack._problems(running=True)) == []
    kill(provider)
    (problem,) = stack._problems(running=True)
    assert "the offline provider does not run" in problem
    assert f"listening on {url}" in problem
    stack.start_provider()
    assert list(stack._problems(running=True)) == []
    stack.stop_provider()
    assert stack.provider_process() is None


@pytest.mark.parametrize("text", ["a: [", "- a", "config: text", "\x00"])
def test_a_broken_file_of_the_stack_is_an_error_in_words(stack: LocalStack, text: str) -> None:
    stack.state.stack_file.write_text(text)
    with pytest.raises(LocalError, match=r"Pulumi\.local\.yaml.* mend it"):
        PulumiStack(stack.state).configuration()


def test_what_a_program_said_before_is_not_its_last_word(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier one\n")
    said = background.Log(log)
    assert said.last_line() == ""
    with log.open("a") as file:
        file.write("new\n\n")
    assert said.last_line() == "new"


def test_a_program_is_found_by_its_very_words(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            found = background.find("http.server", "--directory", str(tmp_path))
            assert found is not None
            assert found.pid == running.pid
            assert background.find("http.server", "--directory", str(tmp_path)[:-1]) is None
            assert background.find("http", "--directory", str(tmp_path)) is None
        finally:
            running.kill()
