"""Our `command`, driven as the engine drives it and held against the published SDK."""

from __future__ import annotations

import inspect
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc
from pulumi.runtime.proto import provider_pb2 as messages
from pulumi.runtime.proto import provider_pb2_grpc as service
from pulumi_command import local

from tests.toolchain.conftest import ANSWER_TIMEOUT_S, Plugin, Start, Watched
from toolchain import pulumi
from toolchain.plugins import command, values

TOKEN = "command:local:Command"
URN = "urn:pulumi:dev::project::command:local:Command::it"
SECRET = "correct horse battery staple"
REFUSED = {"assetPaths", "archivePaths"}


class Engine(engine_pb2_grpc.EngineServicer):
    """The engine's log, kept."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.logged = threading.Semaphore(0)

    def Log(self, request: engine_pb2.LogRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self.lines.append((request.urn, request.message))
        self.logged.release()
        return empty_pb2.Empty()


class Commands:
    """The plugin, in the words of the engine's protocol."""

    def __init__(self, plugin: Plugin, engine: Engine) -> None:
        self.plugin = plugin
        self.engine = engine
        self.stub = service.ResourceProviderStub(plugin.channel)

    def check(self, inputs: dict[str, Any]) -> dict[str, str]:
        answer = self.stub.Check(
            messages.CheckRequest(type=TOKEN, news=values.write(inputs, ())), timeout=ANSWER_TIMEOUT_S
        )
        return {failure.property: failure.reason for failure in answer.failures}

    def create(
        self, inputs: dict[str, Any], *, secret: tuple[str, ...] = (), preview: bool = False
    ) -> values.Properties:
        assert self.check(inputs) == {}
        request = messages.CreateRequest(
            type=TOKEN, name="it", urn=URN, properties=values.write(inputs, secret), preview=preview
        )
        return values.read(self.stub.Create(request, timeout=ANSWER_TIMEOUT_S).properties)

    def update(self, outputs: values.Properties, inputs: dict[str, Any]) -> values.Properties:
        request = messages.UpdateRequest(
            type=TOKEN, urn=URN, olds=values.write(outputs.values, outputs.secret), news=values.write(inputs, ())
        )
        return values.read(self.stub.Update(request, timeout=ANSWER_TIMEOUT_S).properties)

    def delete(self, outputs: values.Properties) -> None:
        request = messages.DeleteRequest(type=TOKEN, urn=URN, properties=values.write(outputs.values, outputs.secret))
        self.stub.Delete(request, timeout=ANSWER_TIMEOUT_S)

    def diff(self, outputs: values.Properties, inputs: dict[str, Any]) -> tuple[list[str], list[str]]:
        request = messages.DiffRequest(
            type=TOKEN, olds=values.write(outputs.values, outputs.secret), news=values.write(inputs, ())
        )
        answer = self.stub.Diff(request, timeout=ANSWER_TIMEOUT_S)
        return list(answer.diffs), list(answer.replaces)


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[Engine, str]]:
    servicer = Engine()
    server = grpc.server(ThreadPoolExecutor(4))
    engine_pb2_grpc.add_EngineServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(grace=None).wait()


@pytest.fixture(scope="module")
def plugin(start_plugin: Start, engine: tuple[Engine, str]) -> Plugin:
    return start_plugin("command", engine=engine[1])


@pytest.fixture
def commands(plugin: Plugin, engine: tuple[Engine, str]) -> Commands:
    """A plugin shared by the tests that leave it alive."""
    engine[0].forget()
    return Commands(plugin, engine[0])


@pytest.fixture
def own_commands(start_plugin: Start, engine: tuple[Engine, str]) -> Commands:
    """A plugin to end."""
    engine[0].forget()
    return Commands(start_plugin("command", engine=engine[1]), engine[0])


def test_inputs_are_the_published_ones_and_all_act(commands: Commands, tmp_path: Path) -> None:
    inputs = {
        "create": "cat; pwd; echo $A; echo created > made",
        "update": 'echo "$PULUMI_COMMAND_STDOUT-$PULUMI_COMMAND_STDERR"; echo updated > made',
        "delete": "rm made",
        "stdin": "from stdin\n",
        "environment": {"A": "from the environment"},
        "dir": str(tmp_path),
        "interpreter": ["/bin/sh", "-e", "-c"],
        "logging": "none",
        "triggers": [1],
        "addPreviousOutputInEnv": True,
    }
    published = {
        re.sub(r"_(\w)", lambda match: match[1].upper(), parameter)
        for parameter in inspect.signature(local.CommandArgs.__init__).parameters
        if parameter != "__self__"
    }
    assert inputs.keys() == published - REFUSED, "the test leaves an input out"
    assert pulumi.locked("pulumi-command") == command.VERSION

    made = commands.create(inputs)
    assert made.values == {
        **inputs, "stdout": f"from stdin\n{tmp_path}\nfrom the environment", "stderr": ""
    }  # fmt: skip
    assert (tmp_path / "made").read_text() == "created\n"

    updated = commands.update(made, inputs)
    assert updated.values["stdout"] == f"{made.values['stdout']}-"
    assert (tmp_path / "made").read_text() == "updated\n"

    commands.delete(updated)
    assert not (tmp_path / "made").exists()


def test_an_update_without_a_command_of_its_own_creates_again(commands: Commands) -> None:
    made = commands.create({"create": "echo 1"})
    assert commands.update(made, {"create": "echo 2"}).values["stdout"] == "2"


def test_nothing_to_run_is_no_error(commands: Commands) -> None:
    made = commands.create({"delete": "true"})
    assert (made.values["stdout"], made.values["stderr"]) == ("", "")
    commands.delete(commands.create({"create": "true"}))


