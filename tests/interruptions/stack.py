"""The small stack under test: an embedded Fly, a Pulumi backend and the program, in one folder that can be put back.

A snapshot is a copy of the folder, taken when nothing of it runs; it is put back to the very same place, since ports,
addresses and paths are part of what it holds.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil
import yaml

from local import background, settings
from local.stack import LocalStack
from local.state import State
from tests.interruptions import gate as gates
from tests.interruptions.calls import Call
from tests.interruptions.gate import Gate

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(__file__).with_name("program")
NAME = "interrupted"
FIRST = {"image": "embedded/python:1", "label": "first", "secret": "first-secret", "memoryMb": 256}
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "up": {},
    "image": {"image": "embedded/python:2", "label": "second"},
    "secret": {"secret": "second-secret"},
    "size": {"memoryMb": 512},
    "destroy": {},
}
"""Phase → what the person changes before it. `up` begins with nothing, all others with a finished `up`."""
Victim = Literal["program", "provider", "engine"]
RUN_S = 150  # a run that waits for a lease takes 60 s more than one that does not
WELL_S = 30
PASSING = ("started", ["passing"])


class Run:
    """A pulumi command under way, and what can be killed of it."""

    MARKS: Mapping[Victim, str] = {"program": "pulumi-language-python-exec", "provider": "pulumi.dynamic"}

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._left_behind: list[psutil.Process] = []
        self._process, self._output = process, output

    @property
    def out(self) -> str:
        return self._output.read_text()

    def wait(self) -> int:
        return self._process.wait(RUN_S)

    def end(self) -> None:
        """With all that a killed engine has left running."""
        self._process.kill()
        self._process.wait()
        end_all(self._left_behind)

    def kill(self, victim: Victim) -> bool:
        """SIGKILL, to this process alone; false when it has ended already. What outlives it stays, as it would."""
        self._left_behind = psutil.Process(self._process.pid).children(recursive=True)
        if victim == "engine":
            self._process.kill()
            self._process.wait()
            return True
        found = [child for child in self._left_behind if self._is(child, self.MARKS[victim])]
        end_all(found)
        return bool(found)

    @staticmethod
    def _is(process: psutil.Process, mark: str) -> bool:
        try:
            words = process.cmdline()
        except psutil.NoSuchProcess:
            return False
        return any(word.endswith(mark) for word in words) and process.name().startswith("python")


class Stack:
    def __init__(self, folder: Path, gate: Gate, local: LocalStack) -> None:
        self.folder, self.gate, self.local = folder, gate, local
        self.project, self.snapshots = folder / "project", folder / "snapshots"
        self.first_up: list[Call] = []
        """What an `up` that nobody interrupts asks Fly."""

    # -- life

    def start_fly(self) -> None:
        """The embedded Fly with the machines of its store, each passing its checks."""
        with (self.local.state.logs / "fly.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "local.daemon", "--state", str(self.local.state.folder)],
                cwd=ROOT,
                env=background.closed_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.local.start_fly()  # it is there already: this waits until it answers
        give_up_at = time.monotonic() + WELL_S
        while not all(states_of(machine) == PASSING for machine in self.machines()):
            assert time.monotonic() < give_up_at, "the machines of the snapshot did not become well"
            time.sleep(0.1)  # checks have no event to wait for
        self.gate.machines = {machine["id"]: machine["name"] for machine in self.machines()}

    def stop_fly(self) -> None:
        self.local.fly.stop()
        self._daemon.wait(background.STOP_S)
        self.local.down()  # raises when something still runs

    def snapshot(self, name: str) -> None:
        shutil.copytree(self.local.state.folder, self.snapshots / name, symlinks=True)

    def restore(self, name: str) -> None:
        shutil.rmtree(self.local.state.folder)
        shutil.copytree(self.snapshots / name, self.local.state.folder, symlinks=True)

    # -- Pulumi

    @property
    def environment(self) -> dict[str, str]:
        pulumi = self.local.pulumi
        return {
            **pulumi.variables,
            "HOME": str(Path.home()),
            "PATH": f"{pulumi.path}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def pulumi(self, *arguments: str) -> None:
        """Runs a pulumi command, which must succeed."""
        run = self.begin(*arguments)
        code = run.wait()
        assert code == 0, f"pulumi {arguments[0]} ended with {code}:\n{run.out}"

    def begin(self, *arguments: str) -> Run:
        output = self.folder / "output"
        # A file, because what an engine leaves behind when it is killed would keep a pipe open.
        with output.open("wb") as file:
            process = subprocess.Popen(
                [str(self.local.pulumi.toolchain.pulumi), *arguments, "--non-interactive"],
                cwd=self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Run(process, output)

    def pulumi_state(self) -> dict[str, Any]:
        """The newest deployment in the backend."""
        file = self.local.state.backend / f".pulumi/stacks/{NAME}/local.json"
        deployment: dict[str, Any] = json.loads(file.read_text())["checkpoint"]["latest"] or {}
        return deployment

    @contextmanager
    def at(self, phase: str) -> Iterator[None]:
        """The embedded Fly and the configuration as they are before a phase's first run."""
        self.restore("nothing" if phase == "up" else "finished")
        self.start_fly()
        try:
            self.configure(CHANGES[phase])
            self.gate.begin()
            yield
        finally:
            self.stop_fly()

    def configure(self, values: Mapping[str, Any]) -> None:
        file = self.local.state.stack_file
        document = {"config": {}} | (yaml.safe_load(file.read_text()) or {})
        document["config"] |= {f"{NAME}:{key}": value for key, value in values.items()}
        file.write_text(yaml.safe_dump(document))

    # -- what Fly has

    def fly(self, path: str, **arguments: Any) -> Any:
        """Asks the embedded Fly past the gate; None for 404."""
        headers = {"authorization": f"Bearer {self.local.settings.token}"}
        method = "POST" if arguments else "GET"
        answer = httpx.request(
            method, f"{self.local.fly.url}{path}", headers=headers, timeout=30, trust_env=False, **arguments
        )
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()

    def machines(self) -> list[dict[str, Any]]:
        found = self.fly(f"/v1/apps/{NAME}/machines") or []
        return [machine for machine in found if machine["state"] != "destroyed"]


