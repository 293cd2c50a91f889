"""/v1/apps/{app}/volumes: one region, one machine, never smaller, and gone only some time after its deletion."""

from __future__ import annotations

import time
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from local.fly import ids, regions
from local.fly.bodies import Body, read
from local.fly.errors import ApiError
from local.fly.lifecycle import LIFECYCLE
from local.fly.machine_config import Guest
from local.fly.objects import Volume
from local.fly.times import rfc3339
from local.fly.world import WORLD, World

routes = web.RouteTableDef()
VOLUMES = "/v1/apps/{app}/volumes"
VOLUME = VOLUMES + "/{volume}"
LARGEST_GB = 500
DEFAULT_GB = 3
DEFAULT_RETENTION_DAYS = 5
BLOCK_SIZE = 4096
GIGABYTE = 1024**3


class CreateVolume(Body):
    name: str = Field(pattern=r"^[a-z0-9_]{1,30}$")
    region: str | None = None
    size_gb: int = Field(default=DEFAULT_GB, ge=1, le=LARGEST_GB)
    encrypted: bool = True
    fstype: Literal["ext4", "raw"] = "ext4"
    snapshot_retention: int = Field(default=DEFAULT_RETENTION_DAYS, ge=1, le=60)
    auto_backup_enabled: bool = True
    require_unique_zone: bool | None = None
    unique_zone_app_wide: bool | None = None
    compute: Guest | None = None
    compute_image: str | None = None
    snapshot_id: str | None = None
    source_volume_id: str | None = None


class UpdateVolume(Body):
    snapshot_retention: int | None = Field(default=None, ge=1, le=60)
    auto_backup_enabled: bool | None = None


class Extend(Body):
    size_gb: int = Field(ge=1, le=LARGEST_GB)


@routes.get(VOLUMES)
async def list_volumes(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    _forget_deleted(request)
    return web.json_response([view(volume) for volume in world.store.volumes if volume.app == app.name])


@routes.post(VOLUMES)
async def create(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    body = await read(request, CreateVolume)
    if body.snapshot_id or body.source_volume_id:
        raise ApiError(422, "the embedded Fly keeps no snapshots and copies no volumes")
    volume = Volume(
        id=ids.volume_id(),
        app=app.name,
        name=body.name,
        region=regions.known(body.region or world.settings.region),
        size_gb=body.size_gb,
        encrypted=body.encrypted,
        fstype=body.fstype,
        snapshot_retention=body.snapshot_retention,
        auto_backup_enabled=body.auto_backup_enabled,
        created_at=time.time(),
    )
    world.store.volumes.put(volume)
    return web.json_response(view(volume))


@routes.get(VOLUME)
async def get(request: web.Request) -> web.Response:
    _forget_deleted(request)
    return web.json_response(view(_named(request)))


@routes.put(VOLUME)
async def update(request: web.Request) -> web.Response:
    volume = _usable(request)
    body = await read(request, UpdateVolume)
    if body.snapshot_retention is not None:
        volume.snapshot_retention = body.snapshot_retention
    if body.auto_backup_enabled is not None:
        volume.auto_backup_enabled = body.auto_backup_enabled
    request.app[WORLD].store.volumes.put(volume)
    return web.json_response(view(volume))


@routes.put(VOLUME + "/extend")
async def extend(request: web.Request) -> web.Response:
    volume = _usable(request)
    body = await read(request, Extend)
    if body.size_gb <= volume.size_gb:
        raise ApiError(
            422, f"volume {volume.id} has {volume.size_gb} GB: it can only grow, not become {body.size_gb} GB"
        )
    volume.size_gb = body.size_gb
    request.app[WORLD].store.volumes.put(volume)
    return web.json_response({"volume": view(volume), "needs_restart": False})


@routes.delete(VOLUME)
async def delete(request: web.Request) -> web.Response:
    volume = _usable(request)
    if volume.attached_machine is not None:
        raise ApiError(412, f"volume {volume.id} is in use by machine {volume.attached_machine}: destroy that first")
    volume.deleted_at = time.time()
    request.app[WORLD].store.volumes.put(volume)
    await request.app[LIFECYCLE].platform.erase_volume(volume.id)
    return web.json_response(view(volume))


@routes.get(VOLUME + "/snapshots")
async def list_snapshots(request: web.Request) -> web.Response:
    """None are ever made."""
    _named(request)
    return web.json_response([])


def _named(request: web.Request) -> Volume:
    world: World = request.app[WORLD]
    app = world.app(request.match_info["app"])
    volume = world.store.volumes.get(request.match_info["volume"])
    if volume is None or volume.app != app.name:
        raise ApiError(404, f"volume {request.match_info['volume']} not found in app {app.name}")
    return volume


def _usable(request: web.Request) -> Volume:
    volume = _named(request)
    if volume.deleted_at is not None:
        raise ApiError(404, f"volume {volume.id} was deleted")
    return volume


def _forget_deleted(request: web.Request) -> None:
    world = request.app[WORLD]
    for volume in world.store.volumes:
        if volume.deleted_at is not None and time.time() > volume.deleted_at + world.settings.volume_linger_s:
            world.store.volumes.remove(volume)


def view(volume: Volume) -> dict[str, Any]:
    """What is used of it is not measured: it is a folder."""
    blocks = volume.size_gb * GIGABYTE // BLOCK_SIZE
    return {
        "id": volume.id,
        "name": volume.name,
        "state": "created" if volume.deleted_at is None else "pending_destroy",
        "size_gb": volume.size_gb,
        "region": volume.region,
        "zone": ids.derived(volume.id, 4),
        "encrypted": volume.encrypted,
        "attached_machine_id": volume.attached_machine,
        "attached_alloc_id": None,
        "created_at": rfc3339(volume.created_at),
        "host_status": "ok",
        "snapshot_retention": volume.snapshot_retention,
        "auto_backup_enabled": volume.auto_backup_enabled,
        "fstype": volume.fstype,
        "block_size": BLOCK_SIZE,
        "blocks": blocks,
        "blocks_free": blocks,
        "blocks_avail": blocks,
    }
