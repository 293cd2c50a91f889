"""/api/v1: the part of Fly's web interface that its own client asks when it lists and shows. Undocumented by Fly; the
shapes are those which the client decodes (its packages internal/uiex).

There are no releases: machines are made by the Machines API here, and `fly deploy` is not served.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from local.fly.bodies import number
from local.fly.errors import ApiError
from local.fly.organizations import PERSONAL, Organization
from local.fly.world import WORLD

routes = web.RouteTableDef()
RELEASES = "/api/v1/apps/{app}/releases"
RELEASES_SHOWN = 20
MOST_RELEASES = 200
ORGANIZATIONS = "/api/v1/organizations"


@routes.get(RELEASES)
async def list_releases(request: web.Request) -> web.Response:
    request.app[WORLD].app(request.match_info["app"])
    number(request, "limit", RELEASES_SHOWN, 1, MOST_RELEASES)
    return web.json_response({"releases": []})


@routes.get(RELEASES + "/current")
async def current_release(request: web.Request) -> web.Response:
    app = request.app[WORLD].app(request.match_info["app"])
    raise ApiError(404, f"app {app.name} has no release")


@routes.get("/api/v1/releases/all_current")
async def current_releases(_: web.Request) -> web.Response:
    """App name → time."""
    return web.json_response({})


@routes.get(ORGANIZATIONS)
async def list_organizations(request: web.Request) -> web.Response:
    return web.json_response({"organizations": [view(request.app[WORLD].organization)]})


@routes.get(ORGANIZATIONS + "/{slug}")
async def organization(request: web.Request) -> web.Response:
    own, slug = request.app[WORLD].organization, request.match_info["slug"]
    if not own.is_called(slug):
        raise ApiError(404, f"organization {slug} not found")
    return web.json_response({"organization": view(own)})


def view(organization: Organization) -> dict[str, Any]:
    return {
        "id": organization.id,
        "internal_numeric_id": organization.numeric_id,
        "slug": organization.slug,
        "raw_slug": organization.slug,
        "name": organization.name,
        "personal": organization.slug == PERSONAL,
        "paid_plan": True,
        "billable": True,
        "billing_status": "CURRENT",
        "provisions_beta_extensions": False,
        "remote_builder_image": "",
    }
