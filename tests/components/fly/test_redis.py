from __future__ import annotations

from typing import Any

import httpx
import pytest

from components.fly.errors import FlyError
from components.fly.redis import RedisProvider, RedisUrlProvider
from tests.components.fly.fake_fly import FakeFly
from tests.components.fly.managed import InvalidError, Make, Managed

CACHE: dict[str, Any] = {
    "name": "cache",
    "organization": "acme",
    "region": "ord",
    "plan": "Pay-as-you-go",
    "eviction": True,
    "auto_upgrade": False,
}
URL = "redis://default:hunter2@fly-cache.upstash.io:6379"


@pytest.fixture
def redis(provider: Make) -> Managed:
    return Managed(provider(RedisProvider))


@pytest.fixture
def url(provider: Make) -> Managed:
    return Managed(provider(RedisUrlProvider))


def creations(fly: FakeFly) -> int:
    return sum("createAddOn(" in body["query"] for body in fly.bodies if body and "query" in body)


def test_a_database_lives_and_dies(fly: FakeFly, redis: Managed) -> None:
    assert redis.up(**CACHE) == "create"
    made = fly.databases["cache"]
    assert (made["options"], made["primaryRegion"], made["addOnPlan"]["id"]) == ({"eviction": True}, "ord", "plan-payg")
    assert redis.refresh()
    assert redis.up(**CACHE) == "same"
    redis.destroy()
    assert fly.databases == {}


@pytest.mark.parametrize("happened", [True, False], ids=["happened", "did not happen"])
def test_an_unclear_deletion_is_repeated(fly: FakeFly, redis: Managed, happened: bool) -> None:
    redis.up(**CACHE)
    fly.fail("POST /graphql", httpx.ReadTimeout("slow"), happened=happened)
    redis.destroy()
    assert fly.databases == {}


def test_its_url_is_waited_for_and_follows_a_reset_password(fly: FakeFly, redis: Managed, url: Managed) -> None:
    fly.redis_url_after_s = 30
    redis.up(**CACHE)
    identity = redis.outputs["identity"]
    url.up(name="cache", identity=identity)
    assert (url.outputs["url"], url.outputs["host"]) == (URL, "fly-cache.upstash.io")
    fly.databases["cache"]["publicUrl"] = URL.replace("hunter2", "another")
    assert url.refresh(), "no difference of the URL itself"
    assert "another" in url.outputs["url"], "but what it is handed on to sees it"
    url.destroy()
    assert "cache" in fly.databases


def test_a_url_that_never_comes_is_an_error_in_the_end(fly: FakeFly, redis: Managed, url: Managed) -> None:
    fly.redis_url_after_s = 999
    redis.up(**CACHE)
    began = fly.clock.now()
    with pytest.raises(FlyError, match=r"cache has no URL; its status is creating\. Run `pulumi up` again"):
        url.up(name="cache", identity="x")
    assert fly.clock.now() - began < 200


def test_a_failed_database_is_said_at_once(fly: FakeFly, redis: Managed, url: Managed) -> None:
    fly.redis_url_after_s = 999
    redis.up(**CACHE)
    fly.databases["cache"] |= {"status": "error", "errorMessage": "no capacity"}
    began = fly.clock.now()
    with pytest.raises(FlyError, match=r"status is error; Fly.io says: no capacity"):
        url.up(name="cache", identity="x")
    assert fly.clock.now() == began


def test_plan_and_options_change_in_place(fly: FakeFly, redis: Managed) -> None:
    redis.up(**CACHE)
    fly.databases["cache"]["options"]["prod_pack"] = True
    assert redis.up(**{**CACHE, "plan": "Fixed 250MB", "eviction": False, "auto_upgrade": True}) == "update"
    made = fly.databases["cache"]
    assert made["options"] == {"auto_upgrade": True, "prod_pack": True}, "what others have set stays"
    assert made["metadata"] == {"set": "by Fly"}
    assert made["addOnPlan"]["id"] == "plan-250"
    assert redis.refresh()


