from __future__ import annotations

import httpx
import pytest

from components.fly.address import AddressProvider
from components.fly.errors import FlyError
from tests.components.fly.fake_fly import FakeFly
from tests.components.fly.managed import InvalidError, Make, Managed

PATH = "/apps/gw/ip_assignments"


@pytest.fixture
def address(provider: Make, fly: FakeFly) -> Managed:
    fly.add_app()
    return Managed(provider(AddressProvider))


@pytest.mark.parametrize(("kind", "start"), [("v6", "2a09:"), ("shared_v4", "66."), ("private_v6", "fdaa:")])
def test_an_address_of_each_kind_lives_and_dies(fly: FakeFly, address: Managed, kind: str, start: str) -> None:
    assert address.up(app="gw", kind=kind) == "create"
    assert address.outputs["address"].startswith(start)
    assert address.refresh()
    assert address.up(app="gw", kind=kind) == "same"
    address.destroy()
    assert fly.apps["gw"].ips == []
    assert fly.count(f"POST {PATH}") == 1


def test_an_address_that_is_there_is_adopted(fly: FakeFly, provider: Make, address: Managed) -> None:
    address.up(app="gw", kind="v6")
    again = Managed(provider(AddressProvider))
    again.up(app="gw", kind="v6")
    assert again.id == address.id
    assert len(fly.apps["gw"].ips) == 1


def test_kinds_are_told_apart(fly: FakeFly, provider: Make) -> None:
    fly.add_app()
    kinds = ("private_v6", "v6", "shared_v4")
    ids = {kind: Managed(provider(AddressProvider)) for kind in kinds}
    for kind, managed in ids.items():
        managed.up(app="gw", kind=kind)
    assert len({managed.id for managed in ids.values()}) == 3


@pytest.mark.parametrize("happened", [True, False], ids=["happened", "did not happen"])
def test_an_unclear_allocation_never_makes_two(fly: FakeFly, address: Managed, happened: bool) -> None:
    fly.fail(f"POST {PATH}", httpx.ReadTimeout("slow"), happened=happened)
    if happened:
        address.up(app="gw", kind="v6")
    else:
        with pytest.raises(FlyError, match="adopts what was made"):
            address.up(app="gw", kind="v6")
        address.up(app="gw", kind="v6")
    assert len(fly.apps["gw"].ips) == 1


def test_a_released_address_is_made_again(fly: FakeFly, address: Managed) -> None:
    address.up(app="gw", kind="v6")
    fly.apps["gw"].ips.clear()
    assert not address.refresh()
    assert address.up(app="gw", kind="v6") == "create"


def test_refreshing_all_addresses_of_an_app_is_one_list(fly: FakeFly, provider: Make) -> None:
    fly.add_app()
    addresses = [Managed(provider(AddressProvider)) for _ in range(3)]
    for managed, kind in zip(addresses, ("v6", "shared_v4", "private_v6"), strict=True):
        managed.up(app="gw", kind=kind)
    before = fly.count(f"GET {PATH}")
    assert all(managed.refresh() for managed in addresses)
    assert fly.count(f"GET {PATH}") == before + 1


def test_an_address_gone_with_its_app_is_gone(fly: FakeFly, address: Managed) -> None:
    address.up(app="gw", kind="v6")
    fly.apps.clear()
    address.destroy()


def test_another_kind_is_another_address(fly: FakeFly, address: Managed) -> None:
    address.up(app="gw", kind="v6")
    assert address.up(app="gw", kind="private_v6") == "replace"
    assert [ip["ip"][:4] for ip in fly.apps["gw"].ips] == ["fdaa"]


def test_an_unknown_kind_is_refused(address: Managed) -> None:
    with pytest.raises(InvalidError, match="kind is 'v4'; give v6 or shared_v4 or private_v6"):
        address.up(app="gw", kind="v4")
