"""/v1/apps/{app}/machines: what is asked of a machine as a whole. Its parts are in machine_parts.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, get_args

from aiohttp import web

from local.contract import LaunchError
from local.fly import health, ids, leases, machine_view, regions
from local.fly.bodies import Body, Name, flag, read
from local.fly.errors import ApiError
from local.fly.lifecycle import LIFECYCLE
from local.fly.machine_config import Duration, MachineConfig, StopSignal
from local.fly.objects import App, Machine
from local.fly.times import nanoseconds
from local.fly.world import WORLD, World

routes = web.RouteTableDef()
MACHINES = "/v1/apps/{app}/machines"
MACHINE = MACHINES + "/{machine}"


class CreateMachine(Body):
    config: MachineConfig
    name: Name | None = None
    region: str | None = None
    skip_launch: bool = False
    skip_service_registration: bool = False
    skip_secrets: bool = False
    min_secrets_version: int | None = None
    lease_ttl: leases.Ttl | None = None


class UpdateMachine(CreateMachine):
    current_version: str | None = None


class Stop(Body):
    signal: StopSignal | None = None
    timeout: Duration | None = None


def named(request: web.Request) -> Machine:
    """The machine in the request's path. Raises ApiError."""
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    return world.machine(app.name, request.match_info["machine"])


def to_change(request: web.Request) -> Machine:
    """The same, for a request that changes it: raises ApiError 409 when somebody else holds its lease."""
    machine = named(request)
    if machine.state == "destroyed":
        raise ApiError(404, f"machine {machine.id} was destroyed")
    still_free(request, machine)()
    return machine


def still_free(request: web.Request, machine: Machine) -> Callable[[], None]:
    """Looks at the lease again when the request's turn comes: by then somebody else may have taken it."""
    nonce = request.headers.get(leases.NONCE_HEADER)
    return lambda: leases.check(machine, nonce, time.time())


