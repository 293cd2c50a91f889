from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from components.fly.errors import FlyError
from components.fly.volume import ADOPTED_WITHIN, VolumeProvider
from tests.components.fly.fake_fly import FakeFly
from tests.components.fly.managed import InvalidError, Make, Managed

DATA = {"resource": "data", "app": "gw", "name": "data", "region": "ord", "size_gb": 10, "snapshot_retention": 5}
POST = "POST /apps/gw/volumes"


@pytest.fixture
def volume(provider: Make, fly: FakeFly) -> Managed:
    fly.add_app()
    return Managed(provider(VolumeProvider))


def volumes(fly: FakeFly) -> list[dict[str, Any]]:
    return [one for one in fly.apps["gw"].volumes.values() if one["state"] == "created"]


def add_volume(fly: FakeFly, age: timedelta = timedelta(0), **changes: Any) -> None:
    volume = {
        "id": "vol_left",
        "name": "data",
        "state": "created",
        "size_gb": 10,
        "region": "ord",
        "encrypted": True,
        "attached_machine_id": None,
        "host_status": "ok",
        "created_at": (datetime.now(UTC) - age).isoformat(),
        "snapshot_retention": 5,
    }
    fly.apps["gw"].volumes["vol_left"] = volume | changes


def test_a_volume_lives_and_dies(fly: FakeFly, volume: Managed) -> None:
    compute = {"cpu_kind": "shared", "cpus": 2, "memory_mb": 4096}
    assert volume.up(**DATA, compute=compute) == "create"
    assert fly.bodies[-1] == {
        "name": "data",
        "region": "ord",
        "size_gb": 10,
        "snapshot_retention": 5,
        "compute": compute,
        "encrypted": True,
    }
    assert volume.outputs["volume_id"] == volume.id
    assert volume.refresh()
    assert volume.up(**DATA, compute=compute) == "same"
    volume.destroy()
    assert volumes(fly) == []


def test_a_volume_grows_in_place(fly: FakeFly, volume: Managed) -> None:
    volume.up(**DATA)
    assert volume.up(**{**DATA, "size_gb": 20, "snapshot_retention": 7}) == "update"
    assert [(one["size_gb"], one["snapshot_retention"]) for one in volumes(fly)] == [(20, 7)]
    assert volume.refresh()


def test_only_what_changed_is_asked_for(fly: FakeFly, volume: Managed) -> None:
    volume.up(**DATA)
    fly.requests.clear()
    volume.up(**{**DATA, "snapshot_retention": 7})
    volume.up(**{**DATA, "snapshot_retention": 7, "size_gb": 20})
    assert fly.requests == [f"PUT /apps/gw/volumes/{volume.id}", f"PUT /apps/gw/volumes/{volume.id}/extend"]


def test_a_volume_never_shrinks(fly: FakeFly, volume: Managed) -> None:
    volume.up(**DATA)
    with pytest.raises(InvalidError, match="size_gb is 5, and the volume data has 10 GB: volumes never shrink"):
        volume.up(**{**DATA, "size_gb": 5})


def test_another_region_is_another_volume(fly: FakeFly, volume: Managed) -> None:
    volume.up(**DATA)
    assert volume.up(**{**DATA, "region": "fra", "size_gb": 5}) == "replace"
    assert [(one["region"], one["size_gb"]) for one in volumes(fly)] == [("fra", 5)]


def test_the_id_is_known_to_a_preview_after_a_refresh(volume: Managed) -> None:
    volume.up(**DATA)
    volume.refresh()
    checked = volume.provider.check(volume.inputs, {**DATA, "size_gb": 20})
    assert checked.inputs["volume_id"] == volume.id, "or machines that mount it would seem to change"
    again = volume.provider.check({}, {**DATA, "region": "fra"})
    assert "volume_id" not in again.inputs, "a replacement has another"


@pytest.mark.parametrize("happened", [True, False], ids=["happened", "did not happen"])
def test_an_unclear_creation_never_makes_two(fly: FakeFly, volume: Managed, happened: bool) -> None:
    fly.fail(POST, httpx.ReadTimeout("slow"), happened=happened)
    if happened:
        volume.up(**DATA)
    else:
        with pytest.raises(FlyError, match="adopts what was made"):
            volume.up(**DATA)
        volume.up(**DATA)
    assert len(volumes(fly)) == 1


def test_the_volume_of_an_interrupted_run_is_adopted(fly: FakeFly, volume: Managed) -> None:
    add_volume(fly, age=timedelta(minutes=5))
    volume.up(**DATA)
    assert volume.id == "vol_left"
    assert fly.count(POST) == 0


@pytest.mark.parametrize("difference", [{"size_gb": 20}, {"age": ADOPTED_WITHIN + timedelta(minutes=1)}])
def test_a_volume_that_may_hold_data_is_neither_taken_nor_doubled(
    fly: FakeFly, volume: Managed, difference: dict[str, Any]
) -> None:
    add_volume(fly, **difference)
    with pytest.raises(FlyError, match=r"vol_left.* may hold data.*fly volumes destroy vol_left"):
        volume.up(**DATA)
    assert len(volumes(fly)) == 1


@pytest.mark.parametrize(
    "difference",
    [{"attached_machine_id": "1"}, {"state": "pending_destroy"}, {"region": "fra"}, {"name": "other"}],
)
def test_a_volume_in_use_or_of_another_place_is_no_obstacle(
    fly: FakeFly, volume: Managed, difference: dict[str, Any]
) -> None:
    add_volume(fly, **difference)
    volume.up(**DATA)
    assert volume.id != "vol_left"


def test_a_volume_name_belongs_to_one_resource(provider: Make, volume: Managed) -> None:
    volume.up(**DATA)
    with pytest.raises(InvalidError, match="the volume name data of app gw is already used by 'data'"):
        Managed(provider(VolumeProvider)).up(**{**DATA, "resource": "other"})


def test_changes_by_others_are_seen(fly: FakeFly, volume: Managed) -> None:
    volume.up(**DATA)
    volumes(fly)[0]["snapshot_retention"] = 1
    assert not volume.refresh()
    assert volume.up(**DATA) == "update"
    assert volume.refresh()
    volumes(fly)[0]["state"] = "pending_destroy"
    fly.clock.sleep(10)
    assert not volume.refresh()
    assert volume.id is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_gb": 0}, "size_gb is 0.0; give a whole number from 1 to 500"),
        ({"size_gb": 1.5}, "size_gb is 1.5"),
        ({"snapshot_retention": 61}, "from 1 to 60"),
        ({"name": "Data-1"}, "name is 'Data-1'"),
        ({"region": "chicago"}, "region is 'chicago'"),
    ],
)
def test_a_bad_input_is_refused(volume: Managed, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        volume.up(**{**DATA, **change})
