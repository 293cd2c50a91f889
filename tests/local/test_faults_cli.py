"""`scripts/local faults` against a running API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from local import faults_cli, settings
from local.fly.faults import KINDS
from local.state import LocalError
from tests.local.fly.conftest import SETTINGS, Fly, serving
from tests.local.fly.fake_platform import Computer

Run = Callable[..., Awaitable[str]]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults_cli, "show", Console(highlight=False, markup=False, width=200))


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Fly]:
    async with serving(SETTINGS, tmp_path / "fly", Computer()) as running:
        settings.save(tmp_path, replace(SETTINGS, api_port=running.http.base_url.port or 0))
        yield running


def invoke(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(faults_cli.app, [*arguments, "--state", str(state)])


@pytest.fixture
def run(fly: Fly, tmp_path: Path) -> Run:
    async def run(*arguments: str) -> str:
        result = await asyncio.to_thread(invoke, tmp_path, *arguments)
        if result.exception is not None:
            raise result.exception
        return result.output

    return run


async def test_a_rule_is_made_fires_is_listed_and_cleared(fly: Fly, run: Run) -> None:
    assert "behaves" in await run("list")
    assert "rule 1: resets the connection" in await run("add", "reset", "post", "/v1/apps", "--times", "2")
    with pytest.raises(httpx.ReadError):
        await fly.app()
    row = next(line for line in (await run("list")).splitlines() if "reset" in line)
    assert [cell.strip() for cell in row.split("\u2502")[1:4]] == ["1", "reset", "1"]
    assert "method=POST path=/v1/apps times=2 when=after" in row
    await run("clear")
    assert "behaves" in await run("list")


async def test_every_option_reaches_the_rule(fly: Fly, run: Run) -> None:
    await run("add", "error", "--regex", "/v1/.*", "--nth", "2", "--when", "after", "--status", "503")
    await run("add", "delay", "--operation", "query addOn", "--call", "3", "--seconds", "0.5")
    await run("add", "check_fails", "--object", "web")
    listed = (await fly.http.get("/_embedded/faults")).json()
    assert listed == [
        {"id": 1, "kind": "error", "when": "after", "regex": "/v1/.*", "nth": 2, "status": 503, "fired": 0},
        {"id": 2, "kind": "delay", "when": "before", "operation": "query addOn", "call": 3, "seconds": 0.5, "fired": 0},
        {"id": 3, "kind": "check_fails", "object": "web", "fired": 0},
    ]


async def test_calls_since_the_mark(fly: Fly, run: Run) -> None:
    await fly.app()
    await run("calls", "--mark")
    await fly.graphql("{organization {id}}")
    await run("add", "refuse")
    with pytest.raises(httpx.RemoteProtocolError):
        await fly.http.get("/v1/apps/shop")
    rows = [[cell.strip() for cell in line.split("\u2502")[1:-1]] for line in (await run("calls")).splitlines()]
    assert [row for row in rows if len(row) == 5] == [
        ["1", "POST", "query organization", "200", ""],
        ["2", "GET", "/v1/apps/{app}", "-", "refuse"],
    ]


async def test_a_rule_that_makes_no_sense_is_an_error_that_says_so(run: Run) -> None:
    with pytest.raises(LocalError, match="truncate fires after"):
        await run("add", "truncate", "--when", "before")


def test_where_nothing_is_or_runs(tmp_path: Path) -> None:
    assert "there is no local stack" in str(invoke(tmp_path, "list").exception)
    settings.save(tmp_path, replace(SETTINGS, api_port=1))
    assert "does not answer; `scripts/local up` starts it" in str(invoke(tmp_path, "list").exception)


def test_the_help_teaches_every_kind() -> None:
    text = CliRunner().invoke(faults_cli.app, ["--help"], env={"COLUMNS": "200"}).output
    assert [kind for kind in KINDS if f"  {kind} " not in text] == []
    assert "scripts/local faults add reset POST '/v1/apps/{app}/machines'" in text
