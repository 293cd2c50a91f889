"""Each fault as a client of the API meets it, and what is left behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from tests.local.fly.conftest import MACHINE, TOKEN, Fly
from tests.local.fly.test_redis import GET as READ_REDIS
from tests.local.fly.test_redis import create as create_redis
from tests.local.fly.test_redis import created as created_redis

SHOP = {"name": "shop", "org_slug": "acme"}


async def fault(fly: Fly, kind: str, **fields: Any) -> None:
    answer = await fly.http.post("/_embedded/faults", json={"kind": kind, **fields})
    assert answer.status_code == 201, answer.text


async def fired(fly: Fly) -> list[int]:
    return [rule["fired"] for rule in (await fly.http.get("/_embedded/faults")).json()]


async def calls(fly: Fly) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await fly.http.get("/_embedded/calls")).json()
    return found


def exists(fly: Fly, app: str = "shop") -> bool:
    return app in fly.world.store.apps


async def make(fly: Fly) -> httpx.Response:
    return await fly.http.post("/v1/apps", json=SHOP)


async def test_a_refused_call_is_not_carried_out(fly: Fly) -> None:
    await fault(fly, "refuse", method="POST", path="/v1/apps")
    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending"):
        await make(fly)
    assert not exists(fly)
    assert (await make(fly)).status_code == 201, "once is once"
    assert await fired(fly) == [1]


async def test_a_refusal_is_an_end_and_no_reset_however_much_is_sent(fly: Fly) -> None:
    await fault(fly, "refuse")
    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending"):
        await fly.http.post("/v1/apps", content=b" " * 8_000_000)


@pytest.mark.parametrize(("when", "made"), [(None, True), ("after", True), ("before", False)])
async def test_a_reset(fly: Fly, when: str | None, made: bool) -> None:
    await fault(fly, "reset", when=when, method="POST", path="/v1/apps")
    with pytest.raises(httpx.ReadError):  # a reset, not an end
        await make(fly)
    assert exists(fly) is made


@pytest.mark.parametrize(
    ("kind", "fields", "status", "made"),
    [
        ("error", {}, 500, False),
        ("error", {"status": 503}, 503, False),
        ("error", {"status": 502, "when": "after"}, 502, True),
        ("timeout", {}, 408, True),
        ("timeout", {"when": "before"}, 408, False),
        ("rate_limit", {}, 429, False),
        ("html", {}, 200, False),
        ("html", {"status": 502}, 502, False),
        ("html", {"when": "after"}, 200, True),
    ],
)
async def test_an_answer_in_place_of_the_real_one(
    fly: Fly, kind: str, fields: dict[str, Any], status: int, made: bool
) -> None:
    await fault(fly, kind, path="/v1/apps", **fields)
    async with httpx.AsyncClient(base_url=fly.http.base_url, trust_env=False) as plain:
        answer = await plain.post("/v1/apps", json=SHOP, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == status
    assert answer.headers["fly-request-id"]
    assert answer.headers["content-type"].startswith("text/html" if kind == "html" else "application/json")
    assert exists(fly) is made
    assert (await calls(fly))[0]["faults"] == [kind]


@pytest.mark.parametrize(("fields", "header"), [({}, None), ({"seconds": 3}, "3")])
async def test_retry_after_is_sent_or_not(fly: Fly, fields: dict[str, Any], header: str | None) -> None:
    await fault(fly, "rate_limit", **fields)
    answer = await fly.http.get("/v1/platform/regions")
    assert (answer.status_code, answer.headers.get("retry-after")) == (429, header)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_delay(fly: Fly, when: str) -> None:
    await fault(fly, "delay", seconds=0.2, when=when)
    began = time.monotonic()
    making = asyncio.create_task(make(fly))
    await asyncio.wait([making], timeout=0.1)
    assert not making.done()
    assert exists(fly) is (when == "after")
    assert (await making).status_code == 201
    assert time.monotonic() - began >= 0.2


async def test_half_an_answer(fly: Fly) -> None:
    await fault(fly, "truncate")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        await make(fly)
    assert exists(fly)


async def test_half_an_answer_without_a_body(fly: Fly) -> None:
    app = await fly.app()
    made = (await fly.http.post(f"{app}/ip_assignments", json={"type": "v6"})).json()
    await fault(fly, "truncate", method="DELETE")
    with pytest.raises(httpx.RemoteProtocolError):
        await fly.http.delete(f"{app}/ip_assignments/{made['ip']}")
    assert (await fly.http.get(f"{app}/ip_assignments")).json() == {"ips": []}


async def test_a_fault_hides_a_refusal_too(fly: Fly) -> None:
    await fault(fly, "timeout", path="/v1/apps/{app}")
    assert (await fly.http.get("/v1/apps/nothing")).status_code == 408
    assert (await fly.http.get("/v1/apps/nothing")).status_code == 404


async def test_several_faults_at_one_call_and_the_rest_for_the_next(fly: Fly) -> None:
    await fault(fly, "reset")
    await fault(fly, "error", status=503)
    await fault(fly, "delay", seconds=0)
    assert (await make(fly)).status_code == 503
    assert await fired(fly) == [0, 1, 0]
    with pytest.raises(httpx.ReadError):
        await make(fly)
    assert await fired(fly) == [1, 1, 1]
    assert [call["faults"] for call in await calls(fly)] == [["error"], ["delay", "reset"]]


async def test_graphql_by_its_field(fly: Fly) -> None:
    await fault(fly, "timeout", operation="createAddOn")
    organization = await fly.graphql("{organization {id}}")
    assert "errors" not in organization
    wanted = {"type": "upstash_redis", "organizationId": organization["data"]["organization"]["id"], "name": "cache"}
    query = "mutation CreateAddOn($input: CreateAddOnInput!) {createAddOn(input: $input) {addOn {name}}}"
    answer = await fly.http.post("/graphql", json={"query": query, "variables": {"input": wanted}})
    assert answer.status_code == 408
    assert "cache" in fly.platform.computer.databases
    assert [call["operation"] for call in await calls(fly)] == ["query organization", "mutation createAddOn"]


async def test_the_numbered_call(fly: Fly) -> None:
    await fly.app()
    assert (await fly.http.delete("/_embedded/calls")).status_code == 204
    await fault(fly, "error", call=2)
    statuses = [(await fly.http.get("/v1/apps/shop")).status_code for _ in range(3)]
    assert statuses == [200, 500, 200]
    seen = [(call["number"], call["method"], call["template"], call["status"]) for call in await calls(fly)]
    assert seen == [
        (1, "GET", "/v1/apps/{app}", 200),
        (2, "GET", "/v1/apps/{app}", 500),
        (3, "GET", "/v1/apps/{app}", 200),
    ]


async def test_calls_hold_neither_names_nor_values(fly: Fly) -> None:
    await fly.app()
    await fly.http.post("/v1/apps/shop/secrets", json={"values": {"KEY": "hunter2"}})
    await fly.http.get("/v1/apps", params={"org_slug": "nobody"})
    await fault(fly, "reset")
    with pytest.raises(httpx.ReadError):
        await fly.http.get("/v1/apps/shop")
    text = (await fly.http.get("/_embedded/calls")).text
    assert [call["status"] for call in await calls(fly)] == [201, 200, 404, None]
    for word in ("hunter2", TOKEN, "shop", "nobody"):
        assert word not in text


async def test_rules_are_listed_and_cleared(fly: Fly) -> None:
    await fault(fly, "reset", path="/v1/apps", nth=2, times=3)
    listed = (await fly.http.get("/_embedded/faults")).json()
    assert listed == [{"id": 1, "kind": "reset", "when": "after", "path": "/v1/apps", "nth": 2, "times": 3, "fired": 0}]
    assert (await fly.http.delete("/_embedded/faults")).status_code == 204
    assert (await fly.http.get("/_embedded/faults")).json() == []


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        ({}, 400, "kind"),
        ({"kind": "nonsense"}, 422, "must be one of refuse"),
        ({"kind": "reset", "path": "/v1/app"}, 422, "path /v1/app: no call has it"),
        ({"kind": "reset", "path": "/v1/apps/{app}/machine"}, 422, "no call has it"),
        ({"kind": "reset", "path": "/v1/apps/{app}/machines[/{machine}/halt]"}, 422, "/halt: no call has it"),
        ({"kind": "reset", "operation": "createAddon"}, 422, "must be a root field"),
        ({"kind": "reset", "operation": "query createAddOn"}, 422, "must be a root field"),
        ({"kind": "reset", "colour": "red"}, 400, "unknown field colour"),
    ],
)
async def test_a_rule_that_would_never_fire_is_refused(fly: Fly, sent: object, status: int, words: str) -> None:
    answer = await fly.http.post("/_embedded/faults", json=sent)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize(
    "path", ["/v1/apps/shop", "/v1/apps/{any}", "/v1/apps/shop/machines/{machine}/lease", "/graphql"]
)
async def test_names_may_stand_in_a_path(fly: Fly, path: str) -> None:
    await fault(fly, "reset", path=path)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "faults"), ("POST", "faults"), ("DELETE", "faults"), ("GET", "calls")]
)
async def test_the_token_is_needed(fly: Fly, method: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=fly.http.base_url, trust_env=False) as stranger:
        answer = await stranger.request(method, f"/_embedded/{path}", json={"kind": "crash"})
    assert answer.status_code == 401


async def test_no_room(fly: Fly) -> None:
    app = await fly.app()
    await fault(fly, "insufficient_capacity")
    refused = await fly.http.post(f"{app}/machines", json=MACHINE)
    assert (refused.status_code, refused.json()["status"]) == (422, "insufficient_capacity")
    assert "region ord" in refused.json()["error"]
    assert (await fly.http.get(f"{app}/machines")).json() == []
    await fly.machine()


async def test_secrets_that_are_slow(fly: Fly) -> None:
    app = await fly.app()
    version = (await fly.http.post(f"{app}/secrets", json={"values": {"KEY": "x"}})).json()["version"]
    await fault(fly, "slow_secrets", times=2)
    machine = await fly.machine()  # it asks for no version
    path = f"{app}/machines/{machine['id']}"
    body = {**MACHINE, "min_secrets_version": version}
    assert (await fly.http.post(f"{app}/machines", json=body)).status_code == 412
    assert (await fly.http.post(path, json=body)).status_code == 412
    assert (await fly.http.post(path, json=body)).status_code == 200
    assert await fired(fly) == [2]


async def test_another_client_is_faster_with_the_lease(fly: Fly) -> None:
    app = await fly.app()
    path = f"{app}/machines/{(await fly.machine())['id']}"
    await fault(fly, "lease_held", seconds=0.2)
    refused = await fly.http.post(f"{path}/lease", json={"ttl": 5})
    assert refused.status_code == 409
    assert "another-client" in refused.json()["error"]
    assert (await fly.http.post(path, json=MACHINE)).status_code == 409
    await asyncio.sleep(0.25)  # the lease ends
    assert (await fly.http.post(f"{path}/lease", json={"ttl": 5})).status_code == 201


async def test_whoever_holds_the_lease_keeps_it(fly: Fly) -> None:
    app = await fly.app()
    path = f"{app}/machines/{(await fly.machine())['id']}"
    nonce = (await fly.http.post(f"{path}/lease", json={"ttl": 5})).json()["data"]["nonce"]
    await fault(fly, "lease_held")
    again = await fly.http.post(f"{path}/lease", json={"ttl": 5}, headers={"fly-machine-lease-nonce": nonce})
    assert again.status_code == 200
    assert await fired(fly) == [0]


async def test_somebody_else_takes_the_name(fly: Fly) -> None:
    await fault(fly, "name_taken")
    refused = await make(fly)
    assert (refused.status_code, refused.json()["status"]) == (422, "name_taken")
    assert (await fly.http.get("/v1/apps/shop")).status_code == 403
    assert (await fly.graphql('{appNameAvailable(name: "shop")}'))["data"] == {"appNameAvailable": False}
    assert (await make(fly)).status_code == 422, "it stays taken"
    assert (await fly.http.delete("/_embedded/faults")).status_code == 204
    assert (await make(fly)).status_code == 201


async def test_another_client_makes_the_same_app(fly: Fly) -> None:
    await fault(fly, "made_meanwhile", method="POST", path="/v1/apps")
    assert (await make(fly)).status_code == 422
    assert (await fly.http.get("/v1/apps/shop")).status_code == 200


async def test_another_client_makes_the_same_machine_and_database(fly: Fly) -> None:
    app = await fly.app()
    await fault(fly, "made_meanwhile", method="POST", path="/v1/apps/{app}/machines")
    assert (await fly.http.post(f"{app}/machines", json={**MACHINE, "name": "web"})).status_code == 409
    assert [machine["name"] for machine in (await fly.http.get(f"{app}/machines")).json()] == ["web"]
    await fault(fly, "made_meanwhile", operation="createAddOn")
    assert "already been taken" in (await create_redis(fly))["errors"][0]["message"]
    assert list(fly.platform.computer.databases) == ["cache"]


async def test_a_machine_that_dies_at_its_start(fly: Fly) -> None:
    await fly.app()
    await fault(fly, "dies_at_start", object="web", nth=2)
    first = await fly.machine(name="web")
    assert fly.platform.signals == []
    path = f"/v1/apps/shop/machines/{first['id']}"
    await fly.http.post(f"{path}/restart")
    await fly.reaches(path, "started")
    assert fly.platform.signals == [(first["id"], "SIGKILL")]
    await fly.machine(name="other")
    assert len(fly.platform.signals) == 1


async def test_checks_that_never_pass(fly: Fly) -> None:
    app = await fly.app()
    service = {
        "protocol": "tcp",
        "internal_port": 4000,
        "ports": [{"port": 443, "handlers": ["tls", "http"]}],
        "checks": [{"type": "tcp"}],
    }
    config = {"image": "known", "services": [service], "metadata": {"fly_process_group": "gateway"}}
    machine = await fly.machine(config=config)
    fly.platform.pass_checks(machine["id"])
    path = f"{app}/machines/{machine['id']}"

    async def passing() -> tuple[bool, bool]:
        return (await fly.http.get(path)).json()["checks"][0]["status"] == "passing", bool(
            fly.routes.backends("shop", 443)
        )

    assert await passing() == (True, True)
    await fault(fly, "check_fails", object="another")
    assert await passing() == (True, True)
    await fault(fly, "check_fails", object="gateway")
    assert await passing() == (False, False)
    await fly.http.delete("/_embedded/faults")
    assert await passing() == (True, True)


async def test_a_certificate_that_stays_pending(fly: Fly) -> None:
    app = await fly.app()
    await fly.http.post(f"{app}/ip_assignments", json={"type": "v6"})
    for hostname in ("a.example.com", "b.example.com"):
        await fly.http.post(f"{app}/certificates/acme", json={"hostname": hostname})
    zone = [{"name": f"{name}.example.com", "type": "CNAME", "value": "shop.fly.dev"} for name in "ab"]
    await fly.http.put("/_embedded/zone", json=zone)
    await fault(fly, "certificate_stuck", object="a.example.com")

    async def statuses() -> list[str]:
        found = (await fly.http.get(f"{app}/certificates")).json()["certificates"]
        return [certificate["status"] for certificate in found]

    assert await statuses() == ["pending_validation", "active"]
    assert fly.routes.app_of("a.example.com") is None
    await fly.http.delete("/_embedded/faults")
    assert await statuses() == ["active", "active"]


async def test_a_database_that_stays_in_creating(fly: Fly) -> None:
    await fault(fly, "redis_creating", object="cache")
    made = await created_redis(fly)
    assert (made["status"], made["publicUrl"], made["password"]) == ("creating", None, None)
    assert (await created_redis(fly, name="other"))["status"] == "ready"
    await fly.http.delete("/_embedded/faults")
    read = (await fly.graphql(READ_REDIS, name="cache"))["data"]["addOn"]
    assert read["status"] == "ready"
    assert read["publicUrl"].startswith("redis://")
