from __future__ import annotations

import asyncio

import pytest

from tests.local.fly.conftest import Fly, Serve


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


async def test_a_name_is_taken_by_oneself_and_by_others(fly: Fly) -> None:
    await fly.app("shop")
    for name in ("shop", "gateway"):
        answer = await fly.http.post("/v1/apps", json={"name": name, "org_slug": "acme"})
        assert answer.status_code == 422
        assert answer.json()["status"] == "name_taken"


async def test_somebody_elses_app_is_forbidden_and_a_free_name_not_found(fly: Fly) -> None:
    assert (await fly.http.get("/v1/apps/gateway")).status_code == 403
    assert (await fly.http.get("/v1/apps/gateway/machines")).status_code == 403
    assert (await fly.http.delete("/v1/apps/gateway")).status_code == 403
    assert (await fly.http.get("/v1/apps/free")).status_code == 404


async def test_a_new_app_spreads_before_it_can_be_used(serve: Serve) -> None:
    fly = await serve(app_propagation_s=0.2)
    await fly.app("shop")
    assert (await fly.http.get("/v1/apps/shop")).status_code == 404
    assert (await fly.http.post("/v1/apps/shop/secrets", json={"values": {"A": "b"}})).status_code == 404
    await asyncio.sleep(0.2)
    assert (await fly.http.get("/v1/apps/shop")).status_code == 200
    assert (await fly.http.post("/v1/apps/shop/secrets", json={"values": {"A": "b"}})).status_code == 200


async def test_personal_is_another_name_of_the_organization(fly: Fly) -> None:
    made = (await fly.http.post("/v1/apps", json={"name": "shop", "org_slug": "personal"})).json()
    assert made["organization"]["slug"] == "acme"
    listed = await fly.http.get("/v1/apps", params={"org_slug": "personal"})
    assert [app["name"] for app in listed.json()["apps"]] == ["shop"]
    assigned = await fly.http.post("/v1/apps/shop/ip_assignments", json={"type": "v6", "org_slug": "personal"})
    assert assigned.status_code == 200
    asked = await fly.graphql('{organization(slug: "personal") {slug}}')
    assert asked["data"] == {"organization": {"slug": "acme"}}
    assert (await fly.http.get("/v1/apps", params={"org_slug": "nobody"})).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "Shop", "org_slug": "acme"}, 422),
        ({"name": "a" * 64, "org_slug": "acme"}, 422),
        ({"name": "shop-", "org_slug": "acme"}, 422),
        ({"name": "shop", "org_slug": "nobody"}, 404),
        ({"name": "shop"}, 400),
        ({"name": 7, "org_slug": "acme"}, 400),
        ({"app_name": "shop", "org_slug": "acme"}, 400),
    ],
)
async def test_a_wrong_app_is_refused(fly: Fly, body: dict[str, object], status: int) -> None:
    assert (await fly.http.post("/v1/apps", json=body)).status_code == status


async def test_the_unknown_field_is_named(fly: Fly) -> None:
    answer = await fly.http.post("/v1/apps", json={"name": "shop", "org_slug": "acme", "colour": "red"})
    assert (answer.status_code, answer.json()["error"]) == (400, "unknown field colour")


async def test_an_app_with_running_machines_is_deleted_only_by_force(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine()
    refused = await fly.http.delete(app)
    assert refused.status_code == 412
    assert machine["id"] in refused.json()["error"]
    assert fly.platform.runs(machine["id"])
    assert (await fly.http.delete(app, params={"force": "true"})).status_code == 202
    assert not fly.platform.runs(machine["id"])
    assert (await fly.http.get(app)).status_code == 404


async def test_what_belongs_to_an_app_goes_with_it_and_nothing_else(fly: Fly) -> None:
    organization = (await fly.graphql("{organization{id}}"))["data"]["organization"]["id"]
    create = "mutation($input: CreateAddOnInput!) {createAddOn(input: $input) {addOn {id}}}"
    await fly.graphql(create, input={"type": "upstash_redis", "organizationId": organization, "name": "cache"})
    for name in ("shop", "other"):
        app = await fly.app(name)
        volume = (await fly.http.post(f"{app}/volumes", json={"name": "data", "region": "ord"})).json()
        mount = {"volume": volume["id"], "path": "/data"}
        await fly.machine(app, config={"image": "known", "mounts": [mount]})
        await fly.http.post(f"{app}/ip_assignments", json={"type": "v6"})
        await fly.http.post(f"{app}/certificates/acme", json={"hostname": f"{name}.example.com"})
        await fly.http.post(f"{app}/secrets", json={"values": {"A": "b"}})

    assert (await fly.http.delete("/v1/apps/shop", params={"force": "true"})).status_code == 202

    await fly.app("shop")
    again = (await fly.http.get("/v1/apps/shop")).json()
    assert (again["machine_count"], again["volume_count"]) == (0, 0)
    for part in ("machines?include_deleted=true", "volumes"):
        assert (await fly.http.get(f"/v1/apps/shop/{part}")).json() == []
    assert (await fly.http.get("/v1/apps/shop/ip_assignments")).json() == {"ips": []}
    assert (await fly.http.get("/v1/apps/shop/certificates")).json()["total_count"] == 0
    assert (await fly.http.get("/v1/apps/shop/secrets")).json() == {"secrets": []}
    other = (await fly.http.get("/v1/apps/other")).json()
    assert (other["machine_count"], other["volume_count"], other["status"]) == (1, 1, "deployed")
    assert "cache" in fly.platform.computer.databases
    assert len(fly.platform.computer.volumes_erased) == 1


async def test_two_deletions_at_once_both_succeed(fly: Fly) -> None:
    app = await fly.app()
    await fly.machine()
    answers = await asyncio.gather(*(fly.http.delete(app, params={"force": "true"}) for _ in range(2)))
    assert {answer.status_code for answer in answers} <= {202, 404}
    assert (await fly.http.get(app)).status_code == 404
