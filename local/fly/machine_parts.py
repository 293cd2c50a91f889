"""/v1/apps/{app}/machines/{machine}/…: its lease, metadata, events, versions, processes; waiting for it."""

from __future__ import annotations

import asyncio
import time
from signal import Signals
from typing import Any

from aiohttp import web
from pydantic import Field

from local.fly import leases, machine_view
from local.fly.bodies import Body, number, read
from local.fly.errors import ApiError
from local.fly.lifecycle import LIFECYCLE
from local.fly.machines import MACHINE, named, to_change
from local.fly.objects import Machine, State
from local.fly.world import EVENTS_KEPT, WORLD

routes = web.RouteTableDef()

# Fly's own limits.
LONGEST_WAIT_S = 60
LONGEST_EXEC_S = 60
DEFAULT_EXEC_S = 30
WAITABLE = ("started", "stopped", "suspended", "destroyed", "failed", "settled")
# What `settled` stands for: states a machine stays in by itself.
SETTLED: tuple[State, ...] = ("started", "stopped", "failed", "destroyed")
MEGABYTE = 1024 * 1024


@routes.get(MACHINE + "/wait")
async def wait(request: web.Request) -> web.Response:
    machine = named(request)
    wanted = [state for text in request.query.getall("state", ["started"]) for state in text.split(",")]
    for state in wanted:
        if state not in WAITABLE:
            raise ApiError(400, f"query parameter state: {state!r} must be one of {', '.join(WAITABLE)}")
    version = request.query.get("version") or request.query.get("instance_id")
    if "stopped" in wanted and version is None:
        raise ApiError(400, "query parameter version: needed to wait for stopped, or it could be an older stop")
    since = request.query.get("from_event_id")
    if since is not None and all(event.id != since for event in machine.events):
        raise ApiError(400, f"query parameter from_event_id: machine {machine.id} has no event {since}")
    timeout_s = number(request, "timeout", LONGEST_WAIT_S, 1, LONGEST_WAIT_S)
    states = {*wanted, *SETTLED} if "settled" in wanted else set(wanted)
    try:
        async with asyncio.timeout(timeout_s):
            while not _reached(machine, states, version, since):
                await request.app[WORLD].change(machine)
    except TimeoutError:
        raise ApiError(
            408, f"machine {machine.id} is {machine.state} after {timeout_s} s, not {' or '.join(wanted)}"
        ) from None
    newest = machine.events[0].id if machine.events else ""
    return web.json_response({"ok": True, "state": machine.state, "version": machine.instance_id, "event_id": newest})


def _reached(machine: Machine, states: set[str], version: str | None, since: str | None) -> bool:
    """With `since`, something must have happened after that event."""
    return (
        machine.state in states
        and version in (None, machine.instance_id)
        and (since is None or (bool(machine.events) and machine.events[0].id != since))
    )


class TakeLease(Body):
    ttl: leases.Ttl | None = None
    description: str = ""


@routes.get(MACHINE + "/lease")
async def get_lease(request: web.Request) -> web.Response:
    machine = named(request)
    return web.json_response(leases.view(leases.held(machine, time.time()), machine))


