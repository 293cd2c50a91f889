from __future__ import annotations

from typing import Any

import pytest

from tests.local.fly.conftest import Fly, Serve


async def volume(fly: Fly, **body: Any) -> dict[str, Any]:
    answer = await fly.http.post("/v1/apps/shop/volumes", json={"name": "data", "region": "ord", **body})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def on(volume: dict[str, Any]) -> dict[str, Any]:
    return {"config": {"image": "known", "mounts": [{"volume": volume["id"], "path": "/data"}]}}


async def test_a_volume_with_what_was_not_said_filled_in(fly: Fly) -> None:
    app = await fly.app()
    made = await volume(fly, size_gb=None, encrypted=None)
    assert made["id"].startswith("vol_")
    expected = {
        "state": "created",
        "size_gb": 3,
        "encrypted": True,
        "fstype": "ext4",
        "snapshot_retention": 5,
        "auto_backup_enabled": True,
        "host_status": "ok",
        "attached_machine_id": None,
        "region": "ord",
    }
    assert expected.items() <= made.items()
    assert (await fly.http.get(f"{app}/volumes/{made['id']}")).json() == made
    assert (await fly.http.get(f"{app}/volumes/{made['id']}/snapshots")).json() == []


async def test_names_are_not_unique(fly: Fly) -> None:
    app = await fly.app()
    assert (await volume(fly))["id"] != (await volume(fly))["id"]
    assert [v["name"] for v in (await fly.http.get(f"{app}/volumes")).json()] == ["data", "data"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "Data"}, 400),
        ({"name": "data", "size_gb": 501}, 400),
        ({"name": "data", "size_gb": "1"}, 400),
        ({"name": "data", "region": "moon"}, 400),
        ({"name": "data", "snapshot_retention": 61}, 400),
        ({"name": "data", "colour": "red"}, 400),
        ({"name": "data", "snapshot_id": "vs_1"}, 422),
        ({"name": "data", "compute": {"cpus": 3}}, 422),
    ],
)
async def test_a_wrong_volume_is_refused(fly: Fly, body: dict[str, Any], status: int) -> None:
    app = await fly.app()
    assert (await fly.http.post(f"{app}/volumes", json=body)).status_code == status
    assert (await fly.http.get(f"{app}/volumes")).json() == []


async def test_a_volume_only_grows(fly: Fly) -> None:
    app = await fly.app()
    path = f"{app}/volumes/{(await volume(fly, size_gb=2))['id']}"
    for size in (1, 2):
        assert (await fly.http.put(f"{path}/extend", json={"size_gb": size})).status_code == 422
    grown = (await fly.http.put(f"{path}/extend", json={"size_gb": 5})).json()
    assert (grown["volume"]["size_gb"], grown["needs_restart"]) == (5, False)
    assert (await fly.http.get(path)).json()["size_gb"] == 5


async def test_snapshot_settings_change_in_place(fly: Fly) -> None:
    app = await fly.app()
    path = f"{app}/volumes/{(await volume(fly))['id']}"
    await fly.http.put(path, json={"snapshot_retention": 9})
    await fly.http.put(path, json={"auto_backup_enabled": False})
    now = (await fly.http.get(path)).json()
    assert (now["snapshot_retention"], now["auto_backup_enabled"]) == (9, False)
    assert (await fly.http.put(path, json={"size_gb": 9})).status_code == 400


async def test_a_volume_is_for_one_machine_in_its_region(fly: Fly) -> None:
    app = await fly.app()
    made = await volume(fly)
    elsewhere = await volume(fly, region="ams")
    assert (await fly.http.post(f"{app}/machines", json={"region": "ord", **on(elsewhere)})).status_code == 422
    machine = await fly.machine(**on(made))
    mount = machine["config"]["mounts"][0]
    assert {"volume": made["id"], "name": "data", "size_gb": 3, "encrypted": True}.items() <= mount.items()
    attached = (await fly.http.get(f"{app}/volumes/{made['id']}")).json()
    assert attached["attached_machine_id"] == machine["id"]
    assert (await fly.http.post(f"{app}/machines", json=on(made))).status_code == 412
    two = {"config": {"image": "known", "mounts": [{"volume": v, "path": "/d"} for v in ("vol_1", "vol_2")]}}
    assert (await fly.http.post(f"{app}/machines", json=two)).status_code == 400


async def test_the_mount_of_a_machine_stays(fly: Fly) -> None:
    app = await fly.app()
    made, other = await volume(fly), await volume(fly)
    path = f"{app}/machines/{(await fly.machine(**on(made)))['id']}"
    for body in (on(other), {"config": {"image": "known"}}):
        answer = await fly.http.post(path, json=body)
        assert answer.status_code == 422
        assert "make a new machine" in answer.json()["error"]
    assert (await fly.http.post(path, json=on(made))).status_code == 200
    plain = f"{app}/machines/{(await fly.machine())['id']}"
    assert (await fly.http.post(plain, json=on(other))).status_code == 422


async def test_a_volume_outlives_its_machine_and_can_be_used_again(fly: Fly) -> None:
    app = await fly.app()
    made = await volume(fly)
    machine = await fly.machine(**on(made))
    await fly.http.delete(f"{app}/machines/{machine['id']}", params={"force": "true"})
    await fly.reaches(f"{app}/machines/{machine['id']}", "destroyed")
    assert (await fly.http.get(f"{app}/volumes/{made['id']}")).json()["attached_machine_id"] is None
    await fly.machine(**on(made))
    assert fly.platform.computer.volumes_erased == []


async def test_deletion_lingers(serve: Serve) -> None:
    fly = await serve(volume_linger_s=1000)
    app = await fly.app()
    made = await volume(fly)
    path = f"{app}/volumes/{made['id']}"
    machine = await fly.machine(**on(made))
    assert (await fly.http.delete(path)).status_code == 412, "in use"
    await fly.http.delete(f"{app}/machines/{machine['id']}", params={"force": "true"})
    await fly.reaches(f"{app}/machines/{machine['id']}", "destroyed")
    assert (await fly.http.delete(path)).json()["state"] == "pending_destroy"
    assert fly.platform.computer.volumes_erased == [made["id"]]
    assert [v["state"] for v in (await fly.http.get(f"{app}/volumes")).json()] == ["pending_destroy"]
    assert (await fly.http.get(path)).json()["state"] == "pending_destroy"
    assert (await fly.http.delete(path)).status_code == 404
    assert (await fly.http.put(f"{path}/extend", json={"size_gb": 9})).status_code == 404
    assert (await fly.http.post(f"{app}/machines", json=on(made))).status_code == 422
    assert (await fly.http.get(app)).json()["volume_count"] == 0

    later = await serve(volume_linger_s=0)
    assert (await later.http.get(f"{app}/volumes")).json() == []
    assert (await later.http.get(path)).status_code == 404
