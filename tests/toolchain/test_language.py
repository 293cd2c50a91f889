"""Our language host, driven as the engine drives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import language_pb2 as messages
from pulumi.runtime.proto import language_pb2_grpc as service

from tests.toolchain.conftest import ANSWER_TIMEOUT_S, Plugin, Start, Watched
from toolchain import pulumi

VENV = Path(sys.prefix)

# Stands where Pulumi's executor stands, and reports what the host gave it.
EXECUTOR = """
import json, os, pathlib, sys, time
report = {"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd(), "pid": os.getpid()}
print("hello from the program", flush=True)
pathlib.Path("report.json").write_text(json.dumps(report))
what = os.environ["PULUMI_CONFIG"]
what = json.loads(what).get("p:do", "0")
if what == "wait":
    print("waiting", flush=True)
    time.sleep(600)
if what == "die":
    os.abort()
sys.exit(int(what))
"""


class Host:
    """The plugin, in the words of the engine's protocol."""

    def __init__(self, start: Start, folder: Path) -> None:
        (folder / "executor.py").write_text(EXECUTOR)
        self.folder = folder
        self.plugin: Plugin = start("language", str(folder / "executor.py"), engine="127.0.0.1:4711")
        self.stub = service.LanguageRuntimeStub(self.plugin.channel)

    def info(self, **options: str) -> messages.ProgramInfo:
        struct = struct_pb2.Struct()
        struct.update(options or {"toolchain": "pip", "virtualenv": str(VENV)})
        return messages.ProgramInfo(
            root_directory=str(self.folder), program_directory=str(self.folder), entry_point=".", options=struct
        )

    def run(self, **config: str) -> Any:
        """The call under way; `result()` is the answer."""
        request = messages.RunRequest(
            info=self.info(), project="p", stack="dev", pwd=str(self.folder), program=".", parallel=7, dryRun=True,
            organization="me", monitor_address="127.0.0.1:4712", args=["more"],
            config={f"p:{name}": value for name, value in config.items()}, configSecretKeys=["p:token"],
        )  # fmt: skip
        return self.stub.Run.future(request, timeout=ANSWER_TIMEOUT_S)

    def waiting_program(self) -> tuple[Any, Watched]:
        call = self.run(do="wait")
        output = self.plugin.process.stdout
        assert output
        assert [output.readline(), output.readline()] == ["hello from the program\n", "waiting\n"]
        return call, Watched(json.loads((self.folder / "report.json").read_text())["pid"])


@pytest.fixture(scope="module")
def host(start_plugin: Start, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host shared by the tests that leave it alive."""
    return Host(start_plugin, tmp_path_factory.mktemp("host"))


@pytest.fixture
def own_host(start_plugin: Start, tmp_path: Path) -> Host:
    """A host to end."""
    return Host(start_plugin, tmp_path)


def test_a_program_gets_what_the_executor_and_the_sdk_need(host: Host) -> None:
    answer = host.run(token="t").result()
    assert (answer.error, answer.bail) == ("", False)

    report = json.loads((host.folder / "report.json").read_text())
    arguments = report["arguments"]
    named = dict(zip(arguments[0:-2:2], arguments[1:-2:2], strict=True))
    assert named == {
        "--monitor": "127.0.0.1:4712", "--engine": "127.0.0.1:4711", "--project": "p", "--stack": "dev",
        "--pwd": str(host.folder), "--dry_run": "true", "--parallel": "7", "--organization": "me",
        "--root_directory": str(host.folder),
    }  # fmt: skip
    assert arguments[-2:] == [str(host.folder), "more"]
    assert report["folder"] == str(host.folder)
    environment = report["environment"]
    assert json.loads(environment["PULUMI_CONFIG"]) == {"p:token": "t"}
    assert json.loads(environment["PULUMI_CONFIG_SECRET_KEYS"]) == ["p:token"]
    assert environment["VIRTUAL_ENV"] == str(VENV)
    assert environment["PATH"].split(os.pathsep)[0] == str(VENV / "bin")


@pytest.mark.parametrize(
    ("do", "bail", "error"),
    [
        ("32", True, ""),
        ("1", False, "The program exited with code 1; what it printed is above."),
        ("die", False, "The program was ended by SIGABRT; what it printed is above."),
    ],
)
def test_how_a_program_ends_is_how_the_engine_hears_it(host: Host, do: str, bail: bool, error: str) -> None:
    answer = host.run(do=do).result()
    assert (answer.bail, answer.error) == (bail, error)


def test_a_cancelled_call_ends_the_program(own_host: Host) -> None:
    call, program = own_host.waiting_program()
    call.cancel()
    program.wait_for_end()


def test_cancel_ends_programs_and_starts_no_more(own_host: Host) -> None:
    call, program = own_host.waiting_program()
    own_host.stub.Cancel(empty_pb2.Empty(), timeout=ANSWER_TIMEOUT_S)
    program.wait_for_end()
    assert "SIGTERM" in call.result().error
    with pytest.raises(grpc.RpcError, match="cancelled before the program began"):
        own_host.run().result()


@pytest.mark.parametrize("way", ["SIGINT", "SIGTERM", "engine gone"])
def test_the_host_takes_its_program_with_it_and_is_quiet(own_host: Host, way: str) -> None:
    call, program = own_host.waiting_program()
    process = own_host.plugin.process
    if way == "engine gone":
        assert process.stdin
        process.stdin.close()
        process.stdin = None
    else:
        # To the group, as the engine does it.
        os.killpg(process.pid, signal.Signals[way])
    stdout, stderr = process.communicate(timeout=ANSWER_TIMEOUT_S)
    program.wait_for_end()
    call.exception()  # an answer or a broken connection: both end the wait
    assert (process.returncode, stdout, stderr) == (0, "", "")


def test_required_plugins_are_those_of_the_installed_packages(host: Host) -> None:
    answer = host.stub.GetRequiredPackages(
        messages.GetRequiredPackagesRequest(info=host.info()), timeout=ANSWER_TIMEOUT_S
    )
    assert {(package.kind, package.name, package.version) for package in answer.packages} == {
        ("resource", "command", pulumi.locked("pulumi-command")),
        ("resource", "random", pulumi.locked("pulumi-random")),
    }


@pytest.mark.parametrize(("transitive", "flags"), [(True, []), (False, ["--not-required"])])
def test_dependencies_are_those_pip_lists(host: Host, transitive: bool, flags: list[str]) -> None:
    request = messages.GetProgramDependenciesRequest(info=host.info(), transitiveDependencies=transitive)
    answer = host.stub.GetProgramDependencies(request, timeout=ANSWER_TIMEOUT_S)
    listed = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "list", "--format=json", "--disable-pip-version-check", *flags],
        capture_output=True, timeout=ANSWER_TIMEOUT_S, check=True,
    )  # fmt: skip
    expected = {(each["name"], each["version"]) for each in json.loads(listed.stdout)}
    assert {(each.name, each.version) for each in answer.dependencies} == expected


def test_about_names_the_program_environment(host: Host) -> None:
    answer = host.stub.About(messages.AboutRequest(info=host.info()), timeout=ANSWER_TIMEOUT_S)
    assert answer.executable == str(VENV / "bin" / "python")
    assert answer.version == sys.version.split()[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"toolchain": "pip"}, "set `virtualenv`"),
        ({"virtualenv": "gone"}, "gone.* does not exist"),
        ({"virtualenv": ".venv", "toolchain": "poetry"}, "`toolchain: poetry` is beyond"),
        ({"virtualenv": ".venv", "typechecker": "mypy"}, "`typechecker: mypy` is beyond"),
    ],
)
def test_what_the_host_cannot_do_it_says(host: Host, options: dict[str, str], message: str) -> None:
    request = messages.GetRequiredPackagesRequest(info=host.info(**options))
    with pytest.raises(grpc.RpcError, match=message):
        host.stub.GetRequiredPackages(request, timeout=ANSWER_TIMEOUT_S)


def pulumi_install(host: Host, environment: Path, folder: Path) -> str:
    info = host.info(virtualenv=str(environment))
    info.program_directory = str(folder)
    request = messages.InstallDependenciesRequest(info=info)
    answers = host.stub.InstallDependencies(request, timeout=ANSWER_TIMEOUT_S)
    return b"".join(answer.stdout for answer in answers).decode()


@pytest.mark.full
def test_pulumi_install_shows_what_pip_does(host: Host, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pip\n")
    assert "already satisfied: pip" in pulumi_install(host, VENV, tmp_path)

    (tmp_path / "requirements.txt").write_text("./missing\n")
    with pytest.raises(grpc.RpcError, match=r"pip install .* exited with code 1"):
        pulumi_install(host, VENV, tmp_path)


@pytest.mark.full
def test_pulumi_install_makes_a_missing_environment(host: Host, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pip\n")
    pulumi_install(host, tmp_path / "venv", tmp_path)
    assert (tmp_path / "venv" / "bin" / "python").exists()


def test_a_relative_environment_is_below_the_project(host: Host) -> None:
    (host.folder / "mine").symlink_to(VENV)
    answer = host.stub.About(messages.AboutRequest(info=host.info(virtualenv="mine")), timeout=ANSWER_TIMEOUT_S)
    assert answer.executable == str(host.folder / "mine" / "bin" / "python")
