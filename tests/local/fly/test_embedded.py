from __future__ import annotations

import pytest

from tests.local.fly.conftest import Fly
from tests.local.fly.test_redis import created


async def test_status_shows_where_things_really_are(fly: Fly) -> None:
    await fly.app()
    machine = await fly.machine(name="web", config={"image": "known", "metadata": {"fly_process_group": "gateway"}})
    redis = await created(fly)
    status = (await fly.http.get("/_embedded/status")).json()
    assert status["apps"] == ["shop"]
    assert status["machines"] == [
        {
            "id": machine["id"],
            "app": "shop",
            "name": "web",
            "group": "gateway",
            "region": "ord",
            "state": "started",
            "failure": None,
            "address": fly.platform.started[0].address,
            "pid": fly.platform.computer.processes[machine["id"]].pid,
            "log": str(fly.platform.logs / "shop" / f"{machine['id']}.log"),
        }
    ]
    address = fly.platform.computer.databases["cache"]["address"]
    assert status["redis"][0]["url"] == f"redis://default:{redis['password']}@{address}:6379"
    path = f"/v1/apps/shop/machines/{machine['id']}"
    await fly.http.post(f"{path}/stop")
    await fly.reaches(path, "stopped")
    stopped = (await fly.http.get("/_embedded/status")).json()["machines"][0]
    assert (stopped["state"], stopped["pid"]) == ("stopped", None)


@pytest.mark.parametrize(("body", "everything"), [(None, False), ({"everything": True}, True)])
async def test_stop_is_asked_for(fly: Fly, body: object, everything: bool) -> None:
    for _ in range(2):
        assert (await fly.http.post("/_embedded/stop", json=body)).status_code == 202
    assert fly.stopping.result() is everything


async def test_stop_knows_nothing_else(fly: Fly) -> None:
    assert (await fly.http.post("/_embedded/stop", json={"machines": True})).status_code == 400
    assert not fly.stopping.done()
