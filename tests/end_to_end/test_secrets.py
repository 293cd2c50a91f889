"""After a full run no secret is in clear anywhere but where it must be: searched for literally."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.local import SHOWN, Local

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("stack")]


@pytest.fixture(scope="module")
def secrets(local: Local) -> dict[str, str]:
    """Every generated or configured secret of the stack, by name."""
    outputs = json.loads(local.pulumi("stack", "output", "--json", "--show-secrets").out)
    config = json.loads(local.pulumi("config", "--json", "--show-secrets").out)
    found = {f"team {team}": key for team, key in outputs["team_keys"].items()}
    found |= {"master": outputs["master_key"], "redis": outputs["redis_url"].split(":")[2].split("@")[0]}
    found |= {key.split(":")[1]: entry["value"] for key, entry in config.items() if entry["secret"]}
    assert len(found) == 8, sorted(found)
    return found


def appearances(secrets: dict[str, str], content: bytes) -> list[str]:
    """Names of the secrets that stand in `content`, in clear or as base64, whatever stands before them there."""
    return [
        name
        for name, value in secrets.items()
        if value.encode() in content or any(form in content for form in encoded(value.encode()))
    ]


def encoded(value: bytes) -> list[bytes]:
    """The parts of the base64 of `value` that do not depend on its neighbours, at each of the three alignments."""
    return [base64.b64encode(b"x" * shift + value)[4 * (shift > 0) : -4] for shift in range(3)]


def files_below(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_the_search_finds_a_planted_secret() -> None:
    assert appearances({"a": "sk-planted"}, b"x sk-planted x") == ["a"]
    for before in (b"", b"x", b"xy", b"xyz"):
        assert appearances({"a": "sk-planted-key"}, base64.b64encode(before + b"sk-planted-key, more")) == ["a"]
    assert appearances({"a": "sk-planted-key"}, base64.b64encode(b"sk-another-key")) == []


def test_no_secret_in_state_or_stack_file(local: Local, secrets: dict[str, str]) -> None:
    files = [*files_below(local.folder / "backend"), local.folder / "Pulumi.local.yaml"]
    assert len(files) > 2
    assert {str(path): found for path in files if (found := appearances(secrets, path.read_bytes()))} == {}


def test_no_secret_in_any_log(local: Local, secrets: dict[str, str]) -> None:
    logs = list(files_below(local.folder / "logs"))
    logs += [Path(machine["log"]) for machine in local.status()["machines"]]
    assert {path.name for path in logs} >= {"fly.log", "provider.log"}
    assert {str(path): found for path in logs if (found := appearances(secrets, path.read_bytes()))} == {}


def test_no_secret_in_an_argument_list(local: Local, secrets: dict[str, str]) -> None:
    arguments = "\0".join(" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
    assert str(local.folder) in arguments, "the stack runs while we look"
    assert appearances(secrets, arguments.encode()) == []


def test_no_secret_in_the_event_log_of_a_debugged_up(local: Local, secrets: dict[str, str], tmp_path: Path) -> None:
    events = tmp_path / "events.json"
    local.pulumi("config", "set", "readinessTimeoutSeconds", "299")  # something to do
    local.environment["PULUMI_DEBUG_COMMANDS"] = "true"  # where the engine hides --event-log
    out = local.pulumi("up", "--yes", "--skip-preview", "--event-log", str(events), "--debug").out
    del local.environment["PULUMI_DEBUG_COMMANDS"]
    assert appearances(secrets, out.encode()) == []
    assert appearances(secrets, events.read_bytes()) == []


def test_only_the_gateway_is_given_the_apps_secrets(local: Local, secrets: dict[str, str]) -> None:
    given = {
        group: appearances(secrets, Path(f"/proc/{machine['pid']}/environ").read_bytes())
        for group in ("edge", "gateway")
        for machine in local.machines(group)
    }
    assert given["edge"] == [], "the machine the world reaches first"
    assert set(given["gateway"]) == {"master", "openaiApiKey", "redis"}, "team keys arrive as hashes only"


def test_no_secret_in_what_tests_can_show(local: Local, secrets: dict[str, str]) -> None:
    local.run("status")
    asked_for = {"env", "--show-secrets"}  # commands whose purpose is to print one
    shown = [out for command, out in SHOWN if asked_for.isdisjoint(command)]
    assert shown
    assert appearances(secrets, "".join(shown).encode()) == []


def test_secrets_are_in_clear_only_where_they_are_kept(local: Local, secrets: dict[str, str]) -> None:
    """No rendered file, nor any other, outside the machines' own roots, which are in memory."""
    holders = {path.name for path in files_below(local.folder) if appearances(secrets, path.read_bytes())}
    assert holders <= {"settings.json", "key", "fly.sqlite", "fly.sqlite-wal"}


def test_secrets_are_kept_by_the_owner_only(local: Local, secrets: dict[str, str]) -> None:
    """Whatever file of the stack holds one is closed to others, and its folder too."""
    readable = [
        path
        for path in files_below(local.folder)
        if appearances(secrets, path.read_bytes()) and path.stat().st_mode & 0o077
    ]
    assert readable == []
    assert local.folder.stat().st_mode & 0o077 == 0


def test_no_secret_in_the_outputs_of_commands(local: Local, secrets: dict[str, str]) -> None:
    for arguments in (["status"], ["logs", "gateway"], ["logs", "fly"], ["logs", "provider"]):
        assert appearances(secrets, local.run(*arguments).out.encode()) == [], arguments
    for arguments in (["stack", "output"], ["stack", "export"], ["preview", "--diff"], ["config"]):
        assert appearances(secrets, local.pulumi(*arguments).out.encode()) == [], arguments
