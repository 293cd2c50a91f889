"""A resource that gets another name in the program: the new one adopts the object, the old one leaves it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from components.fly.address import AddressProvider
from components.fly.app import AppProvider
from components.fly.certificate import CertificateProvider
from components.fly.machine import MachineProvider
from components.fly.provider import AdoptingProvider
from components.fly.redis import RedisProvider
from components.fly.secret import SecretsProvider
from components.fly.volume import VolumeProvider
from tests.components.fly.fake_fly import FakeFly
from tests.components.fly.managed import Make, Managed
from tests.components.fly.test_app import GW
from tests.components.fly.test_certificate import HOST
from tests.components.fly.test_machine import EDGE
from tests.components.fly.test_redis import CACHE
from tests.components.fly.test_volume import DATA

CASES: dict[type[AdoptingProvider], dict[str, Any]] = {
    AddressProvider: {"app": "gw", "kind": "v6"},
    AppProvider: GW,
    CertificateProvider: HOST,
    MachineProvider: EDGE,
    RedisProvider: CACHE,
    VolumeProvider: DATA,
}


def test_every_adopting_resource_is_listed_here() -> None:
    assert {*CASES} == {*AdoptingProvider.__subclasses__()}


@pytest.mark.parametrize("cls", CASES)
def test_what_was_adopted_in_this_run_is_not_deleted(fly: FakeFly, provider: Make, cls: type[AdoptingProvider]) -> None:
    fly.add_app()
    old, new = Managed(provider(cls)), Managed(provider(cls))
    old.up(**CASES[cls])
    new.up(**CASES[cls])
    assert new.id == old.id
    before = fly.writes()
    old.provider.delete(old.id or "", old.outputs)
    assert fly.writes() == before
    new.destroy()
    assert fly.writes() != before, "a later run deletes it"


def set_of(provider: Make, name: str, **values: str) -> Managed:
    secrets = Managed(provider(SecretsProvider))
    secrets.up(app="gw", set=name, values=values)
    return secrets


def held(fly: FakeFly) -> set[str]:
    return {*fly.apps["gw"].secrets}


def test_a_renamed_set_keeps_its_secrets(fly: FakeFly, provider: Make, new_run: Callable[[], None]) -> None:
    fly.add_app()
    old = set_of(provider, "old", A="1", B="2")
    new_run()
    set_of(provider, "new", A="1")
    old.destroy()
    assert held(fly) == {"A"}, "B was the old set's alone"


def test_a_secret_that_moves_to_another_set_stays(fly: FakeFly, provider: Make, new_run: Callable[[], None]) -> None:
    fly.add_app()
    one, other = set_of(provider, "one", A="1", B="2"), set_of(provider, "other", C="3")
    new_run()
    other.up(app="gw", set="other", values={"B": "2", "C": "3"})
    one.up(app="gw", set="one", values={"A": "1"})
    assert held(fly) == {"A", "B", "C"}
