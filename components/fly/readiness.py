"""Waiting, as a resource of its own: a machine is ready when its version runs and all its checks pass.

So that a machine is in the state as soon as Fly has it, ready or not, and the next `pulumi up` goes on waiting.
"""

from __future__ import annotations

import sys
from typing import Any

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.fly.api import at
from components.fly.errors import FlyError
from components.fly.machine import find_machine
from components.fly.machine_object import GONE, HALTED
from components.fly.normalise import canonical, should_run
from components.fly.provider import FlyProvider, Props, changed, known

POLL_S = 1.0
WAIT_CALL_S = 5  # one call of Fly's `wait`; between two, what has gone wrong is looked for
PROGRESS_S = 10.0
HALT_GRACE_S = 15.0  # a machine stands still for a moment while Fly replaces its version
MOST_EXITS = 3  # once may be bad luck with a dependency; three times is a loop
LONGEST_OUTPUT = 300


class MachineReadyProvider(FlyProvider):
    """Waits on create, and again when the configuration is new or a refresh has seen the machine unwell."""

    def check(self, _olds: Props, news: Props) -> CheckResult:
        return CheckResult({**news, "ready": True}, [])

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        keys = changed(olds, news)
        # While a machine is updated its id is unknown; only another id is another machine.
        replaces = keys & {"app", "machine_id"} if known(news["app"], news["machine_id"]) else set()
        return DiffResult(bool(keys - {"deadline_s"}), sorted(replaces))

    def create(self, props: Props) -> CreateResult:
        return CreateResult(props["machine_id"], self._wait(props))

    def read(self, id_: str, props: Props) -> ReadResult:
        machine = find_machine(self.api, props["app"], id_)
        if machine is None:
            return ReadResult("", {})
        # Another version than the one waited for: someone has changed the machine, or is about to be overwritten.
        live = {**props, "ready": is_well(machine) and machine["instance_id"] == props["version"]}
        return ReadResult(id_, live, {key: live[key] for key in INPUTS})

    def update(self, _id: str, _olds: Props, news: Props) -> UpdateResult:
        return UpdateResult(self._wait(news))

    def delete(self, _id: str, _props: Props) -> None:
        """Nothing remote belongs to a wait."""

    def _wait(self, props: Props) -> Props:
        app, id_ = props["app"], props["machine_id"]
        path, to = at("apps", app, "machines", id_), f"wait for machine {id_} of app {app}"
        clock = self.api.clock
        began = told = running = clock.now()
        started_version = None
        while True:
            machine = self.api.get(path, to=to)
            now = clock.now()
            if machine is None or machine["state"] in GONE:
                raise FlyError(f"machine {id_} of app {app} is gone: run `pulumi up` again, which makes it anew")
            if started_version == machine["instance_id"] and is_well(machine):
                return {**props, "version": machine["instance_id"]}
            running = running if machine["state"] in HALTED else now
            if len(exits_of(machine)) >= MOST_EXITS:
                raise _not_ready(app, machine, "it exits again and again")
            if machine["state"] == "launch_failed" or now - running > HALT_GRACE_S:
                raise _not_ready(app, machine, "it does not run")
            if now - began > props["deadline_s"]:
                raise _not_ready(app, machine, f"not after {props['deadline_s']:.0f} s")
            if now - told >= PROGRESS_S:
                told = now
                _tell(f"machine {machine['name']} ({id_}): {summary(machine)}, {now - began:.0f} s so far\n")
            if started_version == machine["instance_id"]:
                clock.sleep(POLL_S)
            elif self._has_started(path, machine["instance_id"], to):
                started_version = machine["instance_id"]

    def _has_started(self, path: str, version: str, to: str) -> bool:
        """Asks Fly to hold the answer until this version runs. What GET shows may still be the version before."""
        params = {"state": "started", "version": version, "timeout": WAIT_CALL_S}
        return self.api.holds(f"{path}/wait", to=to, params=params)


INPUTS = ("app", "machine_id", "config_hash", "deadline_s", "ready")


def is_well(machine: Props) -> bool:
    """Runs and passes every check, or stands still because it may."""
    if machine["state"] != "started":
        return machine["state"] in HALTED and not should_run(canonical(machine.get("config") or {}))
    checks = machine.get("checks") or []
    # Fly lists no results for a moment after the start, although checks are configured.
    return all(check["status"] == "passing" for check in checks) and bool(checks or not _has_checks(machine))


def exits_of(machine: Props) -> list[Props]:
    """How this version has ended by itself, newest first, as Fly lists its events."""
    exits = []
    for event in machine.get("events") or []:
        if event["type"] in ("launch", "update"):
            break
        if event["type"] == "exit" and not (exit_ := _exit(event)).get("requested_stop"):
            exits.append(exit_)
    return exits


def _exit(event: Props) -> Props:
    request = event.get("request") or {}
    found: Props = request.get("exit_event") or (request.get("MonitorEvent") or {}).get("exit_event") or {}
    return found


def summary(machine: Props) -> str:
    failing = [check["name"] for check in machine.get("checks") or [] if check["status"] != "passing"]
    waiting = f", waiting for {', '.join(failing)}" if failing else ""
    return f"{machine['state']}{waiting}"


def _not_ready(app: str, machine: Props, why: str) -> FlyError:
    lines = [f"machine {machine['name']} ({machine['id']}) of app {app} is not ready: {why}; it is {machine['state']}"]
    for check in machine.get("checks") or []:
        if check["status"] != "passing":
            output = " ".join((check.get("output") or "no result yet").split())[:LONGEST_OUTPUT]
            lines.append(f"its check {check['name']} says: {output}")
    if exits := exits_of(machine):
        how = "out of memory" if exits[0].get("oom_killed") else f"exit code {exits[0].get('exit_code', 'unknown')}"
        lines.append(f"its last exit: {how}")
    lines.append(
        f"see `fly logs --app {app} --machine {machine['id']}`, then run `pulumi up` again, which goes on waiting"
    )
    return FlyError("; ".join(lines))


def _has_checks(machine: Props) -> bool:
    config = machine.get("config") or {}
    return bool(config.get("checks")) or any(service.get("checks") for service in config.get("services") or [])


def _tell(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


class MachineReady(Resource, module="fly", name="MachineReady"):
    """The machine with this configuration runs and passes its checks; waits up to `deadline_s` seconds for that."""

    machine_id: Output[str]
    version: Output[str]
    """The version that was found ready."""

    def __init__(
        self,
        resource_name: str,
        /,
        *,
        app: Input[str],
        machine_id: Input[str],
        config_hash: Input[str],
        deadline_s: Input[int],
        opts: ResourceOptions | None = None,
    ) -> None:
        props: dict[str, Any] = {
            "app": app,
            "machine_id": machine_id,
            "config_hash": config_hash,
            "deadline_s": deadline_s,
            "ready": None,
            "version": None,
        }
        super().__init__(MachineReadyProvider(), resource_name, props, opts)