def states_of(machine: Mapping[str, Any]) -> tuple[str, list[str]]:
    return machine["state"], [check["status"] for check in machine.get("checks") or []]


@contextmanager
def made(folder: Path) -> Iterator[Stack]:
    """A stack with two snapshots: `nothing`, and `finished`, after an `up`."""
    local = LocalStack(State(folder / "state"))
    # Limits and pauses are for other tests: here they would only make every case longer.
    chosen = dataclasses.replace(local.settings, rate_limits=False, restart_pause_s=0.1, certificate_s=0.0)
    settings.save(local.state.folder, chosen)
    local = LocalStack(State(folder / "state"))
    try:
        with gates.running(local.fly.url) as gate:
            stack = Stack(folder, gate, local)
            _prepare(stack)
            stack.snapshot("nothing")
            stack.start_fly()
            gate.begin()
            stack.pulumi("up", "--yes", "--skip-preview")
            stack.first_up = gate.calls
            stack.stop_fly()
            stack.snapshot("finished")
            yield stack
    finally:
        end_all(local.processes())
        local.wipe()


def _prepare(stack: Stack) -> None:
    shutil.copytree(PROGRAM, stack.project)
    for name in ("components", "templates", ".venv"):
        (stack.project / name).symlink_to(ROOT / name)
    pulumi, state = stack.local.pulumi, stack.local.state
    pulumi.toolchain.place_plugins(state.pulumi_home)
    stack.pulumi("stack", "init", "local", "--secrets-provider", "passphrase")
    made_file = stack.project / "Pulumi.local.yaml"
    made_file.rename(state.stack_file)
    stack.configure({**FIRST, "flyApiUrl": stack.gate.url, "flyGraphqlUrl": stack.gate.url})
    # In clear: the project's own tests are about secrets, and this stack lives for minutes.
    stack.configure({"flyToken": stack.local.settings.token})


def end_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, 10)
