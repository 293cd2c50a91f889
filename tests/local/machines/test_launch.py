"""Fly's rules for commands and images, and small text formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.contract import LaunchError
from local.machines.durations import seconds
from local.machines.images import KNOWN, Image, find, interpreter, repository
from local.machines.launch import command
from local.machines.names import hosts_file, publish
from local.machines.root import Bind
from local.machines.shim.logfile import LONGEST_LINE, LogFile

IMAGE = Image(entrypoint=("start",), cmd=("--all",))


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (None, ["start", "--all"]),
        ({}, ["start", "--all"]),
        ({"cmd": ["--one"]}, ["start", "--one"]),
        ({"entrypoint": ["other"]}, ["other", "--all"]),
        ({"entrypoint": ["other"], "cmd": ["--one"]}, ["other", "--one"]),
        ({"exec": ["sh"], "entrypoint": ["other"], "cmd": ["--one"]}, ["sh"]),
    ],
)
def test_init_overrides_the_image(init: dict[str, list[str]] | None, expected: list[str]) -> None:
    assert command({"image": "x", "init": init}, IMAGE) == expected


def test_no_command_at_all() -> None:
    with pytest.raises(LaunchError, match="image 'x' has no command"):
        command({"image": "x"}, Image())


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("caddy", "caddy"),
        ("caddy:2.10.2", "caddy"),
        ("docker.io/library/caddy:2@sha256:aa", "caddy"),
        ("index.docker.io/library/caddy", "caddy"),
        ("ghcr.io/berriai/litellm:main-v1.106.2@sha256:aa", "ghcr.io/berriai/litellm"),
        ("localhost:5000/caddy:2", "localhost:5000/caddy"),
    ],
)
def test_tags_and_digests_do_not_matter(reference: str, name: str) -> None:
    assert repository(reference) == name


def test_an_unknown_image_lists_the_known_ones() -> None:
    with pytest.raises(LaunchError) as caught:
        find("nginx:1.29", KNOWN)
    assert all(name in str(caught.value) for name in ("nginx:1.29", *KNOWN))


def test_every_step_to_an_interpreter_is_shown(tmp_path: Path) -> None:
    real, alias, venv = tmp_path / "cpython-3.11.7", tmp_path / "cpython-3.11", tmp_path / "venv"
    (real / "bin").mkdir(parents=True)
    (real / "bin" / "python3.11").touch()
    alias.symlink_to(real.name)
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(alias / "bin" / "python3.11")
    (venv / "pyvenv.cfg").write_text(f"home = {alias}/bin\n")
    assert interpreter(venv) == {str(alias): Bind(alias), str(real): Bind(real)}
    (venv / "pyvenv.cfg").write_text("version = 3.11\n")
    with pytest.raises(LaunchError, match="no virtual environment"):
        interpreter(venv)


def test_an_interpreter_below_usr_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/usr/bin/env")
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n")
    assert interpreter(tmp_path) == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [("15s", 15), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), (2_000_000_000, 2), (None, 7), ("", 7), ("0s", 0)],
)
def test_durations(value: str | int | None, expected: float) -> None:
    assert seconds(value, default=7) == pytest.approx(expected)


@pytest.mark.parametrize("value", ["15", "s", "15 s", "1d", "-1s"])
def test_what_is_no_duration(value: str) -> None:
    with pytest.raises(ValueError, match="must be like 15s"):
        seconds(value, default=7)


def test_a_name_has_one_line_per_address() -> None:
    assert hosts_file("127.1.0.1", ["m1"], {"b.internal": ["127.1.0.3"], "a.internal": ["127.1.0.1", "127.1.0.2"]}) == (
        "127.0.0.1 localhost\n"
        "127.1.0.1 fly-local-6pn m1\n"
        "127.1.0.1 a.internal\n"
        "127.1.0.2 a.internal\n"
        "127.1.0.3 b.internal\n"
    )


def test_names_are_replaced_whole(tmp_path: Path) -> None:
    publish(tmp_path / "names", "old\n")
    with (tmp_path / "names" / "hosts").open() as reader:
        publish(tmp_path / "names", "new\n")
        assert reader.read() == "old\n"
    assert (tmp_path / "names" / "hosts").read_text() == "new\n"


def words(path: Path) -> list[str]:
    return [line.split(" ", 1)[1] for line in path.read_text().splitlines()]


def test_a_log_takes_lines_in_pieces(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), limit=1000)
    log.write(b"one\nt")
    assert words(tmp_path / "log") == ["one"]
    log.write(b"wo\r\nthree")
    log.close()
    assert words(tmp_path / "log") == ["one", "two", "three"]


def test_a_log_keeps_two_files_of_bounded_size(tmp_path: Path) -> None:
    limit = 2000
    log = LogFile(str(tmp_path / "log"), limit)
    for number in range(200):
        log.write(b"line %d\n" % number)
    log.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"log", "log.1"}
    assert 0 < sizes["log"] <= limit
    assert limit - 50 < sizes["log.1"] <= limit
    assert words(tmp_path / "log")[-1] == "line 199"


def test_a_line_without_an_end_is_cut(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), limit=10 * LONGEST_LINE)
    for _ in range(3):
        log.write(b"x" * (LONGEST_LINE // 2))
    log.close()
    assert words(tmp_path / "log") == ["x" * LONGEST_LINE, "x" * (LONGEST_LINE // 2)]


def test_a_log_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        log = LogFile(str(tmp_path / "log"), limit=1000)
        log.write(text)
        log.close()
    assert words(tmp_path / "log") == ["first", "second"]
