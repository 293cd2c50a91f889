"""/v1/apps/{app}/ip_assignments. The public addresses come from the ranges kept for documentation: nobody owns them."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from local.fly import ids, regions
from local.fly.bodies import Body, read
from local.fly.errors import ApiError
from local.fly.lifecycle import LIFECYCLE
from local.fly.objects import Address, App, IpType
from local.fly.times import rfc3339
from local.fly.world import WORLD, World

routes = web.RouteTableDef()
ADDRESSES = "/v1/apps/{app}/ip_assignments"
SHARED_V4 = "192.0.2.1"
# 198.51.100.1 to .254; one network of this size is all that the range has.
DEDICATED_V4 = 254


class Assign(Body):
    type: IpType
    region: str | None = None
    org_slug: str | None = None
    network: str | None = None
    service_name: str | None = None


@routes.get(ADDRESSES)
async def list_addresses(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    return web.json_response({"ips": [view(address) for address in of_app(world, app)]})


@routes.post(ADDRESSES)
async def create(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    body = await read(request, Assign)
    if body.org_slug is not None and not world.organization.is_called(body.org_slug):
        raise ApiError(404, f"organization {body.org_slug} not found")
    if body.network not in (None, app.network):
        raise ApiError(422, f"app {app.name} is in the network {app.network!r}, not in {body.network!r}")
    address = assign(world, app, body.type, body.region, body.service_name)
    request.app[LIFECYCLE].publish_names()
    return web.json_response(view(address))


@routes.delete(ADDRESSES + "/{ip}")
async def delete(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    release(world, app, request.match_info["ip"])
    request.app[LIFECYCLE].publish_names()
    return web.Response(status=204)


def assign(world: World, app: App, kind: IpType, region: str | None, service_name: str | None = None) -> Address:
    """A new address each time, except that an app has one shared IPv4."""
    if kind == "shared_v4":
        for address in of_app(world, app):
            if address.type == "shared_v4":
                return address
    where = "global" if region in (None, "", "global") else regions.known(str(region))
    address = Address(_new_ip(world, app, kind), app.name, kind, where, time.time(), service_name)
    world.store.addresses.put(address)
    return address


def release(world: World, app: App, ip: str) -> None:
    """Raises ApiError 404."""
    for address in of_app(world, app):
        if address.ip == ip:
            world.store.addresses.remove(address)
            return
    raise ApiError(404, f"app {app.name} has no address {ip}")


def of_app(world: World, app: App) -> list[Address]:
    return [address for address in world.store.addresses if address.app == app.name]


def _new_ip(world: World, app: App, kind: IpType) -> str:
    if kind == "shared_v4":
        return SHARED_V4
    number = world.store.next_number(kind)
    if kind == "v4":
        if number > DEDICATED_V4:
            raise ApiError(422, "this embedded Fly has given out all its IPv4 addresses", "insufficient_capacity")
        return f"198.51.100.{number}"
    group = f"{ids.numeric_id(app.id) & 0xFFFF:x}"
    return f"fdaa:0:{group}:0:1::{number:x}" if kind == "private_v6" else f"2001:db8:1::{group}:{number:x}"


def view(address: Address) -> dict[str, Any]:
    """Clients read the type from the form of the address."""
    answer: dict[str, Any] = {
        "ip": address.ip,
        "region": address.region,
        "shared": address.type == "shared_v4",
        "created_at": rfc3339(address.created_at),
    }
    return answer if address.service_name is None else {**answer, "service_name": address.service_name}
