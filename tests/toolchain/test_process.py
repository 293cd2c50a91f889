from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from toolchain import process
from toolchain.errors import ToolchainError

DEADLINE_S = 30


def test_a_failure_shows_the_end_of_the_log_and_keeps_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "import sys; print('one\\n' * 100); print('the cause', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ToolchainError) as caught:
        process.run([sys.executable, "-c", script], title="Making it", log=log, deadline_s=DEADLINE_S)
    message = str(caught.value)
    assert "Making it" in message
    assert "exit code 3" in message
    assert "the cause" in message
    assert str(log) in message
    assert message.count("one") < 20
    assert log.read_text().count("one") == 100


def test_a_deadline_ends_the_program_and_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(ToolchainError, match="not done after"):
        process.run(
            ["/bin/sh", "-c", f"sleep 600 & echo $! > {pid}; wait"], title="It", log=tmp_path / "log", deadline_s=0.5
        )
    child = int(pid.read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_what_redirects_python_stays_out_and_what_finds_registries_goes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    monkeypatch.setenv("UV_PYTHON", "3.8")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    environment = process.clean_environment()
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "UV_PYTHON"} & environment.keys()
    assert environment["PIP_INDEX_URL"] == "https://mirror.example/simple"
