"""The whole toolchain at work: the real engine on a throw-away project, as an operator uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.toolchain.conftest import Watched
from toolchain import pulumi

pytestmark = pytest.mark.engine

RUN_S = 120
TOKEN = "sesame-open-73"

PROJECT = """
name: throwaway
runtime: {{name: python, options: {{toolchain: pip, virtualenv: {virtualenv}}}}}
config:
  token: {{type: string, secret: true}}
  length: {{type: integer, default: 20}}
  wait: {{type: boolean, default: false}}
  fail: {{type: string, default: ""}}
"""

# In a module of its own, so that the state holds a reference and no code.
THING = """
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class ThingProvider(ResourceProvider):
    serialize_as_secret_always = False
    def create(self, props):
        return CreateResult("thing", props)
    def read(self, id_, props):
        from pulumi.dynamic import ReadResult
        return ReadResult(id_, props, props)

class Thing(Resource, name="Thing"):
    def __init__(self, resource_name, **props):
        super().__init__(ThingProvider(), resource_name, props)
"""

PROGRAM = """
import os, sys
import pulumi, pulumi_random
from pulumi_command import local
from thing import Thing

config = pulumi.Config()
print("hello from the program")
if config.get("fail") == "exit":
    sys.exit(3)
if config.get("fail") == "raise":
    raise ValueError("no such region")
if config.get("fail") == "error":
    raise pulumi.RunError("the region is unknown")

password = pulumi_random.RandomPassword("password", length=config.require_int("length"), special=False)
suffix = pulumi_random.RandomId("suffix", byte_length=4)
thing = Thing("thing", name=suffix.hex, token=config.require_secret("token"))
command = local.Command(
    "command", create="echo made with $PASSWORD", delete="touch deleted", environment={"PASSWORD": password.result},
    triggers=[suffix.hex], logging=local.Logging.NONE,
)
if config.get_bool("wait"):
    local.Command("wait", create="echo $$; sleep 600", opts=pulumi.ResourceOptions(depends_on=[command]))
pulumi.export("password", password.result)
pulumi.export("output", command.stdout)
pulumi.export("suffix", suffix.hex)
"""


class Stack:
    """A project with a stack, a state folder and an engine's home of its own."""

    def __init__(self, folder: Path) -> None:
        self.engine = pulumi.ensure()
        self.folder = folder / "project"
        self.folder.mkdir()
        (folder / "state").mkdir()
        home = folder / "home"
        self.engine.place_plugins(home)
        (self.folder / "Pulumi.yaml").write_text(PROJECT.format(virtualenv=os.path.relpath(sys.prefix, self.folder)))
        (self.folder / "__main__.py").write_text(PROGRAM)
        (self.folder / "thing.py").write_text(THING)
        self.environment = {
            "HOME": str(folder),
            "PATH": os.pathsep.join([*map(str, self.engine.path_entries), "/usr/bin", "/bin"]),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "passphrase",
            "PULUMI_HOME": str(home),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        if self.engine.source == "built":
            self.environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
        self.printed = ""
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [self.engine.pulumi, *arguments, "--non-interactive", "--stack", "dev"],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=RUN_S)
        self.printed += output + errors
        assert process.returncode == code, output + errors
        return output

    def preview(self, *arguments: str) -> set[tuple[str, str]]:
        """The steps of a preview that are more than none: operation, name."""
        steps = json.loads(self.run("preview", "--json", *arguments)).get("steps", [])
        return {(step["op"], step["urn"].rsplit("::", 1)[1]) for step in steps if step["op"] != "same"}

    def export(self) -> dict[str, Any]:
        output = self.run("stack", "export")
        state = json.loads(output)
        assert isinstance(state, dict)
        return state

    def processes(self) -> list[psutil.Process]:
        """All that this stack's engine has started and that still runs."""
        home = self.environment["PULUMI_HOME"]
        return [process for process in psutil.process_iter() if _environment(process).get("PULUMI_HOME") == home]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ() if process.status() != psutil.STATUS_ZOMBIE else {}
    except psutil.Error:
        return {}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    try:
        stack.run("stack", "init")
        stack.run("config", "set", "--secret", "token", TOKEN)
        yield stack
    finally:
        for process in stack.started:
            process.kill()
            with process:  # closes what is not read
                process.wait()
        left = [process.cmdline() for process in stack.processes()]
        for orphan in stack.processes():
            orphan.kill()
    assert left == []
    for unwanted in ("Traceback", "$PATH", TOKEN):
        assert unwanted not in stack.printed


