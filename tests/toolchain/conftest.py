"""A cache of the test's own, and plugins as the engine starts them."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from toolchain import environments, pulumi

ANSWER_TIMEOUT_S = 20
NO_ENGINE = "127.0.0.1:1"


@pytest.fixture
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hotdash-llm-gateway"


class Watched:
    """A process that is no child of the test: it may become one of init's, which reaps when it likes."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    def wait_for_end(self) -> None:
        """Fails when it does not end in time. A zombie has ended."""
        ended, _, _ = select.select([self._descriptor], [], [], ANSWER_TIMEOUT_S)
        os.close(self._descriptor)
        assert ended, "the process goes on"


@dataclass
class Plugin:
    """A running plugin."""

    process: subprocess.Popen[str]
    channel: grpc.Channel


Start = Callable[..., Plugin]


@pytest.fixture(scope="session")
def plugin_environment() -> Path:
    """What `scripts/install` makes for the plugins of a built engine."""
    return environments.ensure("pulumi-plugins", pulumi.PLUGINS / "requirements.txt")


@pytest.fixture(scope="session")
def start_plugin(plugin_environment: Path) -> Iterator[Start]:
    """Starts a plugin of the checkout as its launcher would."""
    started: list[Plugin] = []

    def start(name: str, *arguments: str, engine: str = NO_ENGINE) -> Plugin:
        process = subprocess.Popen(
            [plugin_environment / "bin" / "python", "-I", pulumi.PLUGINS / "__main__.py", name, *arguments, engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        assert process.stdout
        port = process.stdout.readline().strip()
        assert port.isdigit(), process.communicate()[1]
        plugin = Plugin(process, grpc.insecure_channel(f"127.0.0.1:{port}"))
        started.append(plugin)
        return plugin

    yield start
    for plugin in started:
        plugin.channel.close()
        plugin.process.terminate()
        plugin.process.communicate(timeout=ANSWER_TIMEOUT_S)
