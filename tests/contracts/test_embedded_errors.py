"""What the embedded Fly answers to requests that cannot be: always in the contract, never 5xx, never a secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import GraphQLInputObjectType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.fly.organizations import APPS_OF_SOMEBODY_ELSE
from tests.contracts import contract, graphql_contract
from tests.contracts.contract import Call
from tests.contracts.strategies import Requests
from tests.local.fly.conftest import SETTINGS, Fly, serving
from tests.local.fly.fake_platform import Computer

REST = contract.load()
SECRET = "sk-no-answer-has-this"
NONCE = "fly-machine-lease-nonce"
CONFIG = {"image": "known:1"}
BODIES: dict[str, Any] = {
    "AssignAddress": {"type": "v6"},
    "ChangeMetadata": {"metadata": {"a": "b"}},
    "ChangeVolume": {"snapshot_retention": 7},
    "CreateApp": {"name": "another", "org_slug": "acme"},
    "CreateMachine": {"config": CONFIG},
    "CreateVolume": {"name": "data"},
    "Execute": {"command": ["true"]},
    "ExtendVolume": {"size_gb": 10},
    "MetadataValue": {"value": "b"},
    "RequestCertificate": {"hostname": "b.example.com"},
    "SetSecret": {"value": "x"},
    "SetSecrets": {"values": {"KEY": SECRET}},
    "SignalMachine": {"signal": "SIGUSR1"},
    "StopMachine": {"timeout": "1s"},
    "TakeLease": {"ttl": 5},
    "UpdateMachine": {"config": CONFIG},
}
WITH_BODY = [call for call in REST.calls if call.body != "nothing"]
OF_AN_APP = [call for call in REST.calls if "{app}" in call.template]
LEASED = [
    call for call in REST.calls if NONCE in call.header.get("optional", {}) and not call.template.endswith("lease")
]


class World:
    """An API with one of everything in it."""

    def __init__(self, fly: Fly) -> None:
        self.fly = fly
        self.http = fly.http
        self.names = {"app": "shop", "name": "KEY", "hostname": "a.example.com", "key": "group"}

    async def fill(self) -> None:
        app = "/v1/apps/shop"
        await self.done("POST", "/v1/apps", {"name": "shop", "org_slug": "acme"})
        await self.done("POST", f"{app}/secrets", {"values": {"KEY": SECRET}})
        await self.done("POST", f"{app}/certificates/acme", {"hostname": "a.example.com"})
        self.names["ip"] = (await self.done("POST", f"{app}/ip_assignments", {"type": "v6"}))["ip"]
        self.names["volume"] = (await self.done("POST", f"{app}/volumes", {"name": "data"}))["id"]
        await self.machine()

    async def machine(self) -> None:
        made = await self.done("POST", "/v1/apps/shop/machines", {"config": {**CONFIG, "metadata": {"group": "web"}}})
        self.names["machine"] = made["id"]
        query = {"state": "started", "timeout": 5}
        await self.done("GET", f"/v1/apps/shop/machines/{made['id']}/wait", query=query)

    async def done(self, method: str, path: str, body: Any = None, query: dict[str, Any] | None = None) -> Any:
        answer = await self.http.request(method, path, json=body, params=query)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def ask(
        self, call: Call, content: bytes = b"", headers: Mapping[str, str] | None = None, **other: Any
    ) -> tuple[int, list[str]]:
        """The status, and what is wrong with the answer. `other` names other objects than those that there are."""
        path = call.template.format(**{**self.names, **other})
        query = {"org_slug": "acme"} if "required" in call.query else {}
        answer = await self.http.request(call.method, path, params=query, content=content, headers=headers)
        return answer.status_code, held(call.method, path, answer)


def held(method: str, path: str, answer: httpx.Response) -> list[str]:
    try:
        body = answer.json() if answer.content else None
    except ValueError:
        return [f"{method} {path}: {answer.status_code} is not JSON"]
    problems = REST.check_answer(method, path, answer.status_code, body)
    if answer.status_code >= 500:
        problems.append(f"{method} {path}: {answer.status_code}")
    if SECRET in answer.text or SECRET in str(answer.headers):
        problems.append(f"{method} {path}: {answer.status_code} tells a secret")
    if "fly-request-id" not in answer.headers:
        problems.append(f"{method} {path}: {answer.status_code} has no fly-request-id")
    return problems


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with serving(SETTINGS, tmp_path, Computer()) as fly:
        made = World(fly)
        await made.fill()
        yield made


def minimal(call: Call) -> bytes:
    kind = call.body.removesuffix(" | nothing")
    return b"" if kind == "nothing" else json.dumps(BODIES[kind]).encode()


async def wrong(world: World, calls: list[Call], status: int, **how: Any) -> list[str]:
    """What is wrong where each of the calls should answer `status`."""
    found = []
    for call in calls:
        answered, problems = await world.ask(call, **{"content": minimal(call), **how})
        found += problems if answered == status else [*problems, f"{call}: {answered} in place of {status}"]
    return found


async def test_without_the_token_every_call_answers_401(world: World) -> None:
    assert await wrong(world, REST.calls, 401, headers={"Authorization": "Bearer another"}) == []


async def test_of_an_unknown_app_every_call_answers_404(world: World) -> None:
    assert await wrong(world, OF_AN_APP, 404, app="nobodys") == []


async def test_of_somebody_elses_app_every_call_answers_403(world: World) -> None:
    assert await wrong(world, OF_AN_APP, 403, app=min(APPS_OF_SOMEBODY_ELSE)) == []


@pytest.mark.parametrize("object_", ["machine", "volume", "ip", "hostname", "key", "name"])
async def test_of_an_unknown_object_every_call_answers_404(world: World, object_: str) -> None:
    makes_it = {"POST /v1/apps/{app}/secrets/{name}", "POST /v1/apps/{app}/machines/{machine}/metadata/{key}"}
    calls = [call for call in REST.calls if f"{{{object_}}}" in call.template and str(call) not in makes_it]
    assert calls
    assert await wrong(world, calls, 404, **{object_: "nothing"}) == []


@pytest.mark.parametrize("content", [b"{", b"[]", b'"x"', b'{"nobody_knows": 1}', b"\xff", b"[" * 5000])
async def test_a_body_of_the_wrong_form_answers_400(world: World, content: bytes) -> None:
    assert await wrong(world, WITH_BODY, 400, content=content) == []


async def test_a_machine_that_somebody_else_leases_answers_409(world: World) -> None:
    await world.done("POST", f"/v1/apps/shop/machines/{world.names['machine']}/lease", {"ttl": 60})
    assert len(LEASED) > 5
    assert await wrong(world, LEASED, 409) == []
    assert await wrong(world, LEASED, 409, headers={NONCE: "another"}) == []


KNOWN = {
    "Config.image": st.sampled_from(["known:1", "known:2", "unknown:1"]),
    "CreateApp.name": st.sampled_from(["shop", "another", "a-b", "A_B", ""]),
    "CreateApp.org_slug": st.sampled_from(["acme", "acme", "others"]),
    "RequestCertificate.hostname": st.sampled_from(["a.example.com", "b.example.com", "*.example.com", "x", ""]),
    "SetSecrets.values": st.dictionaries(
        st.sampled_from(["KEY", "OTHER", "not a name", ""]), st.sampled_from([SECRET, None]), max_size=2
    ),
    "SetSecret.value": st.just(SECRET),
    "CreateVolume.name": st.sampled_from(["data", "more_data", "a-b", ""]),
    "CreateVolume.region": st.sampled_from(["ord", "ams", "moon"]),
    "CreateMachine.region": st.sampled_from(["ord", "ams", "moon"]),
    "CreateMachine.name": st.sampled_from(["web-1", "web-2", "A_B"]),
    "UpdateMachine.name": st.sampled_from(["web-1", "A_B"]),
    "UpdateMachine.region": st.just("ord"),
    "AssignAddress.org_slug": st.just("acme"),
    "AssignAddress.region": st.sampled_from(["ord", "global", "moon"]),
    "AssignAddress.network": st.just(""),
    "Execute.command": st.sampled_from([["true"], ["sleep", "5"], [], [""]]),
    "Guest.cpus": st.sampled_from([1, 2, 3]),
    "Guest.memory_mb": st.sampled_from([512, 1024, 300]),
    "Config.files[]": st.sampled_from(
        [{"guest_path": "/a", "raw_value": "eA=="}, {"guest_path": "/b", "secret_name": "KEY"}, {"guest_path": "/c"}]
    ),
    "Service.ports[]": st.sampled_from([{"port": 80, "handlers": ["http"]}, {"start_port": 1, "end_port": 9}, {}]),
    "Config.mounts": st.sampled_from([[], [{"volume": "{volume}", "path": "/data"}], [{"volume": "x", "path": "/y"}]]),
}
bounded = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,  # a test that is red once in a while teaches to look away
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
REQUESTS = Requests(REST.sent, KNOWN)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Call, bytes, dict[str, Any]]:
    """A call with a body that is legal or has one thing wrong, of objects that there are, mostly."""
    call = draw(st.sampled_from(WITH_BODY))
    kind = call.body.removesuffix(" | nothing")
    body = draw(st.one_of(REQUESTS.legal(kind), REQUESTS.slightly_illegal(kind)))
    others = draw(st.sampled_from([{}, {}, {}, {"machine": "nothing"}, {"name": "not%20a%20name"}, {"key": "%00"}]))
    return call, json.dumps(body).encode(), others


@bounded
@given(drawn=requests())
async def test_no_request_breaks_it(world: World, drawn: tuple[Call, bytes, dict[str, Any]]) -> None:
    call, body, others = drawn
    content = body.replace(b"{volume}", world.names["volume"].encode())
    _, problems = await world.ask(call, content, **others)
    assert problems == []
    machines = await world.done("GET", "/v1/apps/shop/machines", query={"include_leases": "true"})
    names = [machine["name"] for machine in machines]
    assert len(names) == len(set(names)), "two machines of one name"
    mounted = [mount["volume"] for machine in machines for mount in machine["config"].get("mounts", [])]
    assert len(mounted) == len(set(mounted)), "a volume with two machines"
    for path in (f"/v1/apps/shop/machines/{machine['id']}/lease" for machine in machines if "lease" in machine):
        nonce = (await world.done("GET", path))["data"]["nonce"]
        (await world.http.delete(path, headers={NONCE: nonce})).raise_for_status()  # or nothing else would be possible


@st.composite
def queries(draw: st.DrawFn) -> tuple[Call, dict[str, list[str]]]:
    """A call with parameters that it has and values of every kind."""
    call = draw(st.sampled_from([call for call in REST.calls if call.query and not call.template.endswith("/wait")]))
    names = [*call.query.get("required", {}), *call.query.get("optional", {})]
    values = st.lists(
        st.sampled_from(["true", "1", "ord", "SIGKILL", "started,x", "", "-1", "9" * 30, "\x00", "ß"]), max_size=2
    )
    return call, draw(st.dictionaries(st.sampled_from(names), values))


@bounded
@given(drawn=queries())
async def test_no_query_breaks_it(world: World, drawn: tuple[Call, dict[str, list[str]]]) -> None:
    call, query = drawn
    path = call.template.format(**{**world.names, **({"app": "gone"} if call.method == "DELETE" else {})})
    answer = await world.http.request(call.method, path, params=query, content=minimal(call))
    assert held(call.method, path, answer) == []


GRAPHQL = graphql_contract.load()
MUTATIONS = {
    "createAddOn": "CreateAddOnInput",
    "updateAddOn": "UpdateAddOnInput",
    "deleteAddOn": "DeleteAddOnInput",
    "resetAddOnPassword": "ResetAddOnPasswordInput",
}
DOCUMENTS = {
    "deleteAddOn": "mutation ($input: DeleteAddOnInput!) { deleteAddOn(input: $input) { deletedAddOnName } }",
    **{
        field: f"mutation ($input: {kind}!) {{ {field}(input: $input) {{ addOn {{ id name status options }} }} }}"
        for field, kind in MUTATIONS.items()
        if field != "deleteAddOn"
    },
}
VALUES = st.sampled_from(
    [
        "cache",
        "queue",
        "ord",
        "moon",
        "upstash_redis",
        "",
        "A_B",
        None,
        True,
        1,
        [],
        ["ams"],
        {"eviction": True},
        {"a": 1},
    ]
)


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, Any]:
    field = draw(st.sampled_from(sorted(MUTATIONS)))
    kind = GRAPHQL.schema.type_map[MUTATIONS[field]]
    assert isinstance(kind, GraphQLInputObjectType)
    sent = draw(st.dictionaries(st.sampled_from(sorted(kind.fields)), VALUES))
    return {"query": DOCUMENTS[field], "variables": {"input": sent}}


@bounded
@given(body=mutations(), complete=st.booleans())
async def test_no_mutation_breaks_it(world: World, body: dict[str, Any], complete: bool) -> None:
    if complete and "createAddOn" in body["query"]:
        asked = {"query": "{ organizations { nodes { id } } addOnPlans { nodes { id } } }"}
        data = (await world.done("POST", "/graphql", asked))["data"]
        legal = {"type": "upstash_redis", "name": "cache", "primaryRegion": "ord"}
        legal |= {
            "organizationId": data["organizations"]["nodes"][0]["id"],
            "planId": data["addOnPlans"]["nodes"][0]["id"],
        }
        body = {**body, "variables": {"input": {**legal, **body["variables"]["input"]}}}
    answer = await world.http.post("/graphql", json=body)
    assert (answer.status_code, GRAPHQL.check_answer(body, answer.json())) == (200, [])
    if not GRAPHQL.check_request(body):
        assert "made a mistake" not in answer.text


async def test_a_wrong_variable_is_the_clients_mistake(world: World) -> None:
    answer = await world.http.post("/graphql", json={"query": DOCUMENTS["createAddOn"], "variables": {"input": {}}})
    assert "'type'" in answer.json()["errors"][0]["message"]


async def test_an_app_goes_with_a_machine_that_is_going(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    platform, stop = world.fly.platform, world.fly.platform.stop
    asked_again, may_go = asyncio.Event(), asyncio.Event()

    async def forget(_: str) -> None:
        await may_go.wait()

    async def stop_again(machine_id: str, signal: str, timeout_s: float) -> None:
        asked_again.set()
        await stop(machine_id, signal, timeout_s)

    monkeypatch.setattr(platform, "forget", forget)
    await world.done("DELETE", f"/v1/apps/shop/machines/{world.names['machine']}", query={"force": "true"})
    monkeypatch.setattr(platform, "stop", stop_again)
    deletion = asyncio.create_task(world.http.delete("/v1/apps/shop", params={"force": "true"}))
    async with asyncio.timeout(5):
        await asked_again.wait()
    may_go.set()
    answer = await deletion
    assert answer.status_code == 202, answer.text
