"""What there is: the look-ups and small decisions that every request shares. Nothing here runs anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from local.contract import MachineSpec
from local.fly import ids
from local.fly.calls import Calls
from local.fly.errors import ApiError
from local.fly.faults import Faults
from local.fly.objects import App, Event, Machine, MachineVersion, Source, State
from local.fly.organizations import APPS_OF_SOMEBODY_ELSE, Organization
from local.fly.store import Store
from local.settings import Settings

# The last two numbers of an address, without the ones that look like a network or a broadcast. 127.<network>.0.x
# is the platform's own; machines and databases take the rest in turn, so one comes back after 64,515 others.
_HOSTS_PER_NET = 254
_NETS = 254
EVENTS_KEPT = 50
VERSIONS_KEPT = 20


class World:
    """Public attributes: settings, store, organization, faults, calls."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.organization = Organization(settings.organization)
        self.faults = Faults()
        self.calls = Calls()
        self._changes: dict[str, asyncio.Event] = {}

    def app(self, name: str) -> App:
        """Raises ApiError: 403 for somebody else's app, 404 for none, or for one so new that it has not spread yet."""
        if self.is_somebody_elses(name):
            raise ApiError(403, f"app {name} belongs to another organization")
        app = self.store.apps.get(name)
        if app is None or time.time() < app.created_at + self.settings.app_propagation_s:
            raise ApiError(404, f"app {name} not found")
        return app

    def is_somebody_elses(self, app: str) -> bool:
        return app in APPS_OF_SOMEBODY_ELSE or app in self.faults.taken

    def secrets(self, app: App, min_version: int | None) -> dict[str, str]:
        """The values of an app's secrets. Raises ApiError 412 when a newer version is asked for than there is."""
        if min_version is not None and min_version > app.secrets_version:
            raise ApiError(
                412, f"secrets of app {app.name} are at version {app.secrets_version}, not yet at {min_version}"
            )
        return {name: secret.value for name, secret in app.secrets.items()}

    def machines(self, app: str) -> Iterator[Machine]:
        """Those that exist: destroyed ones are remembered, but not here."""
        return (m for m in self.store.machines if m.app == app and m.state != "destroyed")

    def machine(self, app: str, machine_id: str) -> Machine:
        """Also a destroyed one. Raises ApiError 404."""
        machine = self.store.machines.get(machine_id)
        if machine is None or machine.app != app:
            raise ApiError(404, f"machine {machine_id} not found in app {app}")
        return machine

    def names(self, machine: Machine) -> tuple[str, str, str | None]:
        """What a person may call it by: its id, its name, its process group."""
        return machine.id, machine.name, (self.config(machine).get("metadata") or {}).get("fly_process_group")

    def config(self, machine: Machine) -> dict[str, Any]:
        return self.store.versions[machine.instance_id].config

    def versions(self, machine: Machine) -> list[MachineVersion]:
        """Newest first."""
        found = [version for version in self.store.versions if version.machine == machine.id]
        return found[::-1]

    def add_version(self, machine: Machine, config: dict[str, Any]) -> None:
        """Makes `config` the current one, under a new instance id. The caller puts the machine."""
        version = MachineVersion(ids.ulid(), machine.id, time.time(), config)
        self.store.versions.put(version)
        machine.instance_id = version.id
        for old in self.versions(machine)[VERSIONS_KEPT:]:
            self.store.versions.remove(old)

    def spec(self, machine: Machine) -> MachineSpec:
        return MachineSpec(
            app=machine.app,
            machine_id=machine.id,
            instance_id=machine.instance_id,
            name=machine.name,
            region=machine.region,
            address=machine.address,
            config=self.config(machine),
            secrets=machine.secrets,
        )

    def enter(self, machine: Machine, state: State, event: Event | None = None) -> None:
        """Moves a machine to a state, keeps it, and wakes who waits for it."""
        machine.state = state
        self.happened(machine, event)

    def happened(self, machine: Machine, event: Event | None) -> None:
        machine.updated_at = time.time()
        if event is not None:
            machine.events = [event, *machine.events][:EVENTS_KEPT]
        self.store.machines.put(machine)
        if (waiting := self._changes.pop(machine.id, None)) is not None:
            waiting.set()

    async def change(self, machine: Machine) -> None:
        """Returns when anything about the machine has changed."""
        await self._changes.setdefault(machine.id, asyncio.Event()).wait()

    def new_address(self) -> str:
        """A loopback address nobody has; they are given out in turn."""
        taken = {machine.address for machine in self.store.machines if machine.state != "destroyed"}
        taken |= {redis.address for redis in self.store.databases}
        for _ in range(_NETS * _HOSTS_PER_NET):
            net, host = divmod(self.store.next_number("address") - 1, _HOSTS_PER_NET)
            address = f"127.{self.settings.network}.{net % _NETS + 1}.{host + 1}"
            if address not in taken:
                return address
        raise ApiError(422, "every address of this embedded Fly is in use", "insufficient_capacity")

    @property
    def flycast_address(self) -> str:
        """Where Fly Proxy would listen for `<app>.flycast`."""
        return f"127.{self.settings.network}.0.1"


WORLD = web.AppKey("world", World)


def event(kind: str, status: str, source: Source, request: dict[str, Any] | None = None) -> Event:
    return Event(ids.ulid(), kind, status, source, time.time(), request)
