"""What the embedded Fly answers to requests that cannot be: always in the contract, never 5xx, never a secret."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.fly.organizations import APPS_OF_SOMEBODY_ELSE
from tests.contracts import contract
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
    "AssignAddress.org_slug": st.just("acme"),
    "Mount.volume": st.sampled_from(["{volume}", "vol_nothing"]),
}
REQUESTS = Requests(REST.sent, KNOWN)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Call, bytes, dict[str, Any]]:
    """A call with a body that is legal or has one thing wrong, of objects that there are, mostly."""
    call = draw(st.sampled_from(WITH_BODY))
    kind = call.body.removesuffix(" | nothing")
    body = draw(st.one_of(REQUESTS.legal(kind), REQUESTS.slightly_illegal(kind)))
    others = draw(st.sampled_from([{}, {}, {}, {"machine": "nothing"}, {"name": "not%20a%20name"}, {"key": "%00"}]))
    return call, json.dumps(body).encode(), others


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=requests())
async def test_no_request_breaks_it(world: World, drawn: tuple[Call, bytes, dict[str, Any]]) -> None:
    call, body, others = drawn
    content = body.replace(b"{volume}", world.names["volume"].encode())
    _, problems = await world.ask(call, content, **others)
    assert problems == []
    machines = (await world.http.get("/v1/apps/shop/machines")).json()
    names = [machine["name"] for machine in machines]
    assert len(names) == len(set(names)), "two machines of one name"
    mounted = [mount["volume"] for machine in machines for mount in machine["config"].get("mounts", [])]
    assert len(mounted) == len(set(mounted)), "a volume with two machines"