def test_a_preview_runs_nothing(commands: Commands, tmp_path: Path) -> None:
    inputs = {"create": f"touch {tmp_path}/made", "environment": {"A": values.UNKNOWN}}
    planned = commands.create(inputs, preview=True)
    assert planned.unknown == {"environment", "stdout", "stderr"}
    assert not (tmp_path / "made").exists()


def test_triggers_replace_and_everything_else_updates(commands: Commands) -> None:
    inputs = {"create": "echo 1", "triggers": [1, "a"], "environment": {"A": "1"}}
    made = commands.create(inputs)
    assert commands.diff(made, inputs) == ([], [])
    assert commands.diff(made, {**inputs, "create": "echo 2"}) == (["create"], [])
    assert commands.diff(made, {**inputs, "environment": {"A": "2"}}) == (["environment"], [])
    assert commands.diff(made, {**inputs, "triggers": [2, "a"]}) == (["triggers"], ["triggers"])
    assert commands.diff(made, {**inputs, "triggers": [values.UNKNOWN, "a"]}) == (["triggers"], ["triggers"])
    assert commands.diff(made, {"create": "echo 1"}) == (["environment", "triggers"], ["triggers"])


@pytest.mark.parametrize(
    ("logging", "expected"),
    [
        (None, ["out", "err"]),
        ("stdoutAndStderr", ["out", "err"]),
        ("stdout", ["out"]),
        ("stderr", ["err"]),
        ("none", []),
    ],
)
def test_output_is_logged_as_asked(commands: Commands, logging: str | None, expected: list[str]) -> None:
    commands.create({"create": "echo out; echo err >&2", "logging": logging})
    assert sorted(commands.engine.lines) == sorted((URN, line) for line in expected)


def test_every_logging_of_the_published_class_is_known() -> None:
    assert {each.value for each in local.Logging} == set(command.LOGGED) - {None}


def test_output_is_logged_while_the_command_runs(commands: Commands, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    script = f"echo first; until [ -e {go_on} ]; do sleep 0.02; done"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(commands.create, {"create": script})
        assert commands.engine.logged.acquire(timeout=ANSWER_TIMEOUT_S)
        assert commands.engine.lines == [(URN, "first")]
        assert not running.done()
        go_on.touch()
        assert running.result(ANSWER_TIMEOUT_S).values["stdout"] == "first"


def test_a_secret_input_makes_the_output_secret(commands: Commands) -> None:
    inputs = {"create": "echo $A", "environment": {"A": SECRET}, "logging": "none"}
    made = commands.create(inputs, secret=("environment",))
    assert made.secret == {"environment", "stdout", "stderr"}
    assert made.values["stdout"] == SECRET
    assert commands.create({"create": "true"}).secret == frozenset()


def test_a_failure_names_the_resource_and_shows_what_was_printed(commands: Commands) -> None:
    with pytest.raises(grpc.RpcError, match=r"(?s)create command of it exited with code 3.*the cause") as caught:
        commands.create({"create": "echo the cause >&2; exit 3"})
    assert "Traceback" not in str(caught.value)


def test_a_failure_without_logging_shows_nothing_that_was_printed(commands: Commands) -> None:
    inputs = {"create": "echo $A; echo $A >&2; exit 3", "environment": {"A": SECRET}, "logging": "none"}
    with pytest.raises(grpc.RpcError, match="exited with code 3") as caught:
        commands.create(inputs, secret=("environment",))
    assert SECRET not in str(caught.value)
    assert "its output is not shown" in str(caught.value)
    assert commands.engine.lines == []


@pytest.mark.parametrize("change", [{"interpreter": ["/no/such/shell"]}, {"dir": "/no/such/folder"}])
def test_a_command_that_cannot_start_says_why(commands: Commands, change: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError, match=r"cannot be started: .*/no/such"):
        commands.create({"create": "true", **change})


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_left_out_is_refused_by_name(commands: Commands, name: str) -> None:
    assert commands.check({name: ["a"]}).keys() == {name}
    assert commands.check({"logging": "loud"}).keys() == {"logging"}


# Ignores SIGTERM, in a child of the command, which the group has to reach.
STUBBORN = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait"


def test_cancelling_ends_the_command_and_its_children(own_commands: Commands) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(own_commands.create, {"create": STUBBORN})
        assert own_commands.engine.logged.acquire(timeout=ANSWER_TIMEOUT_S)
        child = Watched(int(own_commands.engine.lines[0][1]))
        own_commands.stub.Cancel(empty_pb2.Empty(), timeout=ANSWER_TIMEOUT_S)
        with pytest.raises(grpc.RpcError, match="was ended by SIGTERM"):
            running.result(ANSWER_TIMEOUT_S)
    child.wait_for_end()
    with pytest.raises(grpc.RpcError, match="was cancelled"):
        own_commands.create({"create": "true"})


@pytest.mark.parametrize("way", ["SIGINT", "SIGTERM", "engine gone"])
def test_the_plugin_takes_its_commands_with_it_and_is_quiet(own_commands: Commands, way: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(own_commands.create, {"create": "echo $$; sleep 600"})
        assert own_commands.engine.logged.acquire(timeout=ANSWER_TIMEOUT_S)
        child = Watched(int(own_commands.engine.lines[0][1]))
        process = own_commands.plugin.process
        if way == "engine gone":
            assert process.stdin
            process.stdin.close()
            process.stdin = None
        else:
            process.send_signal(signal.Signals[way])
        stdout, stderr = process.communicate(timeout=ANSWER_TIMEOUT_S)
        with pytest.raises(grpc.RpcError):
            running.result(ANSWER_TIMEOUT_S)
    child.wait_for_end()
    assert (process.returncode, stdout, stderr) == (0, "", "")
