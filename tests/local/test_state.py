"""Where a local stack keeps things, and what it never shares with another."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local import background, ports
from local.state import LocalError, State, write_once


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


def test_a_released_network_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "NETWORKS", range(16, 17))
    ports.release_network(ports.claim_network(tmp_path))
    assert ports.claim_network(tmp_path) == 16


# Outliving whoever started it is its purpose.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_background_program_is_known_again_and_ends(tmp_path: Path) -> None:
    record = tmp_path / "pid.json"
    program = [sys.executable, "-c", "import signal; signal.pause()"]
    background.start(program, record=record, log=tmp_path / "log", environment=background.closed_environment())
    process = background.running(record)
    assert process is not None
    background.stop(record)
    assert not process.is_running()
    assert background.running(record) is None
    background.stop(record)


def test_a_foreign_process_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    record = tmp_path / "pid.json"
    record.write_text(f'{{"pid": {os.getpid()}, "started": 1.0}}')
    assert background.running(record) is None
    background.stop(record)


def test_programs_see_nothing_of_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-operator")
    monkeypatch.setenv("FLY_API_TOKEN", "operator")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert set(background.closed_environment()).isdisjoint({"OPENAI_API_KEY", "FLY_API_TOKEN", "PYTHONPATH"})
