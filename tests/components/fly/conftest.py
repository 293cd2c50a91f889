from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from components.fly import secret, volume
from components.fly.api import Api
from components.fly.claims import Claims
from components.fly.provider import FlyProvider
from tests.components.fly.fake_clock import FakeClock
from tests.components.fly.fake_fly import TOKEN, FakeFly

P = TypeVar("P", bound=FlyProvider)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fly(clock: FakeClock) -> FakeFly:
    return FakeFly(clock)


@pytest.fixture
def api(fly: FakeFly, clock: FakeClock) -> Api:
    return Api(TOKEN, transport=fly.transport, clock=clock)


@pytest.fixture
def new_run(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forgets which resource claimed what, as a new provider process does."""

    def begin() -> None:
        monkeypatch.setattr(secret, "_claims", Claims())
        monkeypatch.setattr(volume, "_claims", Claims())

    return begin


@pytest.fixture
def provider(api: Api, new_run: Callable[[], None]) -> Callable[[type[P]], P]:
    """A configured provider of a class, as in a process of its own."""
    new_run()

    def make(cls: type[P]) -> P:
        made = cls()
        made.api = api
        return made

    return make
