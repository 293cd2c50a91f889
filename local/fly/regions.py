"""The regions a machine may be in. All of them are this computer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from local.fly.errors import ApiError
from local.fly.world import WORLD

routes = web.RouteTableDef()


@dataclass(frozen=True)
class Region:
    """Code and name are Fly's; the position is that of the city."""

    code: str
    name: str
    latitude: float
    longitude: float


REGIONS = {
    region.code: region
    for region in (
        Region("ams", "Amsterdam, Netherlands", 52.4, 4.9),
        Region("arn", "Stockholm, Sweden", 59.3, 18.1),
        Region("bom", "Mumbai, India", 19.1, 72.9),
        Region("cdg", "Paris, France", 48.9, 2.4),
        Region("dfw", "Dallas, Texas (US)", 32.8, -96.8),
        Region("ewr", "Secaucus, NJ (US)", 40.8, -74.1),
        Region("fra", "Frankfurt, Germany", 50.1, 8.7),
        Region("gru", "Sao Paulo, Brazil", -23.6, -46.6),
        Region("iad", "Ashburn, Virginia (US)", 39.0, -77.5),
        Region("jnb", "Johannesburg, South Africa", -26.2, 28.0),
        Region("lax", "Los Angeles, California (US)", 34.1, -118.2),
        Region("lhr", "London, United Kingdom", 51.5, -0.1),
        Region("nrt", "Tokyo, Japan", 35.7, 139.7),
        Region("ord", "Chicago, Illinois (US)", 41.9, -87.6),
        Region("sin", "Singapore, Singapore", 1.4, 103.8),
        Region("sjc", "San Jose, California (US)", 37.3, -121.9),
        Region("syd", "Sydney, Australia", -33.9, 151.2),
        Region("yyz", "Toronto, Canada", 43.7, -79.4),
    )
}


def known(code: str) -> str:
    """The code itself. Raises ApiError 400 for a region Fly does not have."""
    if code not in REGIONS:
        raise ApiError(400, f"unknown region {code!r}: it must be one of {', '.join(REGIONS)}")
    return code


def view(region: Region) -> dict[str, Any]:
    return {
        "code": region.code,
        "name": region.name,
        "latitude": region.latitude,
        "longitude": region.longitude,
        "gateway_available": True,
        "requires_paid_plan": False,
        "deprecated": False,
    }


@routes.get("/v1/platform/regions")
async def list_regions(request: web.Request) -> web.Response:
    nearest = request.app[WORLD].settings.region
    return web.json_response({"regions": [view(region) for region in REGIONS.values()], "nearest": nearest})
