"""A local stack as a person has it: commands, Pulumi, requests, and Fly's API behind the program's back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import yaml

ROOT = Path(__file__).parent.parent.parent
UP_TIMEOUT_S = 300
DEFAULTS: dict[str, Any] = {
    key: entry.get("default") for key, entry in yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"].items()
}
SHOWN: list[tuple[list[str], str]] = []
"""Every command these tests ran and what it printed: all that they could show when they fail."""
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello, who answers?"}]}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    """stdout and stderr, as a person sees them."""


@dataclass(frozen=True)
class Local:
    """One local stack in a folder of its own."""

    folder: Path

    def run(self, *arguments: str, timeout_s: float = UP_TIMEOUT_S, check: bool = True) -> Done:
        """`scripts/local …` on this stack, without a terminal and without the operator's provider key."""
        command, *rest = arguments
        return finished(
            [str(ROOT / "scripts/local"), command, "--state", str(self.folder), *rest],
            environment={k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"},
            timeout_s=timeout_s,
            check=check,
        )

    def pulumi(self, *arguments: str, timeout_s: float = UP_TIMEOUT_S, check: bool = True) -> Done:
        """`pulumi …` as after `eval "$(scripts/local env)"`."""
        command = ["pulumi", *arguments, "--non-interactive"]
        return finished(command, environment=self.environment, timeout_s=timeout_s, check=check)

    @cached_property
    def environment(self) -> dict[str, str]:
        printed = subprocess.run(
            ["bash", "-c", 'eval "$1" && env -0', "bash", self.run("env").out],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return dict(line.split("=", 1) for line in printed.split("\0") if "=" in line)

    def configure(self, key: str, value: object) -> None:
        """As a person edits the stack's file; None removes the key, so that Pulumi.yaml's default counts again."""
        file = Path(self.environment["PULUMI_OPTION_CONFIG_FILE"])
        document = yaml.safe_load(file.read_text())
        document["config"].pop(f"hotdash-llm-gateway:{key}", None)
        if value is not None:
            document["config"][f"hotdash-llm-gateway:{key}"] = value
        file.write_text(yaml.safe_dump(document))

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(
            subprocess.run(
                [ROOT / "scripts/local", "status", "--state", str(self.folder), "--json"],
                capture_output=True,
                text=True,
                check=True,
                timeout=UP_TIMEOUT_S,
            ).stdout
        )
        return document

    def machines(self, group: str) -> list[dict[str, Any]]:
        return [machine for machine in self.status()["machines"] if machine["group"] == group]

    def chat(self, key: str, **changes: Any) -> httpx.Response:
        return httpx.post(
            f"{self.gateway_url}/v1/chat/completions",
            headers={"authorization": f"Bearer {key}"},
            json=CHAT | changes,
            timeout=60,
        )

    @cached_property
    def gateway_url(self) -> str:
        url: str = self.status()["gateway_url"]
        return url

    def fly(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Asks Fly's API as others do who change the stack's objects; raises for errors other than 404."""
        url, token = self._fly
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.request(method, f"{url}{path}", headers=headers, timeout=60, **arguments)
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()
        return answer

    @cached_property
    def _fly(self) -> tuple[str, str]:
        status = self.status()
        return status["fly_api_url"], status["fly_token"]


def finished(command: list[str], *, environment: dict[str, str], timeout_s: float, check: bool) -> Done:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    SHOWN.append((command, done.stdout))
    assert done.returncode == 0 or not check, f"{' '.join(command[:2])} ended with {done.returncode}:\n{done.stdout}"
    return Done(done.returncode, done.stdout)


PREPARE = """
import sys
from pathlib import Path

from local.stack import LocalStack
from local.state import State

stack = LocalStack(State(Path(sys.argv[1])))
stack.start_fly()
stack.configure(*stack.start_provider())
"""


@contextmanager
def prepared(folder: Path) -> Iterator[Local]:
    """A configured stack with nothing in it: what `scripts/local up` does before `pulumi up`."""
    stack = Local(folder)
    environment = {key: value for key, value in os.environ.items() if key != "OPENAI_API_KEY"}
    try:
        finished([sys.executable, "-c", PREPARE, str(folder)], environment=environment, timeout_s=60, check=True)
        yield stack
    finally:
        stack.run("reset")