@routes.post(MACHINE + "/lease")
async def take_lease(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    body = await read(request, TakeLease)
    machine = named(request)
    if machine.state == "destroyed":
        raise ApiError(404, f"machine {machine.id} was destroyed")
    ttl_s = body.ttl or number(request, "ttl", leases.DEFAULT_TTL_S, 1, leases.LONGEST_TTL_S)
    nonce = request.headers.get(leases.NONCE_HEADER)
    owner = world.organization.slug
    fresh = leases.take(machine, nonce, time.time(), owner=owner, description=body.description, ttl_s=ttl_s)
    world.store.machines.put(machine)
    answer = leases.view(leases.held(machine, time.time()), machine)
    return web.json_response(answer, status=201 if fresh else 200)


@routes.delete(MACHINE + "/lease")
async def release_lease(request: web.Request) -> web.Response:
    machine = named(request)
    nonce = request.headers.get(leases.NONCE_HEADER)
    if not nonce:
        raise ApiError(400, f"header {leases.NONCE_HEADER}: needed to release a lease")
    leases.release(machine, nonce, time.time())
    request.app[WORLD].store.machines.put(machine)
    return web.json_response({"ok": True})


class ChangeMetadata(Body):
    metadata: dict[str, str | None]
    machine_version: str | None = None


class MetadataValue(Body):
    value: str


@routes.get(MACHINE + "/metadata")
async def get_metadata(request: web.Request) -> web.Response:
    return web.json_response(_metadata(request, named(request)))


@routes.put(MACHINE + "/metadata")
@routes.patch(MACHINE + "/metadata")
async def change_metadata(request: web.Request) -> web.Response:
    body = await read(request, ChangeMetadata)
    machine = to_change(request)
    if body.machine_version not in (None, machine.instance_id):
        raise ApiError(412, f"machine {machine.id} is at version {machine.instance_id}, not at {body.machine_version}")
    _set_metadata(request, machine, body.metadata)
    return web.Response(status=204)


@routes.get(MACHINE + "/metadata/{key}")
async def get_metadata_value(request: web.Request) -> web.Response:
    return web.json_response({"value": _metadata_value(request, named(request))})


@routes.post(MACHINE + "/metadata/{key}")
async def set_metadata_value(request: web.Request) -> web.Response:
    body = await read(request, MetadataValue)
    _set_metadata(request, to_change(request), {request.match_info["key"]: body.value})
    return web.Response(status=204)


@routes.delete(MACHINE + "/metadata/{key}")
async def delete_metadata_value(request: web.Request) -> web.Response:
    machine = to_change(request)
    _metadata_value(request, machine)
    _set_metadata(request, machine, {request.match_info["key"]: None})
    return web.Response(status=204)


def _metadata(request: web.Request, machine: Machine) -> dict[str, str]:
    return request.app[WORLD].config(machine).get("metadata") or {}


def _metadata_value(request: web.Request, machine: Machine) -> str:
    key = request.match_info["key"]
    try:
        return _metadata(request, machine)[key]
    except KeyError:
        raise ApiError(404, f"machine {machine.id} has no metadata {key}") from None


def _set_metadata(request: web.Request, machine: Machine, changes: dict[str, str | None]) -> None:
    """Null and the empty string remove a key. The machine goes on running, at the same version."""
    world = request.app[WORLD]
    version = world.store.versions[machine.instance_id]
    merged = {**_metadata(request, machine), **changes}
    version.config = {**version.config, "metadata": {key: value for key, value in merged.items() if value}}
    world.store.versions.put(version)
    world.happened(machine, None)
    request.app[LIFECYCLE].publish_names()


@routes.get(MACHINE + "/events")
async def list_events(request: web.Request) -> web.Response:
    limit = number(request, "limit", machine_view.EVENTS_SHOWN, 1, EVENTS_KEPT)
    return web.json_response([machine_view.event(event) for event in named(request).events[:limit]])


@routes.get(MACHINE + "/versions")
async def list_versions(request: web.Request) -> web.Response:
    versions = request.app[WORLD].versions(named(request))
    return web.json_response([{"version": version.id, "user_config": version.config} for version in versions])


class Signal(Body):
    signal: str | int


class Execute(Body):
    command: list[str] = Field(min_length=1)
    stdin: str = ""
    timeout: int = Field(default=DEFAULT_EXEC_S, gt=0, le=LONGEST_EXEC_S)


@routes.post(MACHINE + "/signal")
async def signal(request: web.Request) -> web.Response:
    body = await read(request, Signal)
    machine = to_change(request)
    try:
        name = Signals(body.signal).name if isinstance(body.signal, int) else Signals[body.signal].name
    except (KeyError, ValueError):
        raise ApiError(400, f"signal: {body.signal!r} is no signal") from None
    _must_run(machine, "signalled")
    await request.app[LIFECYCLE].platform.signal(machine.id, name)
    return web.json_response({"ok": True})


@routes.post(MACHINE + "/exec")
async def execute(request: web.Request) -> web.Response:
    body = await read(request, Execute)
    machine = named(request)
    _must_run(machine, "entered")
    try:
        result = await request.app[LIFECYCLE].platform.execute(machine.id, body.command, body.stdin, body.timeout)
    except TimeoutError:
        raise ApiError(408, f"machine {machine.id}: the command did not end within {body.timeout} s") from None
    except LookupError as error:
        raise ApiError(412, str(error)) from None
    return web.json_response({"exit_code": result.exit_code, "stdout": result.stdout, "stderr": result.stderr})


@routes.get(MACHINE + "/ps")
async def processes(request: web.Request) -> web.Response:
    machine = named(request)
    _must_run(machine, "asked for its processes")
    return web.json_response(request.app[LIFECYCLE].platform.processes(machine.id))


@routes.get(MACHINE + "/memory")
async def memory(request: web.Request) -> web.Response:
    """The limit is not enforced; what is available is what the processes leave of it."""
    machine = named(request)
    _must_run(machine, "asked for its memory")
    limit_mb = request.app[WORLD].config(machine)["guest"]["memory_mb"]
    used: list[Any] = [process["rss"] for process in request.app[LIFECYCLE].platform.processes(machine.id)]
    return web.json_response({"limit_mb": limit_mb, "available_mb": max(0, limit_mb - sum(used) // MEGABYTE)})


def _must_run(machine: Machine, what: str) -> None:
    if machine.state != "started":
        raise ApiError(412, f"machine {machine.id} is {machine.state}: it cannot be {what}")
