"""Waiting for a machine, its lease, its metadata, its events."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.local.fly.conftest import Fly, Serve

NONCE = "fly-machine-lease-nonce"


async def started(fly: Fly) -> str:
    """The path of a running machine."""
    app = await fly.app()
    return f"{app}/machines/{(await fly.machine(config={'image': 'known', 'metadata': {'a': '1'}}))['id']}"


async def test_wait_returns_as_soon_as_the_state_is_there(fly: Fly) -> None:
    path = await started(fly)
    version = (await fly.http.get(path)).json()["instance_id"]
    waiting = asyncio.create_task(fly.http.get(f"{path}/wait", params={"state": "stopped", "version": version}))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    await fly.http.post(f"{path}/stop")
    answer = await asyncio.wait_for(waiting, 5)
    assert {"ok": True, "state": "stopped", "version": version}.items() <= answer.json().items()
    assert answer.json()["event_id"] == (await fly.http.get(f"{path}/events")).json()[0]["id"]


async def test_wait_that_does_not_come_true_is_a_408(fly: Fly) -> None:
    path = await started(fly)
    began = time.monotonic()
    answer = await fly.http.get(f"{path}/wait", params={"state": "destroyed", "timeout": 1})
    assert answer.status_code == 408
    assert 0.9 < time.monotonic() - began < 5
    assert "is started after 1 s" in answer.json()["error"]


@pytest.mark.parametrize(
    "query",
    [
        {"timeout": "61"},
        {"timeout": "0"},
        {"timeout": "1m"},
        {"state": "running"},
        {"state": "stopped"},
        {"from_event_id": "01ABC"},
    ],
)
async def test_a_wrong_wait_is_refused(fly: Fly, query: dict[str, str]) -> None:
    path = await started(fly)
    assert (await fly.http.get(f"{path}/wait", params=query)).status_code == 400


async def test_wait_for_several_states_for_the_default_and_for_settled(fly: Fly) -> None:
    path = await started(fly)
    version = (await fly.http.get(path)).json()["instance_id"]
    for query in ("", "?state=stopped&state=started&version=" + version, "?state=failed,started", "?state=settled"):
        assert (await fly.http.get(f"{path}/wait{query}")).json()["state"] == "started"


async def test_wait_for_another_version_or_a_newer_event_is_not_content_with_what_is(fly: Fly) -> None:
    path = await started(fly)
    old = (await fly.http.get(path)).json()["instance_id"]
    new = (await fly.http.post(path, json={"config": {"image": "known:2"}})).json()["instance_id"]
    await fly.reaches(path, "started")
    last = (await fly.http.get(f"{path}/events")).json()[0]["id"]
    assert (await fly.http.get(f"{path}/wait", params={"instance_id": new})).status_code == 200
    queries: list[dict[str, str]] = [{"version": old, "timeout": "1"}, {"from_event_id": last, "timeout": "1"}]
    answers = await asyncio.gather(*(fly.http.get(f"{path}/wait", params=query) for query in queries))
    assert [answer.status_code for answer in answers] == [408, 408]
    await fly.http.post(f"{path}/restart")
    assert (await fly.http.get(f"{path}/wait", params={"from_event_id": last})).status_code == 200


async def test_a_lease_is_wrapped_and_can_be_looked_at(fly: Fly) -> None:
    path = await started(fly)
    assert (await fly.http.get(f"{path}/lease")).status_code == 404
    taken = await fly.http.post(f"{path}/lease", json={"ttl": 30, "description": "deploy"})
    assert taken.status_code == 201
    assert taken.json()["status"] == "success"
    lease = taken.json()["data"]
    assert lease["nonce"]
    assert 28 <= lease["expires_at"] - time.time() <= 30
    assert (lease["owner"], lease["description"]) == ("acme", "deploy")
    assert lease["version"] == (await fly.http.get(path)).json()["instance_id"]
    assert (await fly.http.get(f"{path}/lease")).json() == taken.json()
    assert "lease" not in (await fly.http.get(path)).json()
    seen = (await fly.http.get(path, params={"include_leases": "true"})).json()["lease"]
    assert seen.keys() == {"owner", "description", "expires_at"}


async def test_a_lease_is_refreshed_by_its_holder_only(fly: Fly) -> None:
    path = await started(fly)
    first = (await fly.http.post(f"{path}/lease", params={"ttl": 13})).json()["data"]
    assert (await fly.http.post(f"{path}/lease", params={"ttl": 13})).status_code == 409
    assert (await fly.http.post(f"{path}/lease", headers={NONCE: "wrong"})).status_code == 409
    again = await fly.http.post(f"{path}/lease", params={"ttl": 60}, headers={NONCE: first["nonce"]})
    assert again.status_code == 200
    assert again.json()["data"]["nonce"] == first["nonce"]
    assert again.json()["data"]["expires_at"] > first["expires_at"] + 40


WRITES = [
    ("POST", "", {"config": {"image": "known:2"}}),
    ("DELETE", "?force=true", None),
    ("POST", "/start", None),
    ("POST", "/stop", None),
    ("POST", "/restart", None),
    ("POST", "/suspend", None),
    ("POST", "/signal", {"signal": "SIGHUP"}),
    ("POST", "/cordon", None),
    ("POST", "/uncordon", None),
    ("PUT", "/metadata", {"metadata": {"b": "2"}}),
    ("PATCH", "/metadata", {"metadata": {"b": "2"}}),
    ("POST", "/metadata/b", {"value": "2"}),
    ("DELETE", "/metadata/a", None),
]


@pytest.mark.parametrize(("method", "part", "body"), WRITES)
async def test_somebody_elses_lease_stops_every_write(fly: Fly, method: str, part: str, body: object) -> None:
    path = await started(fly)
    before = (await fly.http.get(path)).json()
    nonce = (await fly.http.post(f"{path}/lease", json={"ttl": 60})).json()["data"]["nonce"]
    for headers in ({}, {NONCE: "wrong"}):
        answer = await fly.http.request(method, path + part, json=body, headers=headers)
        assert answer.status_code == 409
        assert "held by acme" in answer.json()["error"]
        assert nonce not in answer.text
    assert (await fly.http.get(path)).json() == before
    allowed = await fly.http.request(method, path + part, json=body, headers={NONCE: nonce})
    assert allowed.status_code == (501 if part == "/suspend" else 200 if "metadata" not in part else 204)


async def test_a_lease_ends_by_itself(fly: Fly) -> None:
    path = await started(fly)
    nonce = (await fly.http.post(f"{path}/lease", json={"ttl": 1})).json()["data"]["nonce"]
    assert (await fly.http.post(f"{path}/cordon")).status_code == 409
    await asyncio.sleep(1.05)
    assert (await fly.http.get(f"{path}/lease")).status_code == 404
    assert (await fly.http.post(f"{path}/cordon")).status_code == 200
    late = await fly.http.post(f"{path}/cordon", headers={NONCE: nonce})
    assert late.status_code == 409, "who works under a lease that ended must learn of it"
    assert (await fly.http.post(f"{path}/lease", headers={NONCE: nonce})).status_code == 201


async def test_a_lease_is_released_by_its_nonce(fly: Fly) -> None:
    path = await started(fly)
    nonce = (await fly.http.post(f"{path}/lease")).json()["data"]["nonce"]
    assert (await fly.http.delete(f"{path}/lease")).status_code == 400
    assert (await fly.http.delete(f"{path}/lease", headers={NONCE: "wrong"})).status_code == 409
    assert (await fly.http.delete(f"{path}/lease", headers={NONCE: nonce})).status_code == 200
    assert (await fly.http.delete(f"{path}/lease", headers={NONCE: nonce})).status_code == 404
    assert (await fly.http.post(f"{path}/cordon")).status_code == 200


async def test_a_machine_can_be_created_and_updated_with_a_lease(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine(lease_ttl=60)
    path = f"{app}/machines/{machine['id']}"
    assert "nonce" not in (await fly.http.get(path)).json()
    body = {"config": {"image": "known:2"}, "lease_ttl": 60}
    assert (await fly.http.post(path, json=body)).status_code == 409
    updated = await fly.http.post(path, json=body, headers={NONCE: machine["nonce"]})
    assert updated.json()["nonce"] == machine["nonce"]


async def test_a_lease_outlives_the_daemon(serve: Serve) -> None:
    fly = await serve()
    path = await started(fly)
    nonce = (await fly.http.post(f"{path}/lease", json={"ttl": 60})).json()["data"]["nonce"]
    again = await serve(fly.platform.computer)
    assert (await again.http.post(f"{path}/cordon")).status_code == 409
    assert (await again.http.post(f"{path}/cordon", headers={NONCE: nonce})).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_metadata_change_without_a_restart(fly: Fly, method: str) -> None:
    path = await started(fly)
    before = (await fly.http.get(path)).json()
    changes = {"metadata": {"a": None, "b": "2", "c": ""}}
    assert (await fly.http.request(method, f"{path}/metadata", json=changes)).status_code == 204
    assert (await fly.http.get(f"{path}/metadata")).json() == {"b": "2"}
    now = (await fly.http.get(path)).json()
    assert now["config"]["metadata"] == {"b": "2"}
    assert (now["instance_id"], now["state"]) == (before["instance_id"], "started")
    assert len(fly.platform.started) == 1


async def test_metadata_of_another_version_are_refused(fly: Fly) -> None:
    path = await started(fly)
    body = {"metadata": {"b": "2"}, "machine_version": (await fly.http.get(path)).json()["instance_id"]}
    assert (await fly.http.put(f"{path}/metadata", json=body)).status_code == 204
    await fly.http.post(path, json={"config": {"image": "known:2"}})
    assert (await fly.http.put(f"{path}/metadata", json=body)).status_code == 412


async def test_one_metadata_value(fly: Fly) -> None:
    path = await started(fly)
    assert (await fly.http.get(f"{path}/metadata/a")).json() == {"value": "1"}
    assert (await fly.http.post(f"{path}/metadata/b", json={"value": "2"})).status_code == 204
    assert (await fly.http.get(f"{path}/metadata/b")).json() == {"value": "2"}
    assert (await fly.http.delete(f"{path}/metadata/b")).status_code == 204
    assert (await fly.http.get(f"{path}/metadata/b")).status_code == 404
    assert (await fly.http.delete(f"{path}/metadata/b")).status_code == 404


async def test_events_are_listed_newest_first_up_to_a_limit(fly: Fly) -> None:
    path = await started(fly)
    for _ in range(20):
        await fly.http.post(f"{path}/restart")
        await fly.reaches(path, "started")
    assert len((await fly.http.get(f"{path}/events")).json()) == 20
    events = (await fly.http.get(f"{path}/events", params={"limit": 50})).json()
    assert len(events) == 50
    times = [event["timestamp"] for event in events]
    assert times == sorted(times, reverse=True)
    assert (await fly.http.get(f"{path}/events", params={"limit": 51})).status_code == 400


@pytest.mark.parametrize("ttl", [0, -1, 2**31, 10**30, "1", 1.5])
async def test_a_lease_has_an_end_that_can_be_told(fly: Fly, ttl: object) -> None:
    path = await started(fly)
    assert (await fly.http.post(f"{path}/lease", json={"ttl": ttl})).status_code == 400
    assert (await fly.http.post(f"{path}/lease", params={"ttl": str(ttl)})).status_code == (201 if ttl == "1" else 400)
    for where in ("/v1/apps/shop/machines", path):
        body = {"config": {"image": "known"}, "lease_ttl": ttl}
        assert (await fly.http.post(where, json=body)).status_code == 400, where


async def test_the_longest_lease(fly: Fly) -> None:
    path = await started(fly)
    assert (await fly.http.post(f"{path}/lease", json={"ttl": 2**31 - 1})).status_code == 201


async def takes_its_turn(fly: Fly, path: str, method: str, part: str, body: object) -> int:
    """The answer to a request that waits behind an update, while somebody else takes the lease."""
    fly.platform.may_stop.clear()
    assert (await fly.http.post(path, json={"config": {"image": "known:2"}})).status_code == 200
    waiting = asyncio.create_task(fly.http.request(method, f"{path}{part}", json=body))
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    assert (await fly.http.post(f"{path}/lease", json={"ttl": 60})).status_code == 201
    fly.platform.may_stop.set()
    return (await waiting).status_code


@pytest.mark.parametrize(
    ("method", "part", "body"),
    [
        ("POST", "", {"config": {"image": "known:3"}}),
        ("POST", "/stop", None),
        ("POST", "/start", None),
        ("POST", "/restart", None),
        ("DELETE", "", None),
    ],
)
async def test_a_lease_taken_meanwhile_counts_when_the_turn_comes(
    fly: Fly, method: str, part: str, body: object
) -> None:
    path = await started(fly)
    assert await takes_its_turn(fly, path, method, part, body) == 409
    machine = await fly.reaches(path, "started")
    assert machine["config"]["image"] == "known:2"
    assert len(fly.platform.started) == 2
