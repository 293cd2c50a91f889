"""Redis over GraphQL, with the operations that Fly's own client sends."""

from __future__ import annotations

from typing import Any

import pytest

from local.fly.databases import PAY_AS_YOU_GO
from tests.local.fly.conftest import Fly, Serve

FIELDS = "id name publicUrl password primaryRegion readRegions status options metadata addOnPlan {id displayName}"
CREATE = f"mutation CreateAddOn($input: CreateAddOnInput!) {{createAddOn(input: $input) {{addOn {{{FIELDS}}}}}}}"
UPDATE = f"mutation ($input: UpdateAddOnInput!) {{updateAddOn(input: $input) {{addOn {{{FIELDS}}}}}}}"
GET = f'query GetAddOn($name: String) {{addOn(name: $name, provider: "upstash_redis") {{{FIELDS}}}}}'
DELETE = "mutation ($input: DeleteAddOnInput!) {deleteAddOn(input: $input) {deletedAddOnName}}"
RESET = "mutation ($input: ResetAddOnPasswordInput!) {resetAddOnPassword(input: $input) {addOn {publicUrl}}}"


async def create(fly: Fly, **fields: Any) -> dict[str, Any]:
    """The whole answer."""
    organization = await fly.graphql("query ($slug: String) {organization(slug: $slug) {id}}", slug="acme")
    id = organization["data"]["organization"]["id"]
    wanted = {"type": "upstash_redis", "organizationId": id, "name": "cache", "primaryRegion": "ord", **fields}
    return await fly.graphql(CREATE, input=wanted)


async def created(fly: Fly, **fields: Any) -> dict[str, Any]:
    answer = await create(fly, **fields)
    assert "errors" not in answer, answer
    made: dict[str, Any] = answer["data"]["createAddOn"]["addOn"]
    return made


async def plan(fly: Fly, name: str) -> str:
    answer = await fly.graphql("{addOnPlans(type: upstash_redis) {nodes {id displayName maxDataSize pricePerMonth}}}")
    ids = {plan["displayName"]: plan["id"] for plan in answer["data"]["addOnPlans"]["nodes"]}
    return str(ids[name])


async def test_a_database_is_a_real_one_under_a_private_name(fly: Fly) -> None:
    made = await created(fly, options={"eviction": True})
    password = made["password"]
    assert made["publicUrl"] == f"redis://default:{password}@fly-cache.upstash.io:6379"
    assert made["addOnPlan"]["id"] == PAY_AS_YOU_GO
    assert (made["status"], made["primaryRegion"], made["options"]) == ("ready", "ord", {"eviction": True})
    runs = fly.platform.computer.databases["cache"]
    assert (runs["password"], runs["eviction"], runs["max_memory_mb"]) == (password, True, 10240)
    assert fly.platform.names["fly-cache.upstash.io"] == [runs["address"]]
    assert (await fly.graphql(GET, name="cache"))["data"]["addOn"] == made


async def test_databases_of_the_organization_are_listed(fly: Fly) -> None:
    await created(fly, name="a")
    await created(fly, name="b")
    answer = await fly.graphql(
        '{addOns(type: upstash_redis) {nodes {name}} organization(slug: "acme") {addOns {nodes {name} totalCount}}}'
    )
    assert [node["name"] for node in answer["data"]["addOns"]["nodes"]] == ["a", "b"]
    assert answer["data"]["organization"]["addOns"]["totalCount"] == 2
    none = await fly.graphql("{addOns(type: tigris) {nodes {name}}}")
    assert none["data"]["addOns"]["nodes"] == []


