from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolchain import go, pulumi
from toolchain.errors import ToolchainError


def program(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pulumi"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_one_on_path_is_used_when_the_project_accepts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(tmp_path, "echo v3.300.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pulumi.ensure() == pulumi.Toolchain(path, [tmp_path], "3.300.1", "path")


def test_one_that_is_too_old_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path, "echo v3.100.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pulumi.installed() is None
    assert re.search(r"pulumi is 3\.100\.0.*>=3\.259\.0", capsys.readouterr().err)


def test_a_link_of_ours_counts_as_none(cache_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = program(cache_root / "pulumi-1" / "bin", "echo v3.300.1")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pulumi").symlink_to(ours)
    monkeypatch.setenv("PATH", str(tmp_path / "venv"))
    assert pulumi.installed() is None

    behind = program(tmp_path / "behind", "echo v3.300.1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'venv'}:{tmp_path / 'behind'}")
    found = pulumi.installed()
    assert found
    assert found.pulumi == behind


def test_a_broken_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(tmp_path, "exit 3")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=str(path)):
        pulumi.installed()


def test_a_machine_without_go_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(go, "USUAL_FOLDERS", ())
    with pytest.raises(ToolchainError, match=r"Install Go 1\.21 or later"):
        go.find(pulumi.PROGRAM)


def test_plugins_are_placed_where_the_engine_looks_and_official_ones_are_kept(tmp_path: Path) -> None:
    engine = pulumi.Toolchain(
        Path("pulumi"), [], "3.259.0", "built", pulumi.Parts(tmp_path / "cache entry", tmp_path / "environment")
    )
    official = tmp_path / "plugins" / f"resource-command-v{pulumi.locked('pulumi-command')}" / "pulumi-resource-command"
    official.parent.mkdir(parents=True)
    official.write_bytes(b"\x7fELF")
    random = tmp_path / "plugins" / f"resource-random-v{pulumi.locked('pulumi-random')}" / "pulumi-resource-random"
    partial = random.parent.with_name(f"{random.parent.name}.partial")
    partial.touch()

    engine.place_plugins(tmp_path)
    engine.place_plugins(tmp_path)

    assert official.read_bytes() == b"\x7fELF"
    assert random.stat().st_mode & 0o111
    assert not partial.exists()
    assert [path.name for path in random.parent.iterdir()] == ["pulumi-resource-random"]


def test_an_official_engine_finds_none_of_our_plugins(tmp_path: Path) -> None:
    built = pulumi.Toolchain(Path("pulumi"), [], "3.259.0", "built", pulumi.Parts(tmp_path / "entry", tmp_path / "env"))
    official = pulumi.Toolchain(Path("pulumi"), [], "3.300.1", "path")
    official.place_plugins(tmp_path)
    assert not list(tmp_path.iterdir())

    built.place_plugins(tmp_path)
    theirs = tmp_path / "plugins" / f"resource-random-v{pulumi.locked('pulumi-random')}" / "pulumi-resource-random"
    theirs.write_bytes(b"\x7fELF")
    official.place_plugins(tmp_path)
    assert [path.name for path in (tmp_path / "plugins").rglob("pulumi-resource-*")] == ["pulumi-resource-random"]
    assert theirs.read_bytes() == b"\x7fELF"


@pytest.mark.engine
def test_a_built_engine_needs_no_checkout(tmp_path: Path) -> None:
    engine = pulumi.built()
    engine.place_plugins(tmp_path)
    launchers = [*tmp_path.rglob("pulumi-resource-*"), *engine.pulumi.parent.glob("pulumi-*-python")]
    assert len(launchers) == 4
    for launcher in launchers:
        assert str(pulumi.ROOT) not in launcher.read_text()
