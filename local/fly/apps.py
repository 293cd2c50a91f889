"""/v1/apps: names that are unique in the whole world, and everything that goes with an app when it goes."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from aiohttp import web

from local.fly import ids
from local.fly.bodies import Body, Name, flag, read
from local.fly.errors import ApiError
from local.fly.lifecycle import LIFECYCLE
from local.fly.objects import App
from local.fly.world import WORLD, World

routes = web.RouteTableDef()

# A killed machine is gone in well under a second; a busy computer may need more.
DELETION_DEADLINE_S = 30.0


class CreateApp(Body):
    name: Name
    org_slug: str
    network: str = ""
    app_role_id: str | None = None
    """Sent by Fly's own client."""


@routes.get("/v1/apps")
async def list_apps(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    slug = request.query.get("org_slug")
    if slug is None:
        raise ApiError(400, "query parameter org_slug is missing")
    if not world.organization.is_called(slug):
        raise ApiError(404, f"organization {slug} not found")
    apps = [view(world, app) for app in visible(world)]
    return web.json_response({"total_apps": len(apps), "apps": apps})


@routes.post("/v1/apps")
async def create(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    body = await read(request, CreateApp)
    if not world.organization.is_called(body.org_slug):
        raise ApiError(404, f"organization {body.org_slug} not found")
    if body.name in world.store.apps or world.is_somebody_elses(body.name):
        raise ApiError(422, f"app name {body.name} has already been taken", "name_taken")
    app = App(
        name=body.name,
        id=ids.opaque_id(),
        organization=world.organization.slug,
        network=body.network,
        created_at=time.time(),
        salt=secrets.token_hex(16),
    )
    world.store.apps.put(app)
    return web.json_response(view(world, app), status=201)


@routes.get("/v1/apps/{app}")
async def get(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    return web.json_response(view(world, world.app(request.match_info["app"])))


@routes.delete("/v1/apps/{app}")
async def delete(request: web.Request) -> web.Response:
    world, lifecycle = request.app[WORLD], request.app[LIFECYCLE]
    app = world.app(request.match_info["app"])
    running = [machine.id for machine in world.machines(app.name) if machine.state not in ("stopped", "failed")]
    if running and not flag(request, "force"):
        raise ApiError(412, f"app {app.name} has running machines: {', '.join(running)}. Stop them, or use force=true.")
    try:
        async with asyncio.timeout(DELETION_DEADLINE_S):
            while (machine := next(world.machines(app.name), None)) is not None:
                await lifecycle.destroy(machine, kill=True, allow=lambda: None)
                while machine.state != "destroyed":
                    await world.change(machine)
    except TimeoutError:
        raise ApiError(408, f"app {app.name}: its machines did not end within {DELETION_DEADLINE_S:g} s") from None
    if app.name not in world.store.apps:  # somebody else deleted it meanwhile
        return web.Response(status=202)
    volumes = [volume for volume in world.store.volumes if volume.app == app.name]
    with world.store.transaction():
        _remove(world, app)
    for volume in volumes:
        await lifecycle.platform.erase_volume(volume.id)
    lifecycle.publish_names()
    return web.Response(status=202)


def _remove(world: World, app: App) -> None:
    """The app and what belongs to it. Redis databases belong to the organization: they stay."""
    store = world.store
    for machine in [machine for machine in store.machines if machine.app == app.name]:
        for version in world.versions(machine):
            store.versions.remove(version)
        store.machines.remove(machine)
    for volume in [volume for volume in store.volumes if volume.app == app.name]:
        store.volumes.remove(volume)
    for address in [address for address in store.addresses if address.app == app.name]:
        store.addresses.remove(address)
    for certificate in [certificate for certificate in store.certificates if certificate.app == app.name]:
        store.certificates.remove(certificate)
    store.apps.remove(app)


def visible(world: World) -> list[App]:
    """Apps that have spread; see World.app."""
    limit = time.time() - world.settings.app_propagation_s
    return [app for app in world.store.apps if app.created_at <= limit]


def status(world: World, app: App) -> str:
    """`pending` until it has a machine."""
    return "deployed" if any(world.machines(app.name)) else "pending"


def view(world: World, app: App) -> dict[str, Any]:
    organization = world.organization
    return {
        "id": app.id,
        "name": app.name,
        "internal_numeric_id": ids.numeric_id(app.id),
        "network": app.network,
        "status": status(world, app),
        "machine_count": sum(1 for _ in world.machines(app.name)),
        "volume_count": sum(1 for v in world.store.volumes if v.app == app.name and v.deleted_at is None),
        "cname_target": f"{app.name}.fly.dev",
        "organization": {
            "name": organization.name,
            "slug": organization.slug,
            "internal_numeric_id": organization.numeric_id,
        },
    }
