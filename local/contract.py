"""What the two halves of the embedded Fly.io say to each other.

`local.fly` is the API: it keeps objects, checks requests, and decides what should be. `local.machines` and
`local.proxy` are the platform: they run processes, perform health checks and route requests. Neither imports
the other; `local/daemon.py` puts them together, and both speak in the types below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

CheckStatus = Literal["passing", "warning", "critical"]


@dataclass(frozen=True)
class MachineSpec:
    """One version of one machine, as the platform has to run it."""

    app: str
    machine_id: str
    instance_id: str
    """Changes with every new version of the configuration (Fly's `instance_id`, also called `version`)."""
    name: str
    region: str
    address: str
    """The machine's own loopback address, 127.x.y.z: it stays for the machine's whole life."""
    config: Mapping[str, Any]
    """Fly's machine configuration, as normalised by the API: image, init, env, files, checks, services, …"""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The app's secrets at the version this machine was created or updated with."""


@dataclass(frozen=True)
class Exit:
    """How a machine's main process ended."""

    exit_code: int
    """0 to 255; 128 + n when a signal ended it."""
    signal: int | None
    requested: bool
    """True when Fly was asked to stop it, False when it died by itself."""


@dataclass(frozen=True)
class Check:
    """The newest result of one health check."""

    name: str
    status: CheckStatus
    output: str
    updated_at: str
    """RFC 3339."""


@dataclass(frozen=True)
class ExecResult:
    exit_code: int
    stdout: str
    stderr: str


class LaunchError(Exception):
    """The machine cannot be started: unknown image, missing program, bad file. The text is for the user."""


def service_check_names(config: Mapping[str, Any]) -> list[list[str]]:
    """Names of the service checks of a machine, one list per service, in the order of the configuration.

    Fly names them `servicecheck-<nn>-<type>-<port>`, nn counting over the whole machine. A check without a port of
    its own asks the service's internal port. Checks of `config.checks` have their own names.
    """
    number = 0
    names: list[list[str]] = []
    for service in config.get("services") or []:
        names.append([])
        for check in service.get("checks") or []:
            port = check.get("port") or service["internal_port"]
            names[-1].append(f"servicecheck-{number:02d}-{check['type']}-{port}")
            number += 1
    return names


class Platform(Protocol):
    """What the API asks of the platform. Calls name a machine by its id; none of them blocks the loop."""

    def check_image(self, image: str) -> None:
        """Raises LaunchError naming the known images when nothing stands in for this one.

        The API asks before it accepts a configuration, as Fly resolves an image before it makes a machine. Answers
        at once: what has to be built for the image is built when a machine starts.
        """

    async def start(self, spec: MachineSpec) -> int:
        """Starts the main process and returns its pid. Raises LaunchError. Health checks begin with it."""

    async def stop(self, machine_id: str, signal: str, timeout_s: float) -> None:
        """Sends `signal`, after `timeout_s` SIGKILL; returns when the process is gone. No process: no-op."""

    async def signal(self, machine_id: str, signal: str) -> None: ...

    async def execute(self, machine_id: str, command: Sequence[str], stdin: str, timeout_s: float) -> ExecResult:
        """Runs a command inside the machine's namespaces. Raises TimeoutError, LookupError when not running."""

    def processes(self, machine_id: str) -> list[dict[str, Any]]:
        """The machine's processes in the shape of Fly's `ps` answer."""

    def checks(self, machine_id: str) -> list[Check]:
        """Newest result of each configured check, service checks included; critical until one has passed."""

    async def forget(self, machine_id: str) -> None:
        """The machine was destroyed: stop it if it runs and remove its root folder. Its log is kept."""

    async def erase_volume(self, volume_id: str) -> None:
        """The volume was deleted: its data goes too. No folder: no-op."""

    async def reattach(self, specs: Sequence[MachineSpec]) -> dict[str, int]:
        """After a restart of the daemon: machine id → pid of those still running; watches them again."""

    def log_path(self, spec: MachineSpec) -> Path:
        """The file that holds a machine's output, also after it was destroyed."""

    def publish_names(self, names: Mapping[str, Sequence[str]]) -> None:
        """Private names → addresses (started machines only), written to every machine's /etc/hosts."""

    async def start_redis(self, name: str, address: str, password: str, *, eviction: bool, max_memory_mb: int) -> int:
        """A Valkey on address:6379 that requires the password and keeps its data across restarts. Its pid."""

    async def stop_redis(self, name: str, *, erase: bool) -> None: ...

    async def close(self, *, stop_everything: bool) -> None:
        """`stop_everything=False` leaves machines and databases running for the next daemon."""


class PlatformEvents(Protocol):
    """What the platform reports to the API, on the event loop."""

    def exited(self, machine_id: str, instance_id: str, exit: Exit) -> None:
        """The main process ended. The API applies the restart policy and calls start again where it says so."""

    def check_changed(self, machine_id: str, check: Check) -> None: ...


@dataclass(frozen=True)
class Backend:
    """One place Fly Proxy may send a request to."""

    machine_id: str
    address: str
    internal_port: int
    soft_limit: int
    hard_limit: int | None
    idle_timeout_s: float = 60.0
    """The port's `http_options.idle_timeout`: Fly Proxy ends a request on which nothing has moved for so long."""


class Routes(Protocol):
    """What Fly Proxy knows: hostnames of apps and ports of machines. It does not know process groups."""

    def app_of(self, hostname: str) -> str | None:
        """The app a hostname routes to: `<app>.fly.dev`, or a hostname with an active certificate."""

    def backends(self, app: str, external_port: int) -> list[Backend]:
        """All started, uncordoned machines with a service on that port whose service checks pass."""

    def has_service(self, app: str, external_port: int) -> bool:
        """Whether any machine has a service on that port, healthy or not: 503 rather than a refusal."""
