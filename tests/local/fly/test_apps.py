from __future__ import annotations

from tests.local.fly.conftest import Fly


async def test_a_new_app_can_be_read_and_listed(fly: Fly) -> None:
    created = await fly.http.post("/v1/apps", json={"name": "shop", "org_slug": "acme", "network": "back"})
    assert created.status_code == 201
    app = (await fly.http.get("/v1/apps/shop")).json()
    assert (app["name"], app["network"], app["status"]) == ("shop", "back", "pending")
    assert app["organization"]["slug"] == "acme"
    assert app["internal_numeric_id"] < 2**31
    listed = (await fly.http.get("/v1/apps", params={"org_slug": "acme"})).json()
    assert [a["name"] for a in listed["apps"]] == ["shop"]
    assert listed["total_apps"] == 1
