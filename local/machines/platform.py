"""The platform half of the embedded Fly: machines and databases as processes. See `local.contract.Platform`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.contract import Check, ExecResult, Exit, LaunchError, MachineSpec, PlatformEvents
from local.machines import images, names, supervised
from local.machines.checks import Checks, Probe, probes
from local.machines.databases import Databases
from local.machines.durations import seconds
from local.machines.launch import environment, machine_launch, process_group
from local.machines.ports import require_free
from local.machines.processes import processes
from local.machines.shim import End
from local.machines.supervised import Supervised
from toolchain.errors import ToolchainError

log = logging.getLogger(__name__)

# Fly's own when a machine's configuration has no stop_config.
DEFAULT_STOP_SIGNAL = "SIGINT"
DEFAULT_STOP_TIMEOUT_S = 5.0


@dataclass
class Machine:
    """A running machine: its specification, its processes, its checks, and who waits for its end."""

    spec: MachineSpec
    running: Supervised
    checks: Checks
    watch: asyncio.Task[None] = field(init=False)


class ProcessPlatform:
    """Keeps everything below `state`: machines/ID, volumes/ID, redis/NAME, logs/APP/GROUP-ID.log.

    All methods belong to the running event loop. `launchers` replaces the known images.
    """

    def __init__(
        self,
        state: Path,
        events: PlatformEvents,
        launchers: Mapping[str, images.Launcher] = images.KNOWN,
    ) -> None:
        self._state = state.resolve()
        self._events = events
        self._launchers = launchers
        self._machines: dict[str, Machine] = {}
        self._names: Mapping[str, Sequence[str]] = {}
        self._databases = Databases(self._state)

    def check_image(self, image: str) -> None:
        images.find(image, self._launchers)

    async def start(self, spec: MachineSpec) -> int:
        if spec.machine_id in self._machines:
            raise LaunchError(f"machine {spec.machine_id} runs already: stop it first")
        try:
            wanted = probes(spec.config)
            image = await self._image(spec)
        except (ValueError, ToolchainError) as error:
            raise LaunchError(f"machine {spec.machine_id}: {error}") from None
        internal = [service["internal_port"] for service in spec.config.get("services") or []]
        require_free(spec.machine_id, spec.address, [*internal, *(probe.port for probe in wanted)])
        self._publish_to(spec)
        launch = machine_launch(
            spec, image, self._folder(spec.machine_id), self.log_path(spec), self._state / "volumes"
        )
        running = await Supervised.launch(launch)
        self._watch(spec, running, wanted)
        return running.pid

    async def stop(self, machine_id: str, signal: str, timeout_s: float) -> None:
        machine = self._machines.get(machine_id)
        if machine is None:
            return
        supervised.signal_number(signal)  # an error before anything is done
        machine.checks.stop()  # a machine that was told to leave is not unhealthy
        await machine.running.stop(signal, timeout_s)
        await asyncio.shield(machine.watch)

    async def signal(self, machine_id: str, signal: str) -> None:
        self._running(machine_id).running.signal(signal)

    async def execute(self, machine_id: str, command: Sequence[str], stdin: str, timeout_s: float) -> ExecResult:
        machine = self._running(machine_id)
        image = await self._image(machine.spec)
        return await machine.running.execute(
            {"argv": list(command), "env": environment(machine.spec, image), "cwd": image.workdir},
            stdin,
            timeout_s,
        )

    def processes(self, machine_id: str) -> list[dict[str, Any]]:
        machine = self._machines.get(machine_id)
        return processes(machine.running.pid) if machine else []

    def checks(self, machine_id: str) -> list[Check]:
        machine = self._machines.get(machine_id)
        return machine.checks.results() if machine else []

    async def forget(self, machine_id: str) -> None:
        machine = self._machines.get(machine_id)
        if machine is not None:
            machine.checks.stop()
            await machine.running.kill()
            await asyncio.shield(machine.watch)
        await asyncio.to_thread(supervised.remove, self._folder(machine_id))

    async def erase_volume(self, volume_id: str) -> None:
        await asyncio.to_thread(supervised.remove, self._state / "volumes" / volume_id)

    async def reattach(self, specs: Sequence[MachineSpec]) -> dict[str, int]:
        wanted = {spec.machine_id: spec for spec in specs}
        folders = self._state / "machines"
        for folder in sorted(folders.iterdir()) if folders.is_dir() else []:
            running = Supervised.find(folder)
            spec = wanted.get(folder.name)
            if running is not None and spec is not None:
                self._watch(spec, running, probes(spec.config))
            elif running is not None:
                log.warning("machine %s belongs to nothing any more: killed", folder.name)
                await running.kill()
                (folder / "run.json").unlink()
            elif (folder / "run.json").exists():
                end = supervised.last_end(folder)
                (folder / "run.json").unlink()
                if spec is not None:
                    self._events.exited(folder.name, end["instance_id"], _exit(folder, end))
        return {machine_id: machine.running.pid for machine_id, machine in self._machines.items()}

    def publish_names(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = names
        for machine in self._machines.values():
            self._publish_to(machine.spec)

    def log_path(self, spec: MachineSpec) -> Path:
        """Where a machine's output is kept, also after it was destroyed."""
        return self._state / "logs" / spec.app / f"{process_group(spec)}-{spec.machine_id}.log"

    async def start_redis(self, name: str, address: str, password: str, *, eviction: bool, max_memory_mb: int) -> int:
        return await self._databases.start(name, address, password, eviction=eviction, max_memory_mb=max_memory_mb)

    async def stop_redis(self, name: str, *, erase: bool) -> None:
        await self._databases.stop(name, erase=erase)

    async def close(self, *, stop_everything: bool) -> None:
        """Ends are not reported from here on: who closes the platform knows what it stops."""
        machines = list(self._machines.values())
        for machine in machines:
            machine.checks.stop()
            machine.watch.cancel()
        if stop_everything:
            await asyncio.gather(*map(self._shut_down, machines))
        for machine in machines:
            await machine.running.release()
        self._machines.clear()
        await self._databases.close(stop_everything=stop_everything)

    async def _image(self, spec: MachineSpec) -> images.Image:
        """In a thread: a launcher may build a program first."""
        return await asyncio.to_thread(images.find(spec.config["image"], self._launchers))

    def _folder(self, machine_id: str) -> Path:
        return self._state / "machines" / machine_id

    def _running(self, machine_id: str) -> Machine:
        try:
            return self._machines[machine_id]
        except KeyError:
            raise LookupError(f"machine {machine_id} is not running: start it first") from None

    def _publish_to(self, spec: MachineSpec) -> None:
        own = [f"{spec.machine_id}.vm.{spec.app}.internal", spec.machine_id]
        names.publish(self._folder(spec.machine_id) / "names", names.hosts_file(spec.address, own, self._names))

    def _watch(self, spec: MachineSpec, running: Supervised, wanted: list[Probe]) -> None:
        checks = Checks(spec.address, wanted, lambda check: self._events.check_changed(spec.machine_id, check))
        machine = Machine(spec, running, checks)
        self._machines[spec.machine_id] = machine
        checks.start()
        machine.watch = asyncio.create_task(self._follow(machine))

    async def _follow(self, machine: Machine) -> None:
        """Waits for the end and reports it; the record goes last, so that a crash in between repeats the report."""
        end = await asyncio.shield(machine.running.ended)
        machine.checks.stop()
        del self._machines[machine.spec.machine_id]
        folder = self._folder(machine.spec.machine_id)
        self._events.exited(machine.spec.machine_id, end["instance_id"], _exit(folder, end))
        (folder / "run.json").unlink()

    async def _shut_down(self, machine: Machine) -> None:
        stop = machine.spec.config.get("stop_config") or {}
        await machine.running.stop(
            stop.get("signal") or DEFAULT_STOP_SIGNAL, seconds(stop.get("timeout"), DEFAULT_STOP_TIMEOUT_S)
        )
        (self._folder(machine.spec.machine_id) / "run.json").unlink()


def _exit(folder: Path, end: End) -> Exit:
    return Exit(end["exit_code"], end["signal"], supervised.was_requested(folder))
