"""The HTTP server: what every request passes before it reaches the functions with `@routes`."""

from __future__ import annotations

import hmac
import logging
import time

from aiohttp import web
from aiohttp.typedefs import Handler

from local.fly import (
    addresses,
    app_secrets,
    apps,
    certificates,
    embedded,
    fault_admin,
    graphql_api,
    ids,
    limits,
    machine_parts,
    machines,
    regions,
    tokens,
    uiex,
    volumes,
)
from local.fly.answers import REQUEST_ID, REQUEST_ID_HEADER, answer
from local.fly.databases import Databases
from local.fly.errors import ApiError
from local.fly.fault_effects import faulty
from local.fly.graphql_api import DATABASES
from local.fly.lifecycle import LIFECYCLE, Lifecycle
from local.fly.world import WORLD, World

requests_log = logging.getLogger("local.fly.requests")

SCHEMES = ("Bearer", "FlyV1")
# Machine files travel inside the configuration.
LARGEST_BODY = 64 * 1024 * 1024
BUCKETS = web.AppKey("buckets", limits.Buckets)


def make_app(world: World, lifecycle: Lifecycle) -> web.Application:
    app = web.Application(middlewares=[answered, authenticated, limited, faulty], client_max_size=LARGEST_BODY)
    app[WORLD] = world
    app[LIFECYCLE] = lifecycle
    app[DATABASES] = Databases(world, lifecycle)
    app[BUCKETS] = limits.Buckets()
    for module in (
        addresses,
        app_secrets,
        apps,
        certificates,
        embedded,
        fault_admin,
        graphql_api,
        machine_parts,
        machines,
        regions,
        tokens,
        uiex,
        volumes,
    ):
        app.add_routes(module.routes)
    return app


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives every answer an id and every refusal its form, and writes the one line of the log."""
    request_id = request[REQUEST_ID] = f"{ids.ulid()}-{request.app[WORLD].settings.region}"
    began = time.monotonic()
    response = await answer(request, handler)
    response.headers[REQUEST_ID_HEADER] = request_id
    took_ms = (time.monotonic() - began) * 1000
    requests_log.info("%s %s %d %.0f ms %s", request.method, request.path, response.status, took_ms, request_id)
    return response


@web.middleware
async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    words = request.headers.get("Authorization", "").split()
    if len(words) != 2 or words[0] not in SCHEMES:
        raise ApiError(401, "malformed authorization header")
    if not hmac.compare_digest(words[1].encode(), request.app[WORLD].settings.token.encode()):
        raise ApiError(401, "token is not valid")
    return await handler(request)


@web.middleware
async def limited(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.app[WORLD].settings.rate_limits:
        limits.check(request.app[BUCKETS], request)
    return await handler(request)
