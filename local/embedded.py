"""The running embedded Fly, asked from outside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from local import background
from local.settings import Settings
from local.state import LocalError

MODULE = "local.daemon"
ASK_TIMEOUT_S = 10
STOP_TIMEOUT_S = 180  # machines get their stop time-outs, all at once
START_TIMEOUT_S = 30


class EmbeddedFly:
    """The admin side of the embedded Fly; its public side is Fly's own API at the same address."""

    def __init__(self, state: Path, settings: Settings) -> None:
        self._port = settings.api_port
        self.url = f"http://127.0.0.1:{settings.api_port}"
        self._state = state
        self._headers = {"Authorization": f"Bearer {settings.token}"}

    def process(self) -> psutil.Process | None:
        """The one that serves this state folder, whether it answers or not."""
        return background.find(MODULE, "--state", str(self._state))

    def status(self) -> dict[str, Any] | None:
        """Machines, databases, ports as they are; None where none listens. Raises LocalError: it does not answer."""
        process = self.process()
        if process is None or not background.listens(process, self._port):
            return None
        try:
            status: dict[str, Any] = self._ask("GET", "status", timeout_s=ASK_TIMEOUT_S).json()
        except httpx.TimeoutException:
            raise LocalError(self._hangs(process)) from None
        except httpx.TransportError:  # it ends just now
            return None
        return status

    def start(self, log: Path) -> None:
        """Makes sure that one runs, and waits until it answers. Raises LocalError, EndedAtOnceError."""
        said = background.Log(log)
        process = self.process() or background.start(
            MODULE, ["--state", str(self._state)], said=said, environment=background.closed_environment()
        )
        background.wait_until(
            lambda: self.status() is not None,
            process,
            what="the embedded Fly.io",
            said=said,
            timeout_s=START_TIMEOUT_S,
        )

    def publish_dns(self, records: Sequence[dict[str, str]]) -> None:
        """What a person does at a DNS provider: makes exactly these records exist."""
        body = [{key: record[key] for key in ("name", "type", "value")} for record in records]
        try:
            self._ask("PUT", "zone", timeout_s=ASK_TIMEOUT_S, json=body)
        except httpx.TransportError as error:
            raise LocalError(f"the embedded Fly.io took no DNS records: {error or type(error).__name__}") from None

    def stop(self) -> None:
        """Ends every machine and database, then the embedded Fly itself. Raises LocalError."""
        process = self.process()
        if process is None:
            return
        try:
            self._ask("POST", "stop", timeout_s=STOP_TIMEOUT_S, json={"everything": True})
            process.wait(background.STOP_S)
        except (httpx.TimeoutException, psutil.TimeoutExpired):
            raise LocalError(self._hangs(process)) from None
        except httpx.TransportError as error:
            raise LocalError(f"{self._named(process)} could not be told to stop: {error}; try again") from None

    def _ask(self, method: str, path: str, *, timeout_s: float, json: Any = None) -> httpx.Response:
        url = f"{self.url}/_embedded/{path}"
        answer = httpx.request(method, url, headers=self._headers, json=json, timeout=timeout_s, trust_env=False)
        if answer.is_error:
            raise LocalError(f"{method} {url} was answered with {answer.status_code}: {answer.text.strip()[:200]}")
        return answer

    def _named(self, process: psutil.Process) -> str:
        return f"the embedded Fly.io of {self._state} (python -m {MODULE}, process {process.pid})"

    def _hangs(self, process: psutil.Process) -> str:
        return (
            f"{self._named(process)} runs but does not answer. `kill -CONT {process.pid}` lets it go on if something "
            f"has stopped it; otherwise end it with `kill -KILL {process.pid}` and run the command again: what it "
            "keeps stays, and its machines are found again"
        )
