"""`scripts/local` without a running stack: what it refuses, and how it says so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from local import cli

REFUSED = 1
MISUSED = 2


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
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
        return Done(ended.value.code, *capsys.readouterr())

    return run


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
