from __future__ import annotations

from typing import Any

import pytest

from components.fly.app import AppProvider
from components.fly.errors import FlyError
from tests.components.fly.fake_clock import FakeClock
from tests.components.fly.fake_fly import FakeFly
from tests.components.fly.managed import InvalidError, Make, Managed

GW = {"app": "gw", "organization": "acme"}


@pytest.fixture
def app(provider: Make) -> Managed:
    return Managed(provider(AppProvider))


def test_an_app_lives_and_dies(fly: FakeFly, app: Managed) -> None:
    assert app.up(**GW) == "create"
    assert (app.id, app.outputs["hostname"]) == ("gw", "gw.fly.dev")
    assert app.refresh()
    assert app.up(**GW) == "same"
    assert fly.writes() == ["POST /apps"]
    fly.add_app("gw").machines["1"] = {}
    app.destroy()
    assert fly.apps == {}


def test_an_app_of_the_organization_is_adopted(fly: FakeFly, app: Managed) -> None:
    fly.add_app("gw")
    assert app.up(**GW) == "create"
    assert fly.writes() == []


def test_the_name_of_another_organization_is_refused(fly: FakeFly, app: Managed) -> None:
    fly.elsewhere.add("gw")
    with pytest.raises(FlyError, match=r"the app name gw belongs to another organization .* in the setting `app`"):
        app.up(**GW)
    assert fly.writes() == []


def test_an_app_of_another_organization_of_the_same_token_is_refused(fly: FakeFly, app: Managed) -> None:
    fly.add_app("gw", "other")
    with pytest.raises(FlyError, match="the app gw exists in organization other, not in acme"):
        app.up(**GW)


def test_the_alias_personal_is_no_difference(fly: FakeFly, app: Managed) -> None:
    fly.add_app("gw", "jane-doe-123")
    app.up(app="gw", organization="personal")
    assert app.refresh()
    assert app.up(app="gw", organization="personal") == "same"


def test_a_network_cannot_be_changed(fly: FakeFly, app: Managed) -> None:
    fly.add_app("gw").network = "default"
    with pytest.raises(FlyError, match="on network default, not on private"):
        app.up(**GW, network="private")


def test_a_new_app_is_waited_for(fly: FakeFly, app: Managed, clock: FakeClock) -> None:
    fly.fail("GET /apps/gw", 404)
    fly.fail("GET /apps/gw", 401)
    fly.fail("GET /apps/gw", 404)
    began = clock.now()
    app.up(**GW)
    assert 0 < clock.now() - began < 10


def test_a_new_app_that_stays_hidden_is_an_error_in_the_end(fly: FakeFly, app: Managed, clock: FakeClock) -> None:
    fly.fail("GET /apps/gw", 404, times=999)
    began = clock.now()
    with pytest.raises(FlyError, match="does not show it after 60 s"):
        app.up(**GW)
    assert clock.now() - began < 120


def test_a_refused_token_is_said_before_anything_is_made(fly: FakeFly, app: Managed) -> None:
    fly.fail("GET /apps/gw", 401)
    with pytest.raises(FlyError, match=r"Fly\.io does not accept the token"):
        app.up(**GW)
    assert fly.writes() == []


def test_an_app_deleted_by_someone_is_made_again(fly: FakeFly, app: Managed) -> None:
    app.up(**GW)
    fly.apps.clear()
    assert not app.refresh()
    assert app.up(**GW) == "create"


def test_another_name_is_another_app(fly: FakeFly, app: Managed) -> None:
    app.up(**GW)
    assert app.up(app="gw2", organization="acme") == "replace"
    assert [*fly.apps] == ["gw2"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"app": "Hot Dash"}, "app: app is 'Hot Dash'; give at most 63 lower-case letters"),
        ({"organization": ""}, "organization: organization is ''; give the slug"),
    ],
)
def test_a_bad_input_is_refused(app: Managed, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        app.up(**{**GW, **inputs})