async def test_plan_and_options_change_what_runs(fly: Fly) -> None:
    made = await created(fly, options={"eviction": True})
    fixed = await plan(fly, "Fixed 250MB")
    options = {"auto_upgrade": True}
    answer = await fly.graphql(UPDATE, input={"addOnId": made["id"], "planId": fixed, "options": options})
    changed = answer["data"]["updateAddOn"]["addOn"]
    assert changed["addOnPlan"] == {"id": fixed, "displayName": "Fixed 250MB"}
    assert changed["options"] == options, "options are replaced whole"
    assert changed["publicUrl"] == made["publicUrl"]
    runs = fly.platform.computer.databases["cache"]
    assert (runs["eviction"], runs["max_memory_mb"]) == (False, 250)
    await fly.graphql(UPDATE, input={"name": "cache", "provider": "upstash_redis", "metadata": {"a": 1}})
    now = (await fly.graphql(GET, name="cache"))["data"]["addOn"]
    assert (now["metadata"], now["options"], now["addOnPlan"]["id"]) == ({"a": 1}, options, fixed)


async def test_prod_pack_comes_with_a_plan_only(fly: Fly) -> None:
    await created(fly)
    alone = await fly.graphql(UPDATE, input={"name": "cache", "prodPack": True})
    assert "only together with" in alone["errors"][0]["message"]
    both = await fly.graphql(UPDATE, input={"name": "cache", "prodPack": True, "planId": PAY_AS_YOU_GO})
    assert both["data"]["updateAddOn"]["addOn"]["options"] == {"prod_pack": True}


async def test_a_new_password_is_really_another(fly: Fly) -> None:
    made = await created(fly)
    answer = await fly.graphql(RESET, input={"name": "cache"})
    url = answer["data"]["resetAddOnPassword"]["addOn"]["publicUrl"]
    now = (await fly.graphql(GET, name="cache"))["data"]["addOn"]
    assert url == now["publicUrl"] != made["publicUrl"]
    assert fly.platform.computer.databases["cache"]["password"] == now["password"] != made["password"]


async def test_deleting(fly: Fly) -> None:
    await created(fly)
    for input in ({"name": "cache", "provider": "upstash_redis"}, {"addOnId": (await created(fly, name="b"))["id"]}):
        answer = await fly.graphql(DELETE, input=input)
        assert answer["data"]["deleteAddOn"]["deletedAddOnName"] in ("cache", "b")
    assert fly.platform.computer.databases == {}
    assert fly.platform.names == {}
    for answer in (await fly.graphql(DELETE, input={"name": "cache"}), await fly.graphql(GET, name="cache")):
        assert "Could not find" in answer["errors"][0]["message"]
        assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "No Name"}, "Name"),
        ({"organizationId": "another"}, "Could not find Organization"),
        ({"organizationId": None}, "organizationId"),
        ({"planId": "none"}, "plan none"),
        ({"primaryRegion": "moon"}, "unknown region"),
        ({"readRegions": ["ord"]}, "primary region"),
        ({"readRegions": ["moon"]}, "unknown region"),
        ({"options": {"evict": True}}, "unknown field evict"),
        ({"options": {"eviction": "yes"}}, "eviction"),
        ({"options": {"auto_upgrade": True}}, "fixed plans"),
        ({"type": "tigris"}, "tigris"),
    ],
)
async def test_a_wrong_database_is_refused(fly: Fly, fields: dict[str, Any], text: str) -> None:
    answer = await create(fly, **fields)
    assert text in answer["errors"][0]["message"]
    assert fly.platform.computer.databases == {}


async def test_a_name_is_taken_once(fly: Fly) -> None:
    await created(fly)
    assert "already been taken" in (await create(fly))["errors"][0]["message"]


async def test_databases_run_again_with_the_next_daemon(serve: Serve) -> None:
    fly = await serve()
    made = await created(fly, options={"eviction": True})
    before = dict(fly.platform.computer.databases["cache"])
    again = await serve()
    assert again.platform.computer.databases["cache"] == before
    assert again.platform.names == {"fly-cache.upstash.io": [before["address"]]}
    assert (await again.graphql(GET, name="cache"))["data"]["addOn"] == made