@routes.get(MACHINES)
async def list_machines(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    everything = flag(request, "include_deleted")
    short, with_lease = flag(request, "summary"), flag(request, "include_leases")
    states = [state for text in request.query.getall("state", []) for state in text.split(",")]
    metadata = {key.removeprefix("metadata."): v for key, v in request.query.items() if key.startswith("metadata.")}
    found = []
    for machine in [m for m in world.store.machines if m.app == app.name]:
        config = world.config(machine)
        if (
            (everything or machine.state != "destroyed")
            and request.query.get("region") in (None, machine.region)
            and (not states or machine.state in states)
            and metadata.items() <= (config.get("metadata") or {}).items()
        ):
            found.append(machine_view.summary(machine) if short else shown(request, machine, with_lease=with_lease))
    return web.json_response(found)


@routes.post(MACHINES)
async def create(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    body = await read(request, CreateMachine)
    app = world.app(request.match_info["app"])
    region = regions.known(body.region or world.settings.region)
    secrets = {} if body.skip_secrets else world.secrets(app, body.min_secrets_version)
    for other in world.machines(app.name):
        if other.name == body.name:
            raise ApiError(409, f"machine name {body.name} is taken in app {app.name}: machine {other.id} has it")
    config = accepted(request, body.config, app, region, machine=None)
    now = time.time()
    machine = Machine(
        id=ids.machine_id(),
        app=app.name,
        name=body.name or ids.machine_name(),
        region=region,
        address=world.new_address(),
        instance_id="",
        created_at=now,
        updated_at=now,
        launch=not body.skip_launch,
        cordoned=body.skip_service_registration,
        secrets=secrets,
    )
    with world.store.transaction():
        nonce = leased(request, machine, body.lease_ttl)
        world.add_version(machine, config)
        attach(world, machine, config)
        world.store.machines.put(machine)
    await request.app[LIFECYCLE].create(machine)
    return web.json_response(shown(request, machine, nonce=nonce))


@routes.get(MACHINE)
async def get(request: web.Request) -> web.Response:
    return web.json_response(shown(request, named(request), with_lease=flag(request, "include_leases")))


@routes.post(MACHINE)
async def update(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    body = await read(request, UpdateMachine)
    machine = to_change(request)
    app = world.app(machine.app)
    nonce: str | None = None

    free = still_free(request, machine)

    def change() -> None:
        nonlocal nonce
        free()
        if body.current_version not in (None, machine.instance_id):
            raise ApiError(
                412, f"machine {machine.id} is at version {machine.instance_id}, not at {body.current_version}"
            )
        for field, sent, fixed in (("name", body.name, machine.name), ("region", body.region, machine.region)):
            if sent not in (None, fixed):
                raise ApiError(422, f"machine {machine.id}: its {field} stays {fixed!r}: make a new machine")
        secrets = {} if body.skip_secrets else world.secrets(app, body.min_secrets_version)
        config = accepted(request, body.config, app, machine.region, machine)
        with world.store.transaction():
            nonce = leased(request, machine, body.lease_ttl)
            world.add_version(machine, config)
            machine.launch = not body.skip_launch
            machine.cordoned = machine.cordoned or body.skip_service_registration
            machine.secrets = secrets
            world.store.machines.put(machine)

    await request.app[LIFECYCLE].replace(machine, change)
    return web.json_response(shown(request, machine, nonce=nonce))


@routes.delete(MACHINE)
async def delete(request: web.Request) -> web.Response:
    kill = flag(request, "force") or flag(request, "kill")
    machine = to_change(request)
    await request.app[LIFECYCLE].destroy(machine, kill=kill, allow=still_free(request, machine))
    return web.json_response({"ok": True})


@routes.post(MACHINE + "/start")
async def start(request: web.Request) -> web.Response:
    machine = to_change(request)
    before = await request.app[LIFECYCLE].start(machine, still_free(request, machine))
    return web.json_response({"previous_state": before, "message": "", "status": ""})


@routes.post(MACHINE + "/stop")
async def stop(request: web.Request) -> web.Response:
    body = await read(request, Stop)
    machine = to_change(request)
    signal, timeout_s = request.app[LIFECYCLE].stop_config(machine)
    if body.timeout is not None:
        timeout_s = nanoseconds(body.timeout) / 1e9
    await request.app[LIFECYCLE].stop(machine, body.signal or signal, timeout_s, still_free(request, machine))
    return web.json_response({"ok": True})


@routes.post(MACHINE + "/restart")
async def restart(request: web.Request) -> web.Response:
    machine = to_change(request)
    signal, timeout_s = request.app[LIFECYCLE].stop_config(machine)
    signal = request.query.get("signal", signal)
    if flag(request, "force_stop"):
        signal, timeout_s = "SIGKILL", 0
    elif (text := request.query.get("timeout")) is not None:
        timeout_s = _seconds(text)
    if signal not in get_args(StopSignal):
        raise ApiError(400, f"query parameter signal: {signal!r} must be one of {', '.join(get_args(StopSignal))}")
    await request.app[LIFECYCLE].restart(machine, signal, timeout_s, still_free(request, machine))
    return web.json_response({"ok": True})


@routes.post(MACHINE + "/suspend")
async def suspend(request: web.Request) -> web.Response:
    machine = to_change(request)
    raise ApiError(501, f"machine {machine.id}: the embedded Fly cannot suspend a process to disk. Stop it instead.")


@routes.post(MACHINE + "/cordon")
async def cordon(request: web.Request) -> web.Response:
    return _set_cordoned(request, cordoned=True)


@routes.post(MACHINE + "/uncordon")
async def uncordon(request: web.Request) -> web.Response:
    return _set_cordoned(request, cordoned=False)


def _set_cordoned(request: web.Request, *, cordoned: bool) -> web.Response:
    machine = to_change(request)
    machine.cordoned = cordoned
    request.app[WORLD].happened(machine, None)
    return web.json_response({"ok": True})


def _seconds(text: str) -> float:
    """A Go duration or a number of seconds, as only this query parameter may be."""
    try:
        return float(text) if text.isdigit() else nanoseconds(text) / 1e9
    except ValueError as error:
        raise ApiError(400, f"query parameter timeout: {error}") from None


def shown(
    request: web.Request, machine: Machine, *, with_lease: bool = False, nonce: str | None = None
) -> dict[str, Any]:
    world = request.app[WORLD]
    checks = health.checks(world, request.app[LIFECYCLE].platform, machine)
    return machine_view.view(machine, world.config(machine), checks, with_lease=with_lease, nonce=nonce)


def leased(request: web.Request, machine: Machine, ttl_s: int | None) -> str | None:
    """The nonce of the lease that a create or an update asks for. The caller puts the machine."""
    if ttl_s is None:
        return None
    owner = request.app[WORLD].organization.slug
    nonce = request.headers.get(leases.NONCE_HEADER)
    leases.take(machine, nonce, time.time(), owner=owner, description="", ttl_s=ttl_s)
    return leases.held(machine, time.time()).nonce


def accepted(
    request: web.Request, sent: MachineConfig, app: App, region: str, machine: Machine | None
) -> dict[str, Any]:
    """The configuration as it will be answered. Raises ApiError for one that this machine cannot have."""
    world = request.app[WORLD]
    try:
        request.app[LIFECYCLE].platform.check_image(sent.image)
    except LaunchError as error:
        raise ApiError(400, str(error)) from None
    config = sent.normal()
    mounts = [mount["volume"] for mount in config.get("mounts", [])]
    if machine is not None:
        before = [mount["volume"] for mount in world.config(machine).get("mounts", [])]
        if mounts != before:
            raise ApiError(422, f"machine {machine.id}: its volumes stay {before}: make a new machine")
    for mount in config.get("mounts", []):
        volume = world.store.volumes.get(mount["volume"])
        if volume is None or volume.app != app.name or volume.deleted_at is not None:
            raise ApiError(422, f"volume {mount['volume']} not found in app {app.name}")
        if volume.region != region:
            raise ApiError(422, f"volume {volume.id} is in region {volume.region}, the machine in {region}")
        if volume.attached_machine not in (None, machine.id if machine else None):
            raise ApiError(412, f"volume {volume.id} is in use by machine {volume.attached_machine}")
        mount |= {"name": volume.name, "size_gb": volume.size_gb, "encrypted": volume.encrypted}
    return config


def attach(world: World, machine: Machine, config: dict[str, Any]) -> None:
    for mount in config.get("mounts", []):
        volume = world.store.volumes[mount["volume"]]
        volume.attached_machine = machine.id
        world.store.volumes.put(volume)