@pytest.mark.parametrize("plan", ["Fixed 250MB", "flyio_fixed_250mb", "plan-250"])
def test_a_plan_has_several_names_and_none_is_a_difference(redis: Managed, plan: str) -> None:
    redis.up(**{**CACHE, "plan": plan})
    assert redis.refresh()


def test_an_unknown_plan_lists_those_there_are(fly: FakeFly, redis: Managed) -> None:
    with pytest.raises(FlyError, match="no Redis plan 'Huge': give one of 'Pay-as-you-go', 'Fixed 250MB'"):
        redis.up(**{**CACHE, "plan": "Huge"})
    assert creations(fly) == 0


def test_an_unknown_organization_is_named(redis: Managed) -> None:
    with pytest.raises(FlyError, match="there is no organization nobody"):
        redis.up(**{**CACHE, "organization": "nobody"})


def test_another_region_is_another_database(fly: FakeFly, redis: Managed) -> None:
    redis.up(**CACHE)
    identity = redis.outputs["identity"]
    assert redis.up(**{**CACHE, "region": "fra"}) == "replace"
    assert fly.databases["cache"]["primaryRegion"] == "fra"
    assert redis.outputs["identity"] != identity, "its URL has to be read anew"


def test_a_database_that_is_there_is_adopted_and_brought_into_shape(fly: FakeFly, redis: Managed) -> None:
    fly.add_redis("cache", "plan-250")
    redis.up(**CACHE)
    assert creations(fly) == 0
    assert (fly.databases["cache"]["addOnPlan"]["id"], fly.databases["cache"]["options"]) == (
        "plan-payg",
        {"eviction": True},
    )


def test_a_database_in_another_region_is_not_adopted(fly: FakeFly, redis: Managed) -> None:
    fly.add_redis("cache", region="fra")
    with pytest.raises(FlyError, match="exists with region fra, not ord"):
        redis.up(**CACHE)


def test_an_unclear_creation_is_looked_up(fly: FakeFly, redis: Managed) -> None:
    fly.fail("POST /graphql", httpx.Response(200, json={"data": {"addOn": None}}))
    fly.fail("POST /graphql", httpx.Response(200, json={"data": {"organization": {"id": "org-acme"}}}))
    plans = {"data": {"addOnPlans": {"nodes": [{"id": "plan-payg", "name": "x", "displayName": "Pay-as-you-go"}]}}}
    fly.fail("POST /graphql", httpx.Response(200, json=plans))
    fly.fail("POST /graphql", httpx.ReadTimeout("slow"), happened=True)
    redis.up(**CACHE)
    assert creations(fly) == 1


def test_options_changed_by_someone_are_seen_and_set_back(fly: FakeFly, redis: Managed) -> None:
    redis.up(**CACHE)
    fly.databases["cache"]["options"] = {}
    assert not redis.refresh()
    assert redis.inputs["eviction"] is False
    assert redis.up(**CACHE) == "update"
    assert fly.databases["cache"]["options"] == {"eviction": True}


def test_a_deleted_database_is_made_again(fly: FakeFly, redis: Managed, url: Managed) -> None:
    redis.up(**CACHE)
    url.up(name="cache", identity="x")
    fly.databases.clear()
    assert not redis.refresh()
    assert not url.refresh()
    assert redis.up(**CACHE) == "create"


def test_a_refused_token_is_no_missing_database(fly: FakeFly, redis: Managed) -> None:
    fly.fail("POST /graphql", 401)
    with pytest.raises(FlyError, match="does not accept the token"):
        redis.up(**CACHE)
    fly.fail("POST /graphql", httpx.Response(200, json={"errors": [{"message": "Not authorized"}]}))
    with pytest.raises(FlyError, match="Not authorized"):
        redis.up(**CACHE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Cache"}, "name is 'Cache'"),
        ({"plan": " "}, "plan is ' '"),
        ({"eviction": "yes"}, "eviction is 'yes'; give true or false"),
        ({"region": "chicago"}, "region is 'chicago'"),
    ],
)
def test_a_bad_input_is_refused(redis: Managed, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        redis.up(**{**CACHE, **change})
