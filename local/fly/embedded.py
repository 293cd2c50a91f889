"""/_embedded: what a real Fly does not have, because there DNS, processes and computers are elsewhere."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from local.fly import databases
from local.fly.bodies import Body, problems, read
from local.fly.errors import ApiError
from local.fly.lifecycle import LIFECYCLE
from local.fly.names import redis_host
from local.fly.objects import DnsRecord
from local.fly.world import WORLD

routes = web.RouteTableDef()
StopRequest = asyncio.Future[bool]
STOP = web.AppKey("stop", StopRequest)


class Record(Body):
    name: str
    type: Literal["A", "AAAA", "CNAME", "TXT"]
    value: str


class Stop(Body):
    everything: bool = False


_RECORDS = TypeAdapter(list[Record])


@routes.put("/_embedded/zone")
async def publish(request: web.Request) -> web.Response:
    """The whole zone, as a list of records. What was there before keeps its age."""
    try:
        records = _RECORDS.validate_json(await request.read())
    except ValidationError as error:
        raise ApiError(400, problems(error)) from None
    zone = request.app[WORLD].store.zone
    with request.app[WORLD].store.transaction():
        before = {(r.name, r.type, r.value): r for r in zone}
        wanted = {(r.name, r.type, r.value) for r in records}
        for key, record in before.items():
            if key not in wanted:
                zone.remove(record)
        for key in wanted - before.keys():
            zone.put(DnsRecord(*key, published_at=time.time()))
    return web.Response(status=204)


@routes.get("/_embedded/zone")
async def read_zone(request: web.Request) -> web.Response:
    zone = request.app[WORLD].store.zone
    return web.json_response([{"name": r.name, "type": r.type, "value": r.value} for r in zone])


@routes.get("/_embedded/status")
async def status(request: web.Request) -> web.Response:
    """Real addresses, processes, logs and passwords: for the owner of the token, who owns the computer too."""
    world, lifecycle = request.app[WORLD], request.app[LIFECYCLE]
    machines = [
        {
            "id": machine.id,
            "app": machine.app,
            "name": machine.name,
            "group": world.names(machine)[2],
            "region": machine.region,
            "state": machine.state,
            "failure": machine.failure,
            "address": machine.address,
            "pid": lifecycle.pids.get(machine.id) if machine.state == "started" else None,
            "log": str(lifecycle.platform.log_path(world.spec(machine))),
        }
        for machine in world.store.machines
        if machine.state != "destroyed"
    ]
    redis: list[dict[str, Any]] = [
        {
            "name": database.name,
            "host": redis_host(database.name),
            "address": database.address,
            "port": databases.PORT,
            "password": database.password,
            "url": f"redis://default:{database.password}@{database.address}:{databases.PORT}",
        }
        for database in world.store.databases
    ]
    return web.json_response(
        {
            "organization": world.organization.slug,
            "apps": [app.name for app in world.store.apps],
            "machines": machines,
            "redis": redis,
            "hostnames": dict(world.settings.hostnames),
            "proxy_port": world.settings.proxy_port,
        }
    )


@routes.post("/_embedded/stop")
async def stop(request: web.Request) -> web.Response:
    """Ends the daemon; machines and databases only with `everything`. The answer comes before the end."""
    body = await read(request, Stop)
    stopping = request.app[STOP]
    if not stopping.done():
        stopping.set_result(body.everything)
    return web.Response(status=202)
