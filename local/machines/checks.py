"""Health checks: really performed, from the loopback, as Fly performs them from the private network."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from local.contract import Check, CheckStatus, service_check_names
from local.machines.durations import seconds

# Used where a check says nothing, after the examples in the Machines API's description.
DEFAULT_INTERVAL_S = 15.0
DEFAULT_TIMEOUT_S = 2.0
DEFAULT_GRACE_PERIOD_S = 1.0
# Until a check has passed once it is repeated this often, so that a machine is ready when it is, not an interval later.
STARTING_INTERVAL_S = 0.5
# Enough of an answer to tell what it is.
OUTPUT_BYTES = 500
WAITING = "waiting for the first result"


@dataclass(frozen=True)
class Probe:
    """One configured check; times in seconds."""

    name: str
    kind: str
    port: int
    interval: float
    timeout: float
    grace_period: float
    method: str = "GET"
    path: str = "/"
    headers: Sequence[tuple[str, str]] = ()
    tls: bool = False
    tls_skip_verify: bool = False
    tls_server_name: str | None = None


def probes(config: Mapping[str, Any]) -> list[Probe]:
    """All checks of a machine's configuration. Raises ValueError for one that cannot be performed."""
    found = [_probe(name, check, check.get("port")) for name, check in (config.get("checks") or {}).items()]
    services = config.get("services") or []
    for service, names in zip(services, service_check_names(config), strict=True):
        for check, name in zip(service.get("checks") or [], names, strict=True):
            found.append(_probe(name, check, check.get("port") or service["internal_port"]))
    return found


def _probe(name: str, check: Mapping[str, Any], port: int | None) -> Probe:
    kind = str(check.get("type") or "").lower()
    if kind not in ("http", "tcp"):
        raise ValueError(f"check {name}: type {check.get('type')!r} must be http or tcp")
    if not port:
        raise ValueError(f"check {name}: needs a port")
    return Probe(
        name=name,
        kind=kind,
        port=int(port),
        interval=seconds(check.get("interval"), DEFAULT_INTERVAL_S),
        timeout=seconds(check.get("timeout"), DEFAULT_TIMEOUT_S),
        grace_period=seconds(check.get("grace_period"), DEFAULT_GRACE_PERIOD_S),
        method=str(check.get("method") or "GET").upper(),
        path=str(check.get("path") or "/"),
        headers=tuple((h["name"], value) for h in check.get("headers") or [] for value in h.get("values") or []),
        tls=str(check.get("protocol") or "http").lower() == "https",
        tls_skip_verify=bool(check.get("tls_skip_verify")),
        tls_server_name=check.get("tls_server_name") or None,
    )


class Checks:
    """The checks of one running machine, each in a task of its own from `start` to `stop`."""

    def __init__(self, address: str, wanted: Sequence[Probe], changed: Callable[[Check], None]) -> None:
        self._address = address
        self._probes = wanted
        self._changed = changed
        self._results = {probe.name: _check(probe.name, "critical", WAITING) for probe in wanted}
        self._tasks: list[asyncio.Task[None]] = []

    def results(self) -> list[Check]:
        return list(self._results.values())

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._repeat(probe)) for probe in self._probes]

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _repeat(self, probe: Probe) -> None:
        """Failures within the grace period do not count; a success does, and ends it."""
        loop = asyncio.get_running_loop()
        grace_until = loop.time() + probe.grace_period
        starting = True
        while True:
            status, output = await perform(self._address, probe)
            starting = starting and status != "passing"
            if not (starting and loop.time() < grace_until):
                self._record(_check(probe.name, status, output))
            await asyncio.sleep(min(STARTING_INTERVAL_S, probe.interval) if starting else probe.interval)

    def _record(self, check: Check) -> None:
        before = self._results[check.name]
        self._results[check.name] = check
        if (before.status, before.output) != (check.status, check.output):
            self._changed(check)


async def perform(address: str, probe: Probe) -> tuple[CheckStatus, str]:
    """One attempt: its status and what a person needs to understand it."""
    try:
        async with asyncio.timeout(probe.timeout):
            return await (_http if probe.kind == "http" else _tcp)(address, probe)
    except TimeoutError:
        return "critical", f"{_target(address, probe)}: no answer within {probe.timeout:g} s"
    except (OSError, aiohttp.ClientError) as error:
        return "critical", f"{_target(address, probe)}: {error or type(error).__name__}"


async def _tcp(address: str, probe: Probe) -> tuple[CheckStatus, str]:
    _, writer = await asyncio.open_connection(address, probe.port)
    writer.close()
    return "passing", f"{_target(address, probe)}: connected"


async def _http(address: str, probe: Probe) -> tuple[CheckStatus, str]:
    # A connection of its own each time: a machine that takes no new ones is not healthy.
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.request(
            probe.method,
            f"{'https' if probe.tls else 'http'}://{address}:{probe.port}{probe.path}",
            headers=list(probe.headers),
            allow_redirects=False,
            ssl=_tls(probe),
            server_hostname=probe.tls_server_name,
        ) as response,
    ):
        body = await response.content.read(OUTPUT_BYTES)
        status: CheckStatus = "passing" if 200 <= response.status < 300 else "critical"
        text = body.decode(errors="replace").strip()
        return status, f"{_target(address, probe)}: {response.status} {response.reason} {text}".strip()


def _tls(probe: Probe) -> ssl.SSLContext | bool:
    if not probe.tls:
        return True
    context = ssl.create_default_context()
    if probe.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _target(address: str, probe: Probe) -> str:
    if probe.kind == "tcp":
        return f"connect to {address}:{probe.port}"
    return f"{probe.method} {'https' if probe.tls else 'http'}://{address}:{probe.port}{probe.path}"


def _check(name: str, status: CheckStatus, output: str) -> Check:
    return Check(name, status, output, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
