"""A platform in memory. Its machines are entries of a dictionary that start, stop and die when a test says so."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.contract import (
    Check,
    ExecResult,
    Exit,
    LaunchError,
    MachineSpec,
    PlatformEvents,
    service_check_names,
)

KNOWN_IMAGES = ("known",)


@dataclass
class Process:
    spec: MachineSpec
    pid: int
    checks: dict[str, Check]


@dataclass
class Computer:
    """What outlives a daemon: processes and databases. Several platforms, one after another, may share it."""

    processes: dict[str, Process] = field(default_factory=dict)
    dead: list[tuple[str, str, Exit]] = field(default_factory=list)
    databases: dict[str, dict[str, Any]] = field(default_factory=dict)
    volumes_erased: list[str] = field(default_factory=list)


class FakePlatform:
    pids = itertools.count(1000)

    def __init__(self, events: PlatformEvents, computer: Computer, logs: Path) -> None:
        self.events = events
        self.computer = computer
        self.logs = logs
        self.names: Mapping[str, Sequence[str]] = {}
        self.started: list[MachineSpec] = []
        self.signals: list[tuple[str, str]] = []
        self.stops: list[tuple[str, str, float]] = []
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.may_stop = asyncio.Event()
        self.may_stop.set()

    def check_image(self, image: str) -> None:
        if image.partition(":")[0] not in KNOWN_IMAGES:
            raise LaunchError(f"image {image!r} is not one of {', '.join(KNOWN_IMAGES)}")

    async def start(self, spec: MachineSpec) -> int:
        await self.may_start.wait()
        if spec.machine_id in self.computer.processes:
            raise LaunchError(f"machine {spec.machine_id} runs already")
        if (command := spec.config["init"].get("exec") or [""])[0] == "missing":
            raise LaunchError(f"program missing: not found ({' '.join(command)})")
        names = [*(spec.config.get("checks") or {}), *itertools.chain(*service_check_names(spec.config))]
        checks = {name: Check(name, "critical", "waiting", "2026-01-01T00:00:00Z") for name in names}
        self.computer.processes[spec.machine_id] = Process(spec, next(self.pids), checks)
        self.started.append(spec)
        return self.computer.processes[spec.machine_id].pid

    async def stop(self, machine_id: str, signal: str, timeout_s: float) -> None:
        self.stops.append((machine_id, signal, timeout_s))
        if signal == "SIGKILL":
            self.may_stop.set()
        await self.may_stop.wait()
        self._end(machine_id, Exit(0, None, requested=True))

    def die(self, machine_id: str, exit_code: int, signal: int | None = None) -> None:
        """The machine's main process ends by itself."""
        self._end(machine_id, Exit(exit_code, signal, requested=False))

    def _end(self, machine_id: str, exit: Exit) -> None:
        process = self.computer.processes.pop(machine_id, None)
        if process is not None:
            self.events.exited(machine_id, process.spec.instance_id, exit)

    async def signal(self, machine_id: str, signal: str) -> None:
        self.signals.append((machine_id, signal))

    async def execute(self, machine_id: str, command: Sequence[str], stdin: str, timeout_s: float) -> ExecResult:
        if command[0] == "sleep":
            raise TimeoutError
        return ExecResult(3, f"{' '.join(command)} <{stdin}>", "")

    def processes(self, machine_id: str) -> list[dict[str, Any]]:
        process = {"command": "x", "directory": "/", "cpu": 0, "stime": 0, "rtime": 1, "listen_sockets": []}
        return [{**process, "pid": self.computer.processes[machine_id].pid, "rss": 64 * 1024 * 1024}]

    def checks(self, machine_id: str) -> list[Check]:
        process = self.computer.processes.get(machine_id)
        return list(process.checks.values()) if process else []

    def pass_checks(self, machine_id: str, *names: str) -> None:
        checks = self.computer.processes[machine_id].checks
        for name in names or list(checks):
            checks[name] = Check(name, "passing", "200 OK", "2026-01-01T00:00:01Z")

    async def forget(self, machine_id: str) -> None:
        self._end(machine_id, Exit(137, 9, requested=True))

    async def erase_volume(self, volume_id: str) -> None:
        self.computer.volumes_erased.append(volume_id)

    async def reattach(self, specs: Sequence[MachineSpec]) -> dict[str, int]:
        for machine_id, instance_id, exit in self.computer.dead:
            self.events.exited(machine_id, instance_id, exit)
        self.computer.dead.clear()
        return {s.machine_id: self.computer.processes[s.machine_id].pid for s in specs if self.runs(s.machine_id)}

    def runs(self, machine_id: str) -> bool:
        return machine_id in self.computer.processes

    def log_path(self, spec: MachineSpec) -> Path:
        return self.logs / spec.app / f"{spec.machine_id}.log"

    def publish_names(self, names: Mapping[str, Sequence[str]]) -> None:
        self.names = names

    async def start_redis(self, name: str, address: str, password: str, *, eviction: bool, max_memory_mb: int) -> int:
        self.computer.databases[name] = {
            "address": address,
            "password": password,
            "eviction": eviction,
            "max_memory_mb": max_memory_mb,
        }
        return next(self.pids)

    async def stop_redis(self, name: str, *, erase: bool) -> None:
        del self.computer.databases[name]

    async def close(self, *, stop_everything: bool) -> None:
        if stop_everything:
            self.computer.processes.clear()
