"""/v1/tokens/current: whose token it is."""

from __future__ import annotations

from aiohttp import web

from local.fly import ids
from local.fly.world import WORLD

routes = web.RouteTableDef()


@routes.get("/v1/tokens/current")
async def current(request: web.Request) -> web.Response:
    organization = request.app[WORLD].organization
    token = {
        "token_id": ids.derived(f"token {organization.slug}", 16),
        "organization": organization.id,
        "org_slug": organization.slug,
        "apps": ["*"],
        "user": "embedded@localhost",
    }
    return web.json_response({"tokens": [token]})
