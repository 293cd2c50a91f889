"""`scripts/local` without a running stack: what it refuses, and how it says so."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local import cli
from local.pulumi_stack import PulumiStack
from local.stack import LocalStack
from local.state import ROOT, State

REFUSED = 1
MISUSED = 2


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """`python -m local …`, called in `tmp_path/here`."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["local", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Done(ended.value.code, *capfd.readouterr())

    umask = os.umask(0o022)
    yield run
    os.umask(umask)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("command", ["up", "reset", "down", "status"])
def test_an_empty_name_is_no_folder(run: Run, command: str) -> None:
    Path("precious.txt").touch()
    done = run(command, "--state", "")
    assert done.code == MISUSED
    assert "the name is empty" in done.err
    assert names(Path()) == ["precious.txt"]


@pytest.mark.parametrize("command", ["up", "reset"])
def test_somebodys_folder_is_left_alone(run: Run, command: str) -> None:
    Path("precious.txt").touch()
    done = run(command, "--state", ".")
    assert done.code == REFUSED
    assert f"error: {Path.cwd()} holds files and is not a local stack's" in done.err
    assert names(Path()) == ["precious.txt"]


def test_a_reset_of_nothing_makes_nothing(run: Run) -> None:
    assert run("reset", "--state", "stack").code == 0
    assert names(Path()) == []


@pytest.fixture
def stack(run: Run) -> LocalStack:
    """One that is down, in the folder `stack` of the caller's."""
    made = LocalStack(State(Path.cwd() / "stack"))
    assert made.settings
    return made


def with_outputs(monkeypatch: pytest.MonkeyPatch, outputs: dict[str, object]) -> None:
    monkeypatch.setattr(PulumiStack, "outputs", lambda _: outputs)


def test_words_in_brackets_are_printed_as_they_are(
    run: Run, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_outputs(monkeypatch, {"team_keys": {"prod[/]": "sk-1"}})
    done = run("key", "a[/]b", "--state", "stack")
    assert done.code == REFUSED
    assert done.err == "error: no team 'a[/]b'; there are prod[/]\n"


def test_after_a_destroy_no_team_has_a_key(run: Run, stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    with_outputs(monkeypatch, {"team_keys": "04da6b54-80e4-46f7-96ec-b56ff0331ba9"})
    assert stack.describe()["teams"] == {}
    done = run("key", "04", "--state", "stack")
    assert done.code == REFUSED
    assert "there are none yet" in done.err
    assert done.out == ""


def test_logs_of_a_group_are_found_when_nothing_runs(run: Run, stack: LocalStack) -> None:
    logs = stack.state.logs / "shop"
    logs.mkdir()
    (logs / "gateway-68d1.log").write_text("of the gateway\n")
    (logs / "gateway-two-68d2.log").write_text("of another group\n")
    done = run("logs", "gateway", "--state", "stack")
    assert (done.code, done.out) == (0, "of the gateway\n")
    assert "there are fly, gateway, gateway-two, provider" in run("logs", "edge", "--state", "stack").err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"api_port": 1}'])
def test_broken_settings_are_an_error_and_reset_still_works(run: Run, stack: LocalStack, text: str) -> None:
    stack.state.settings.write_text(text)
    done = run("status", "--state", "stack")
    assert done.code == REFUSED
    assert done.err.startswith(f"error: {stack.state.settings}: ")
    assert "`scripts/local reset`" in done.err
    assert run("reset", "--state", "stack").code == 0
    assert names(Path()) == []


# Outliving whoever started it is the embedded Fly's purpose.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_broken_stack_file_is_an_error(run: Run, stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.state.stack_file.write_text("config: [")
    with_outputs(monkeypatch, {})
    stack.start_fly()
    try:
        assert f"error: {stack.state.stack_file} is no valid YAML" in run("status", "--state", "stack").err
    finally:
        stack.kill()


@pytest.mark.parametrize("name", ["/etc/passwd", "/proc/x"])
def test_a_place_where_no_folder_can_be(run: Run, name: str) -> None:
    done = run("up", "--state", name)
    assert done.code == REFUSED
    assert done.err.startswith(f"error: {name} ")


def test_what_a_stack_did_not_make_is_kept_and_named(run: Run, stack: LocalStack) -> None:
    (stack.state.folder / "notes [1].txt").touch()
    done = run("reset", "--state", "stack")
    assert done.code == 0
    assert f"{stack.state.folder} stays, for what is not the stack's: notes [1].txt" in done.err
    assert names(stack.state.folder) == ["notes [1].txt"]


def test_files_are_for_their_owner_only(run: Run) -> None:
    run("status", "--state", "stack")
    Path("made").touch()
    assert stat.S_IMODE(Path("made").stat().st_mode) == 0o600


@pytest.mark.parametrize(("folder", "program"), [(ROOT, "scripts/local"), (Path("/"), str(ROOT / "scripts/local"))])
def test_the_printed_line_works_where_the_caller_is(
    stack: LocalStack,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    folder: Path,
    program: str,
) -> None:
    monkeypatch.chdir(folder)
    cli.print_summary(stack)
    assert f"$({shlex.quote(program)} key prod_customer --state {stack.state.folder})" in capfd.readouterr().out


def test_a_state_is_relative_to_the_callers_folder(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "__init__.py").write_text("raise AssertionError('imported from the caller')")
    done = subprocess.run(
        [ROOT / "scripts/local", "status", "--state", "stack"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr.endswith(f"error: there is no local stack in {tmp_path}/stack; `scripts/local up` makes one\n")
