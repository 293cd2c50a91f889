from __future__ import annotations

import hashlib

import pytest

from tests.local.fly.conftest import Fly, Serve


async def test_values_go_in_and_never_come_out(fly: Fly) -> None:
    app = await fly.app()
    set_ = await fly.http.post(f"{app}/secrets", json={"values": {"A": "hunter2", "B": "correct horse"}})
    answers = [
        set_,
        await fly.http.get(f"{app}/secrets"),
        await fly.http.get(f"{app}/secrets/A"),
        await fly.http.get(f"{app}/secrets", params={"show_secrets": "true"}),
        await fly.http.post(f"{app}/secrets/A", json={"value": "hunter2"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 403, 201]
    assert all("hunter2" not in answer.text and "value" not in answer.json() for answer in answers)
    assert [secret["name"] for secret in answers[1].json()["secrets"]] == ["A", "B"]


async def test_a_digest_tells_equal_values_and_nothing_else(fly: Fly) -> None:
    async def digests(app: str) -> dict[str, str]:
        secrets = (await fly.http.get(f"{app}/secrets")).json()["secrets"]
        return {secret["name"]: secret["digest"] for secret in secrets}

    app, other = await fly.app("shop"), await fly.app("other")
    for one in (app, other):
        await fly.http.post(f"{one}/secrets", json={"values": {"A": "same", "B": "same"}})
    first = await digests(app)
    assert all(len(digest) == 32 for digest in first.values())
    assert len({*first.values(), *(await digests(other)).values()}) == 4, "equal values of two secrets do not show"
    known = hashlib.sha256(b"same").hexdigest()
    assert not any(known.startswith(digest) for digest in first.values())
    await fly.http.post(f"{app}/secrets", json={"values": {"A": "same", "B": "new"}})
    second = await digests(app)
    assert second["A"] == first["A"]
    assert second["B"] != first["B"]


async def test_null_unsets_and_the_version_only_rises(fly: Fly) -> None:
    app = await fly.app()
    versions = []
    for values in ({"A": "1", "B": "2"}, {"A": None, "C": "3"}, {"A": None}, {"C": "3"}):
        versions.append((await fly.http.post(f"{app}/secrets", json={"values": values})).json()["version"])
    names = [secret["name"] for secret in (await fly.http.get(f"{app}/secrets")).json()["secrets"]]
    assert names == ["B", "C"]
    assert versions == [1, 2, 2, 3], "unsetting what is not set only tells the version"


async def test_one_secret_at_a_time(fly: Fly) -> None:
    secret = f"{await fly.app()}/secrets/A"
    assert (await fly.http.get(secret)).status_code == 404
    created = (await fly.http.post(secret, json={"value": "1"})).json()
    assert (created["name"], created["version"], created["Version"]) == ("A", 1, 1)
    assert (await fly.http.delete(secret)).json() == {"version": 2, "Version": 2}
    assert (await fly.http.delete(secret)).status_code == 404


@pytest.mark.parametrize("parameter", ["min_version", "version"])
async def test_a_version_that_is_not_there_yet_is_refused(fly: Fly, parameter: str) -> None:
    app = await fly.app()
    await fly.http.post(f"{app}/secrets", json={"values": {"A": "1"}})
    assert (await fly.http.get(f"{app}/secrets", params={parameter: 1})).status_code == 200
    assert (await fly.http.get(f"{app}/secrets", params={parameter: 2})).status_code == 412
    assert (await fly.http.get(f"{app}/secrets", params={parameter: "new"})).status_code == 400


@pytest.mark.parametrize("name", ["1A", "A-B", "", "A B"])
async def test_a_name_no_environment_variable_can_have_is_refused(fly: Fly, name: str) -> None:
    app = await fly.app()
    assert (await fly.http.post(f"{app}/secrets", json={"values": {name: "1", "GOOD": "2"}})).status_code == 422
    assert (await fly.http.get(f"{app}/secrets")).json() == {"secrets": []}, "all or nothing"


async def test_a_running_machine_keeps_the_secrets_it_was_made_with(fly: Fly) -> None:
    app = await fly.app()
    await fly.http.post(f"{app}/secrets", json={"values": {"A": "old"}})
    machine = await fly.machine(min_secrets_version=1)
    path = f"{app}/machines/{machine['id']}"
    await fly.http.post(f"{app}/secrets", json={"values": {"A": "new"}})

    await fly.http.post(f"{path}/restart")
    await fly.reaches(path, "started")
    await fly.http.post(f"{path}/stop")
    await fly.reaches(path, "stopped")
    await fly.http.post(f"{path}/start")
    await fly.reaches(path, "started")
    assert [spec.secrets for spec in fly.platform.started] == [{"A": "old"}] * 3

    update = await fly.http.post(path, json={"config": machine["config"], "min_secrets_version": 2})
    assert update.status_code == 200
    await fly.reaches(path, "started")
    assert fly.platform.started[-1].secrets == {"A": "new"}


async def test_a_machine_can_go_without_secrets(fly: Fly) -> None:
    app = await fly.app()
    await fly.http.post(f"{app}/secrets", json={"values": {"A": "1"}})
    await fly.machine(skip_secrets=True)
    assert fly.platform.started[-1].secrets == {}


async def test_a_machine_that_wants_newer_secrets_than_there_are_is_refused(fly: Fly) -> None:
    app = await fly.app()
    body = {"config": {"image": "known"}, "min_secrets_version": 1}
    assert (await fly.http.post(f"{app}/machines", json=body)).status_code == 412
    assert (await fly.http.get(f"{app}/machines")).json() == []
    machine = await fly.machine()
    path = f"{app}/machines/{machine['id']}"
    assert (await fly.http.post(path, json=body)).status_code == 412
    assert (await fly.http.get(path)).json()["instance_id"] == machine["instance_id"]


async def test_secrets_survive_the_daemon(serve: Serve) -> None:
    fly = await serve()
    app = await fly.app()
    await fly.http.post(f"{app}/secrets", json={"values": {"A": "1"}})
    again = await serve()
    assert (await again.http.get(f"{app}/secrets", params={"min_version": 1})).json()["secrets"][0]["name"] == "A"
    await again.machine()
    assert again.platform.started[-1].secrets == {"A": "1"}
