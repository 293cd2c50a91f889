"""What Fly Proxy asks: hostname → app, then app and port → machines. Process groups do not exist here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from local.contract import Backend, Platform, Routes, service_check_names
from local.fly import health
from local.fly.certificates import active_app
from local.fly.objects import Machine
from local.fly.world import World
from local.fly.zone import FLY_DEV, canonical

FLYCAST = ".flycast"
# Fly's own for a service that names no limit.
DEFAULT_SOFT_LIMIT = 20
DEFAULT_IDLE_TIMEOUT_S = 60

Part = Mapping[str, Any]  # of a machine's configuration


class MachineRoutes(Routes):
    def __init__(self, world: World, platform: Platform) -> None:
        self._world = world
        self._platform = platform

    def app_of(self, hostname: str) -> str | None:
        name = canonical(hostname)
        if name.endswith(FLY_DEV):
            return self._existing(name.removesuffix(FLY_DEV), public=True)
        if name.endswith(FLYCAST):
            return self._existing(name.removesuffix(FLYCAST), public=False)
        return active_app(self._world, name)

    def backends(self, app: str, external_port: int) -> list[Backend]:
        found = []
        for machine, service, port, checks in self._services(app, external_port):
            if machine.state != "started" or machine.cordoned:
                continue
            results = health.checks(self._world, self._platform, machine)
            passing = {check.name for check in results if check.status == "passing"}
            if passing.issuperset(checks):
                found.append(_backend(machine, service, port))
        return found

    def has_service(self, app: str, external_port: int) -> bool:
        return any(True for _ in self._services(app, external_port))

    def _services(self, app: str, external_port: int) -> Iterator[tuple[Machine, Part, Part, list[str]]]:
        """The first service of each machine on a port, with that port and the names of the checks that decide."""
        for machine in self._world.machines(app):
            config = self._world.config(machine)
            for service, checks in zip(config.get("services", []), service_check_names(config), strict=True):
                port = next((port for port in service.get("ports", []) if _covers(port, external_port)), None)
                if port is not None:
                    yield machine, service, port, checks
                    break

    def _existing(self, app: str, *, public: bool) -> str | None:
        """An app has a name in DNS when it has an address of that kind."""
        kinds = {address.type for address in self._world.store.addresses if address.app == app}
        reachable = kinds - {"private_v6"} if public else kinds & {"private_v6"}
        return app if reachable else None


def _covers(port: Part, number: int) -> bool:
    if "port" in port:
        return bool(port["port"] == number)
    return bool(port["start_port"] <= number <= port["end_port"])


def _backend(machine: Machine, service: Part, port: Part) -> Backend:
    limits = service.get("concurrency") or {}
    return Backend(
        machine_id=machine.id,
        address=machine.address,
        internal_port=service["internal_port"],
        soft_limit=limits.get("soft_limit", DEFAULT_SOFT_LIMIT),
        hard_limit=limits.get("hard_limit"),
        idle_timeout_s=(port.get("http_options") or {}).get("idle_timeout", DEFAULT_IDLE_TIMEOUT_S),
    )
