"""How machines move between states, because of requests or by themselves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from local.contract import Check, Exit, LaunchError, Platform, PlatformEvents
from local.fly import failures, restarts
from local.fly.errors import ApiError
from local.fly.names import Names, private_names
from local.fly.objects import Machine, Source, State
from local.fly.times import nanoseconds, rfc3339
from local.fly.turns import Turns
from local.fly.world import World, event

log = logging.getLogger(__name__)

# Fly's own for a machine without stop_config.
STOP_SIGNAL = "SIGINT"
STOP_TIMEOUT_S = 5.0

AT_REST: tuple[State, ...] = ("created", "stopped", "failed")
# Raises ApiError when the one who asks may not change the machine any more.
Allow = Callable[[], None]
STEADY: tuple[State, ...] = (*AT_REST, "started", "restarting")


class Lifecycle(PlatformEvents):
    """Requests set a state and return; what takes time goes on behind them, and `World.change` tells when it ends."""

    def __init__(self, world: World, make_platform: Callable[[PlatformEvents], Platform]) -> None:
        self._world = world
        self.platform = make_platform(self)
        self.pids: dict[str, int] = {}
        self._turns = Turns(self._broke_off)
        self._starts: dict[str, int] = {}
        self._names: Names | None = None
        self._ended_while_away: dict[str, Exit] | None = None
        self._closing = False

    async def create(self, machine: Machine) -> None:
        """Runs a new machine, or leaves it stopped where `launch` is false."""
        async with self._turns.turn(machine) as continue_with:
            self._enter(machine, "created", "launch", "user")
            continue_with(self._settle(machine))

    async def replace(self, machine: Machine, change: Callable[[], None]) -> None:
        """Puts a new version in the place of the running one. `change` makes it, or raises and nothing happens."""
        async with self._turns.turn(machine) as continue_with:
            self._refuse_unless(machine, "updated", *STEADY)
            signal, timeout_s = self.stop_config(machine)
            change()
            machine.restarts = 0
            self._enter(machine, "replacing", "update", "user")
            continue_with(self._replace(machine, signal, timeout_s))

    async def start(self, machine: Machine, allow: Allow) -> State:
        """The state it was in. A started machine stays as it is."""
        async with self._turns.turn(machine) as continue_with:
            allow()
            self._refuse_unless(machine, "started", *STEADY)
            before = machine.state
            if before != "started":
                machine.restarts = 0
                self._enter(machine, "starting", "start", "user")
                continue_with(self._start(machine))
            return before

    async def stop(self, machine: Machine, signal: str, timeout_s: float, allow: Allow) -> None:
        async with self._turns.turn(machine) as continue_with:
            allow()
            self._refuse_unless(machine, "stopped", *STEADY)
            if machine.state not in ("stopped", "failed"):
                self._enter(machine, "stopping", "stop", "user")
                continue_with(self._stop(machine, signal, timeout_s))

    async def restart(self, machine: Machine, signal: str, timeout_s: float, allow: Allow) -> None:
        """The same version with the same secrets, in a new process."""
        async with self._turns.turn(machine) as continue_with:
            allow()
            self._refuse_unless(machine, "restarted", *STEADY)
            machine.restarts = 0
            self._enter(machine, "restarting", "restart", "user")
            continue_with(self._restart(machine, signal, timeout_s))

    async def destroy(self, machine: Machine, *, kill: bool, allow: Allow) -> None:
        """Without `kill` only a machine that does not run; with it there is no way back, so `allow` is not asked."""
        if kill:
            # Whatever transition it is in may be waiting for the process to end.
            await self.platform.stop(machine.id, "SIGKILL", 0)
        async with self._turns.turn(machine) as continue_with:
            if machine.state == "destroyed":
                return  # somebody else's request was faster
            if not kill:
                allow()
                self._refuse_unless(machine, "destroyed without force", *AT_REST)
            self._enter(machine, "destroying", "destroy", "user")
            continue_with(self._destroy(machine))

    def stop_config(self, machine: Machine) -> tuple[str, float]:
        """Signal, and seconds until SIGKILL."""
        stop = self._world.config(machine).get("stop_config") or {}
        timeout = stop.get("timeout")
        return stop.get("signal", STOP_SIGNAL), nanoseconds(timeout) / 1e9 if timeout else STOP_TIMEOUT_S

    def publish_names(self) -> None:
        """Tells every machine the private names, if one of them has changed."""
        names = private_names(self._world)
        if names != self._names:
            self._names = names
            self.platform.publish_names(names)

    def exited(self, machine_id: str, instance_id: str, exit: Exit) -> None:
        machine = self._world.store.machines.get(machine_id)
        if machine is None or self._closing:
            return
        self.pids.pop(machine_id, None)
        if self._ended_while_away is not None:
            self._ended_while_away[machine_id] = exit
        elif exit.requested:
            self._record_exit(machine, exit, restarting=False)
        else:
            self._turns.spawn(self._after_exit(machine, exit, self._starts.get(machine_id, 0)))

    def check_changed(self, machine_id: str, check: Check) -> None:
        """Nothing is kept: who wants to know the checks asks the platform."""

    async def resume(self) -> None:
        """Takes over the machines an earlier daemon left, and ends the transitions it could not end."""
        alive = [machine for machine in self._world.store.machines if machine.state != "destroyed"]
        ended = self._ended_while_away = {}
        pids = await self.platform.reattach([self._world.spec(machine) for machine in alive])
        self._ended_while_away = None
        self.pids.update(pids)
        for machine in alive:
            await self._resume(machine, running=machine.id in pids, end=ended.get(machine.id))
        self.publish_names()

    async def close(self, *, stop_everything: bool) -> None:
        """What stands as started is started again by the next daemon, whatever its restart policy."""
        self._closing = True
        await self._turns.close()
        await self.platform.close(stop_everything=stop_everything)

    async def _resume(self, machine: Machine, *, running: bool, end: Exit | None) -> None:
        if machine.state == "started" and end is not None and not end.requested:
            self._turns.spawn(self._after_exit(machine, end, self._starts.get(machine.id, 0)))
            return
        async with self._turns.turn(machine) as continue_with:
            match machine.state:
                case "started" if not running:
                    self._enter(machine, "starting", "start", "flyd")
                    continue_with(self._start(machine))
                case "starting" if running:
                    self._enter(machine, "started", "start", "flyd")
                case "starting":
                    continue_with(self._start(machine))
                case "created":
                    continue_with(self._settle(machine))
                case "stopping":
                    continue_with(self._stop(machine, *self.stop_config(machine)))
                case "restarting":
                    continue_with(self._restart(machine, *self.stop_config(machine)))
                case "replacing":
                    continue_with(self._replace(machine, *self.stop_config(machine)))
                case "destroying":
                    continue_with(self._destroy(machine))

    async def _settle(self, machine: Machine) -> None:
        if machine.launch:
            self._enter(machine, "starting")
            await self._start(machine)
        else:
            self._enter(machine, "stopped")

    async def _start(self, machine: Machine) -> None:
        self._starts[machine.id] = self._starts.get(machine.id, 0) + 1
        self.pids[machine.id] = await self.platform.start(self._world.spec(machine))
        machine.started_at = time.time()
        machine.failure = None
        self._enter(machine, "started", "start", "flyd")
        if self._world.faults.of_start(*self._world.names(machine)):
            with suppress(LookupError):  # it has died by itself
                await self.platform.signal(machine.id, "SIGKILL")

    async def _stop(self, machine: Machine, signal: str, timeout_s: float) -> None:
        await self.platform.stop(machine.id, signal, timeout_s)
        self._enter(machine, "stopped")

    async def _restart(self, machine: Machine, signal: str, timeout_s: float) -> None:
        await self.platform.stop(machine.id, signal, timeout_s)
        await self._start(machine)

    async def _replace(self, machine: Machine, signal: str, timeout_s: float) -> None:
        await self.platform.stop(machine.id, signal, timeout_s)
        await self._settle(machine)

    async def _destroy(self, machine: Machine) -> None:
        await self.platform.forget(machine.id)
        store = self._world.store
        with store.transaction():
            for volume in store.volumes:
                if volume.attached_machine == machine.id:
                    volume.attached_machine = None
                    store.volumes.put(volume)
            for version in self._world.versions(machine)[1:]:
                store.versions.remove(version)
            machine.secrets = {}
            machine.lease = None
            self._enter(machine, "destroyed", "destroy", "flyd")
        self._turns.forget(machine)
        self._starts.pop(machine.id, None)

    async def _after_exit(self, machine: Machine, exit: Exit, starts: int) -> None:
        """`starts` tells which of the machine's processes ended: by our turn another one may run."""
        async with self._turns.turn(machine, patient=True) as continue_with:
            if machine.state != "started" or self._starts.get(machine.id, 0) != starts:
                self._record_exit(machine, exit, restarting=False)
                return
            config = self._world.config(machine)
            if time.time() - (machine.started_at or 0) >= restarts.STEADY_S:
                machine.restarts = 0
            again = restarts.restarts(config["restart"], exit, machine.restarts)
            self._record_exit(machine, exit, restarting=again)
            if again:
                pause_s = restarts.pause(self._world.settings.restart_pause_s, machine.restarts)
                machine.restarts += 1
                self._enter(machine, "restarting")
                self._turns.spawn(self._start_later(machine, starts, pause_s))
            elif config.get("auto_destroy"):
                self._enter(machine, "destroying", "destroy", "flyd")
                continue_with(self._destroy(machine))
            else:
                self._enter(machine, "stopped")

    async def _start_later(self, machine: Machine, starts: int, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        async with self._turns.turn(machine, patient=True) as continue_with:
            if machine.state == "restarting" and self._starts.get(machine.id, 0) == starts:
                self._enter(machine, "starting", "start", "flyd")
                continue_with(self._start(machine))

    def _enter(self, machine: Machine, state: State, kind: str | None = None, source: Source = "flyd") -> None:
        self._world.enter(machine, state, event(kind, state, source) if kind else None)
        self.publish_names()

    def _broke_off(self, machine: Machine, error: Exception) -> None:
        if isinstance(error, LaunchError):
            self._fail(machine, str(error))
        else:
            log.error("machine %s: its transition broke off", machine.id, exc_info=error)
            self._fail(machine, f"the embedded Fly made a mistake, see its log: {type(error).__name__}")

    def _fail(self, machine: Machine, reason: str) -> None:
        """Fly's events have no place for the reason: it is in the machine's log, our own, and our status."""
        reason = failures.without_secrets(reason, machine.secrets)
        log.warning("machine %s of app %s has failed: %s", machine.name, machine.app, reason)
        failures.note(self.platform.log_path(self._world.spec(machine)), reason)
        machine.failure = reason
        self._enter(machine, "failed", "launch")

    def _record_exit(self, machine: Machine, exit: Exit, *, restarting: bool) -> None:
        request = {
            "exit_event": {
                "exit_code": exit.exit_code,
                "guest_exit_code": exit.exit_code,
                "guest_signal": -1 if exit.signal is None else exit.signal,
                "signal": -1 if exit.signal is None else exit.signal,
                "oom_killed": False,
                "requested_stop": exit.requested,
                "restarting": restarting,
                "exited_at": rfc3339(time.time()),
            },
            "restart_count": machine.restarts,
        }
        self._world.happened(machine, event("exit", "stopped", "flyd", request))

    def _refuse_unless(self, machine: Machine, what: str, *states: State) -> None:
        if machine.state == "destroyed":
            raise ApiError(404, f"machine {machine.id} was destroyed")
        if machine.state not in states:
            raise ApiError(412, f"machine {machine.id} is {machine.state}: it cannot be {what} now")


LIFECYCLE = web.AppKey("lifecycle", Lifecycle)
