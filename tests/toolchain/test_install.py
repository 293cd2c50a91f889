"""`scripts/install` where something is missing, and its parts where they have to find a way back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain import bootstrap, environments, project, pulumi
from toolchain.errors import ToolchainError

ROOT = Path(__file__).parents[2]
RUN_S = 60


def install(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    (path / "dirname").symlink_to(str(shutil.which("dirname")))
    (path / "cat").symlink_to(str(shutil.which("cat")))
    return subprocess.run(
        ["/bin/sh", ROOT / "scripts" / "install", *arguments],
        env={"PATH": str(path)}, capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip


def old_python(folder: Path) -> None:
    """A Python that is found and is too old: it fails the question for its version."""
    for name in ("python3", "python"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("old", [False, True])
def test_a_machine_without_python_gets_one_sentence(tmp_path: Path, old: bool) -> None:
    if old:
        old_python(tmp_path)
    answer = install(path=tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.count("\n") == 1
    assert "needs Python 3.11 or later" in answer.stderr
    assert "apt install python3" in answer.stderr


def test_help_needs_nothing(tmp_path: Path) -> None:
    answer = install("--help", path=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "--program" in answer.stdout


def test_a_python_without_venv_says_what_to_install(
    tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "find_uv", lambda: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match="apt install python3-venv"):
        environments.ensure("tools", pulumi.PLUGINS / "requirements.txt")


@pytest.mark.full
def test_pip_does_what_uv_could_not(
    tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho no such registry >&2\nexit 2\n")
    uv.chmod(0o755)
    monkeypatch.setattr(environments, "find_uv", lambda: uv)
    lock = tmp_path / "requirements.txt"
    lock.write_text("")

    environment = environments.ensure("nothing", lock)

    assert subprocess.run([environment / "bin" / "python", "-c", ""], timeout=RUN_S, check=True).returncode == 0
    said = capsys.readouterr().err
    assert "no such registry" in said
    assert "Trying pip instead" in said


def test_the_tools_lock_without_uv_lacks_uv_alone() -> None:
    lock = (ROOT / "toolchain" / "requirements.txt").read_text()
    without = bootstrap.without_uv(lock)
    names = {line.split("==")[0] for line in lock.splitlines() if "==" in line}
    assert "uv" in names
    assert {line.split("==")[0] for line in without.splitlines() if "==" in line} == names - {"uv"}
    assert without.count("--hash") < lock.count("--hash")
    assert all(line.startswith((" ", "#")) or "==" in line for line in without.splitlines() if line)


def test_the_environment_is_made_anew_when_its_lock_or_interpreter_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "VENV", tmp_path)
    monkeypatch.setattr(project, "STAMP", tmp_path / ".made-from")
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.symlink_to(sys.executable)
    assert not project.is_current("a")
    (tmp_path / ".made-from").write_text("a")
    assert project.is_current("a")
    assert not project.is_current("b")
    python.unlink()
    python.symlink_to(tmp_path / "removed")
    assert not project.is_current("a")


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [("toolchain", "requirements-dev.txt"), ("toolchain/plugins", "requirements.txt")],
)
def test_locks_agree_where_they_overlap(mine: str, theirs: str) -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = [line.split(" ")[0] for line in path.read_text().splitlines() if "==" in line.split(" ")[0]]
        return dict(line.split("==") for line in lines)

    ours, others = pins(ROOT / mine / "requirements.txt"), pins(ROOT / theirs)
    common = ours.keys() & others.keys()
    assert {"pulumi", "uv"} & common
    assert {name: ours[name] for name in common} == {name: others[name] for name in common}