def test_the_life_of_a_stack(stack: Stack) -> None:
    planned = stack.preview()
    assert {name for operation, name in planned if operation == "create"} >= {"password", "suffix", "thing", "command"}

    assert "hello from the program" in stack.run("up", "--yes")
    outputs = json.loads(stack.run("stack", "output", "--json"))
    assert outputs["password"] == outputs["output"] == "[secret]"
    assert len(bytes.fromhex(outputs["suffix"])) == 4

    password = stack.run("stack", "output", "password", "--show-secrets").strip()
    assert len(password) == 20
    stack.printed = ""
    for state in [
        json.dumps(stack.export()),
        *(path.read_text() for path in (stack.folder.parent / "state").rglob("*.json")),
    ]:
        assert password not in state
        assert TOKEN not in state

    assert stack.preview("--expect-no-changes") == set()
    stack.run("up", "--yes", "--expect-no-changes")
    stack.run("refresh", "--yes", "--expect-no-changes")

    stack.run("config", "set", "length", "21")
    steps = stack.preview()
    assert ("replace", "password") in steps
    assert ("update", "command") in steps
    assert not any(name in {"suffix", "thing"} for _, name in steps)
    stack.run("up", "--yes")
    assert len(stack.run("stack", "output", "password", "--show-secrets").strip()) == 21
    stack.printed = ""

    stack.run("destroy", "--yes")
    assert (stack.folder / "deleted").exists()
    assert stack.export()["deployment"].get("resources", []) == []


WAITING = r"wait creating \(\d+s\) \d+"
"""The command has printed its process id."""


def test_ctrl_c_ends_everything_and_the_next_run_goes_on(stack: Stack) -> None:
    stack.run("config", "set", "wait", "true")
    engine = stack.start("up", "--yes", "--skip-preview")
    text = read_until(engine, WAITING)
    # Ctrl-C reaches the terminal's foreground group. Plugins have groups of their own: it is the engine alone.
    os.killpg(engine.pid, signal.SIGINT)
    output, errors = engine.communicate(timeout=RUN_S)
    stack.printed += text + output + errors
    assert engine.returncode not in (0, -signal.SIGINT)
    assert "The create command of wait was ended by SIGTERM" in output
    assert stack.processes() == []

    stack.run("config", "set", "wait", "false")
    stack.run("up", "--yes")
    stack.run("destroy", "--yes")


def test_a_killed_engine_leaves_no_process(stack: Stack) -> None:
    stack.run("config", "set", "wait", "true")
    engine = stack.start("up", "--yes", "--skip-preview")
    read_until(engine, WAITING)
    commands = commands_once(stack, ["sleep", "600"])
    assert any("pulumi.dynamic" in command for command in commands)
    started = [Watched(process.pid) for process in stack.processes()]
    engine.kill()
    engine.communicate(timeout=RUN_S)
    for process in started:
        process.wait_for_end()


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("exit", "exited with code 3"),
        ("raise", "ValueError: no such region"),
        ("error", "the region is unknown"),
    ],
)
def test_a_program_that_fails_is_shown_once(stack: Stack, fail: str, message: str) -> None:
    stack.run("config", "set", "fail", fail)
    output = stack.run("up", "--yes", code=1)
    stack.printed = ""
    assert message in output
    assert "hello from the program" in output


def commands_once(stack: Stack, wanted: list[str]) -> list[list[str]]:
    """Command lines of the stack's processes once `wanted` is one of them: the engine says so before it is."""
    deadline = time.monotonic() + RUN_S
    while wanted not in (commands := [process.cmdline() for process in stack.processes()]):
        assert time.monotonic() < deadline, f"{wanted} never ran beside {commands}"
        time.sleep(0.05)  # no event tells when another program has started one
    return commands


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """What a process prints until a line has `pattern`. A silent one is ended by the time limit of the test."""
    text = ""
    assert process.stdout
    while not re.search(pattern, text):
        line = process.stdout.readline()
        assert line, f"{pattern!r} was never printed:\n{text}"
        text += line
    return text
