from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain import cache

ROOT = Path(__file__).parents[2]
WAIT_S = 20

MAKER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from toolchain import cache, process

def make(folder):
    (folder / "half").touch()
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    print("making", flush=True)
    sys.stdin.readline()

process.leave_on_sigterm()
print(cache.entry("thing-1", make), flush=True)
"""


def maker(log: Path) -> subprocess.Popen[str]:
    """A process that wants the entry, and finishes it when it is sent a line."""
    return subprocess.Popen(
        [sys.executable, "-c", MAKER, str(ROOT), str(log)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_two_at_once_make_an_entry_once(cache_root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = maker(log)
    assert line(first) == "making"
    second = maker(log)
    assert second.stderr
    assert "waiting" in second.stderr.readline()

    first.communicate("\n", timeout=WAIT_S)

    assert second.communicate(timeout=WAIT_S)[0].strip() == str(cache_root / "thing-1")
    assert log.read_text() == "made\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_maker_leaves_nothing(cache_root: Path, tmp_path: Path, number: signal.Signals) -> None:
    interrupted = maker(tmp_path / "log")
    assert line(interrupted) == "making"
    interrupted.send_signal(number)
    interrupted.communicate(timeout=WAIT_S)

    assert [path.name for path in cache_root.iterdir()] == ["thing-1.lock"]


def test_what_a_killed_maker_left_is_made_anew(cache_root: Path, tmp_path: Path) -> None:
    killed = maker(tmp_path / "log")
    assert line(killed) == "making"
    killed.kill()
    killed.communicate(timeout=WAIT_S)
    assert cache.present("thing-1") is None

    entry = cache.entry("thing-1", lambda folder: (folder / "whole").touch())

    assert [path.name for path in entry.iterdir()] == ["whole"]


def test_a_failed_maker_leaves_nothing_and_its_error_is_seen(cache_root: Path) -> None:
    def fail(folder: Path) -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        cache.entry("thing-1", fail)
    assert [path.name for path in cache_root.iterdir()] == ["thing-1.lock"]


def test_a_key_follows_every_ingredient_and_its_boundaries(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.write_text("a")
    keys = {cache.key(file), cache.key(file, "c"), cache.key("ab"), cache.key("a", "b"), cache.key("b", "a")}
    assert len(keys) == 5
    file.write_text("b")
    assert cache.key(file) == cache.key(b"b")


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache.root() == tmp_path / ".cache" / "hotdash-llm-gateway"
