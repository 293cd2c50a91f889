"""The running embedded Fly, asked from outside."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import httpx

from local.settings import Settings
from local.state import LocalError

ASK_TIMEOUT_S = 10
STOP_TIMEOUT_S = 180  # machines get their stop time-outs, all at once
START_TIMEOUT_S = 30
POLL_S = 0.05


class EmbeddedFly:
    """The admin side of the embedded Fly; its public side is Fly's own API at the same address."""

    def __init__(self, settings: Settings) -> None:
        self.url = f"http://127.0.0.1:{settings.api_port}"
        self._headers = {"Authorization": f"Bearer {settings.token}"}

    def status(self) -> dict[str, Any] | None:
        """Machines, databases, ports as they are; None when nothing answers."""
        try:
            answer = self._ask("GET", "status", timeout_s=ASK_TIMEOUT_S)
        except httpx.TransportError:
            return None
        status: dict[str, Any] = answer.json()
        return status

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.status() is None:
            if time.monotonic() > deadline:
                raise LocalError(
                    f"the embedded Fly.io did not start within {START_TIMEOUT_S} s; `scripts/local logs fly` says why"
                )
            time.sleep(POLL_S)  # nothing to wait on: another process opens its port

    def publish_dns(self, records: Sequence[dict[str, str]]) -> None:
        """What a person does at a DNS provider: makes exactly these records exist."""
        body = [{key: record[key] for key in ("name", "type", "value")} for record in records]
        self._ask("PUT", "zone", timeout_s=ASK_TIMEOUT_S, json=body).raise_for_status()

    def stop(self) -> None:
        """Ends every machine and database, then the embedded Fly itself."""
        self._ask("POST", "stop", timeout_s=STOP_TIMEOUT_S, json={"everything": True}).raise_for_status()

    def _ask(self, method: str, path: str, *, timeout_s: float, json: Any = None) -> httpx.Response:
        url = f"{self.url}/_embedded/{path}"
        return httpx.request(method, url, headers=self._headers, json=json, timeout=timeout_s, trust_env=False)
