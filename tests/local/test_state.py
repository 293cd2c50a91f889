"""Where a local stack keeps things, and what it never shares with another."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local import background, ports
from local.state import MARK, MARKER, LocalError, State, write_once, write_private


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_passphrase_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.create()
    first = state.passphrase.read_text()
    state.create()
    assert state.passphrase.read_text() == first
    assert len(first) >= 32
    assert stat.S_IMODE(state.passphrase.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.folder.stat().st_mode) == 0o700


def test_what_is_written_once_stays(tmp_path: Path) -> None:
    assert write_once(tmp_path / "a", "first") == "first"
    assert write_once(tmp_path / "a", "second") == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


class Crash(BaseException):
    pass


@pytest.mark.parametrize("write", [write_once, write_private])
def test_a_write_that_is_cut_off_leaves_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, str], object]
) -> None:
    def crash(descriptor: int, mode: str) -> None:
        os.close(descriptor)
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", crash)
        with pytest.raises(Crash):
            write(tmp_path / "a", "first")
    assert not (tmp_path / "a").exists()
    write(tmp_path / "a", "second")
    assert (tmp_path / "a").read_text() == "second"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("inside", ["", "work/checkout"])
def test_a_folder_that_holds_home_or_the_checkout_is_no_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("local.state.ROOT", tmp_path / inside)
    (tmp_path / MARKER).write_text(MARK)
    for folder in (Path("/"), tmp_path, tmp_path / "home"):
        with pytest.raises(LocalError, match="or holds it: name a folder of the stack's own"):
            State(folder).claim()


def test_a_folder_with_somebodys_files_is_no_stacks(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("years of work")
    (tmp_path / "settings.json").write_text('{"editor.tabSize": 4}')
    state = State(tmp_path)
    assert not state.is_ours
    with pytest.raises(LocalError, match="is not a local stack's"), state.held():
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious.txt", "settings.json"]


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/x"])
def test_a_place_where_no_folder_can_be_is_an_error_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="name another one with --state"):
        State(tmp_path / name).claim()


def test_an_empty_folder_becomes_a_stacks_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    state = State(tmp_path)
    state.create()
    state.create()
    assert state.is_ours
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_git_never_takes_a_stacks_folder(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    State(tmp_path / "stack").create()
    (tmp_path / "stack" / "secrets.json").touch()
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    staged = subprocess.run(["git", "ls-files"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert staged == ""


def test_a_wipe_takes_what_the_stack_made_and_nothing_else(tmp_path: Path) -> None:
    precious = tmp_path / "elsewhere" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    state = State(tmp_path / "stack")
    state.create()
    (state.folder / "machines").symlink_to(precious.parent)
    (state.folder / "notes.txt").write_text("mine")
    assert state.wipe() == ["notes.txt"]
    assert [path.name for path in state.folder.iterdir()] == ["notes.txt"]
    assert precious.read_text() == "years of work"


def test_a_wipe_takes_the_folder_too_when_nothing_else_is_in_it(tmp_path: Path) -> None:
    state = State(tmp_path / "stack")
    with state.held():
        state.create()
        assert state.wipe() == []
    assert not state.folder.exists()


def test_a_wipe_that_fails_says_at_what_and_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path / "stack")
    state.create()

    def busy(path: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", busy)
        with pytest.raises(LocalError, match=r"stack/backend cannot be removed: Device or resource busy"):
            state.wipe()
    assert state.is_ours
    assert state.wipe() == []


def test_only_one_command_changes_a_stack(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    with state.held():
        holder = "\n".join(
            [
                "from pathlib import Path",
                "from local.state import State",
                f"State(Path({str(state.folder)!r})).held().__enter__()",
            ]
        )
        other = subprocess.run([sys.executable, "-c", holder], capture_output=True, text=True, timeout=30, check=False)
    assert "is in use by another scripts/local command" in other.stderr
    with state.held():
        pass


def test_ports_are_free_and_differ() -> None:
    found = ports.free_ports(5)
    assert len(set(found)) == 5
    with socket.socket() as free:
        free.bind(("127.0.0.1", found[0]))


def test_two_stacks_never_share_a_network(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (ports.claim_network(tmp_path / name) for name in ("a", "b"))
    assert first != second
    assert {first, second} <= set(ports.NETWORKS)


def test_networks_of_wiped_stacks_are_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "NETWORKS", range(16, 18))
    gone = tmp_path / "gone"
    here = tmp_path / "here"
    here.mkdir()
    gone.mkdir()
    assert {ports.claim_network(gone), ports.claim_network(here)} == {16, 17}
    with pytest.raises(LocalError, match="all 2 loopback networks are claimed"):
        ports.claim_network(here)
    gone.rmdir()
    assert ports.claim_network(here) in {16, 17}


def test_a_claim_without_an_owner_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a claim that was cut off left it, before claims were written whole."""
    monkeypatch.setattr(ports, "NETWORKS", range(16, 17))
    claims = tmp_path / "cache/hotdash-llm-gateway/networks"
    claims.mkdir(parents=True)
    (claims / "16").touch()
    assert ports.claim_network(tmp_path) == 16
    assert [path.name for path in claims.iterdir()] == ["16"]


def test_a_released_network_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "NETWORKS", range(16, 17))
    ports.release_network(ports.claim_network(tmp_path))
    assert ports.claim_network(tmp_path) == 16


def test_programs_see_nothing_of_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-operator")
    monkeypatch.setenv("FLY_API_TOKEN", "operator")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert set(background.closed_environment()).isdisjoint({"OPENAI_API_KEY", "FLY_API_TOKEN", "PYTHONPATH"})
