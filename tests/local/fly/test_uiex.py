"""What Fly's own client asks of Fly's web interface when it lists and shows."""

from __future__ import annotations

import pytest

from tests.local.fly.conftest import Fly


async def test_an_app_has_no_releases(fly: Fly) -> None:
    await fly.app()
    answer = await fly.http.get("/api/v1/apps/shop/releases", params={"limit": 20})
    assert (answer.status_code, answer.json()) == (200, {"releases": []})
    assert (await fly.http.get("/api/v1/apps/shop/releases/current")).status_code == 404
    assert (await fly.http.get("/api/v1/releases/all_current")).json() == {}


@pytest.mark.parametrize(("app", "status"), [("free", 404), ("gateway", 403)])
@pytest.mark.parametrize("part", ["releases", "releases/current"])
async def test_of_another_app_nothing_is_told(fly: Fly, app: str, part: str, status: int) -> None:
    assert (await fly.http.get(f"/api/v1/apps/{app}/{part}")).status_code == status


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
async def test_a_wrong_limit_is_refused(fly: Fly, limit: str) -> None:
    await fly.app()
    assert (await fly.http.get("/api/v1/apps/shop/releases", params={"limit": limit})).status_code == 400


async def test_organizations_are_listed_and_shown(fly: Fly) -> None:
    listed = (await fly.http.get("/api/v1/organizations", params={"admin": "false"})).json()["organizations"]
    assert [organization["slug"] for organization in listed] == ["acme"]
    assert isinstance(listed[0]["internal_numeric_id"], int)
    for slug in ("acme", "personal"):
        assert (await fly.http.get(f"/api/v1/organizations/{slug}")).json() == {"organization": listed[0]}
    assert (await fly.http.get("/api/v1/organizations/nobody")).status_code == 404


async def test_images_are_not_looked_up(fly: Fly) -> None:
    """`fly status` asks, and goes on when it hears these words."""
    asked = await fly.graphql(
        "query ($image: String!, $flyVersion: String) { latestImageDetails(image: $image, flyVersion: $flyVersion) "
        "{ registry repository tag version digest } }",
        image="library/caddy:2",
    )
    assert asked["data"] == {"latestImageDetails": None}
    assert "Unknown repository" in asked["errors"][0]["message"]
