from __future__ import annotations

import httpx
import pytest

from components.fly.errors import FlyError
from components.fly.secret import SecretsProvider
from tests.components.fly.fake_fly import FakeFly
from tests.components.fly.managed import InvalidError, Make, Managed

POST = "POST /apps/gw/secrets"


@pytest.fixture
def secrets(provider: Make, fly: FakeFly) -> Managed:
    fly.add_app()
    return Managed(provider(SecretsProvider))


def up(secrets: Managed, **values: str) -> str:
    return secrets.up(app="gw", set="main", values=values)


def held(fly: FakeFly) -> dict[str, str]:
    return {name: value for name, (value, _) in fly.apps["gw"].secrets.items()}


def test_a_set_is_set_in_one_request_and_unset_again(fly: FakeFly, secrets: Managed) -> None:
    fly.apps["gw"].secrets["OTHERS"] = ("x", "d")
    assert up(secrets, A="1", B="2") == "create"
    assert (held(fly), secrets.outputs["version"]) == ({"OTHERS": "x", "A": "1", "B": "2"}, 1)
    assert secrets.outputs["digests"].keys() == {"A", "B"}
    assert secrets.refresh()
    assert up(secrets, A="1", B="2") == "same"
    secrets.destroy()
    assert held(fly) == {"OTHERS": "x"}, "what it does not own is untouched"
    assert fly.count(POST) == 2


def test_a_changed_value_is_set_and_the_version_rises(fly: FakeFly, secrets: Managed) -> None:
    up(secrets, A="1", B="2")
    assert up(secrets, A="1", B="3") == "update"
    assert (held(fly), secrets.outputs["version"]) == ({"A": "1", "B": "3"}, 2)


def test_a_removed_name_is_really_unset(fly: FakeFly, secrets: Managed) -> None:
    up(secrets, A="1", B="2")
    assert up(secrets, A="1") == "update"
    assert held(fly) == {"A": "1"}
    assert secrets.outputs["digests"].keys() == {"A"}


def test_a_value_someone_edited_is_shown_and_set_again(fly: FakeFly, secrets: Managed) -> None:
    up(secrets, A="1", B="2")
    fly.apps["gw"].secrets["A"] = ("evil", "another-digest")
    assert not secrets.refresh()
    assert secrets.inputs["values"] == {"B": "2"}, "the preview shows A, and only A, as missing"
    assert up(secrets, A="1", B="2") == "update"
    assert held(fly) == {"A": "1", "B": "2"}
    assert secrets.refresh()


def test_a_value_someone_removed_is_shown_and_set_again(fly: FakeFly, secrets: Managed) -> None:
    up(secrets, A="1", B="2")
    del fly.apps["gw"].secrets["A"]
    assert not secrets.refresh()
    assert not secrets.refresh() or up(secrets, A="1", B="2") == "update"
    up(secrets, A="1", B="2")
    assert held(fly) == {"A": "1", "B": "2"}


def test_a_name_edited_by_someone_and_then_removed_by_the_program_goes(fly: FakeFly, secrets: Managed) -> None:
    up(secrets, A="1", B="2")
    fly.apps["gw"].secrets["A"] = ("evil", "another-digest")
    secrets.refresh()
    secrets.refresh()
    assert up(secrets, B="2") == "update", "otherwise it would stay for ever"
    assert held(fly) == {"B": "2"}


def test_secrets_of_others_are_no_difference(fly: FakeFly, secrets: Managed) -> None:
    up(secrets, A="1")
    fly.apps["gw"].secrets["OTHERS"] = ("x", "d")
    assert secrets.refresh()


@pytest.mark.parametrize("setback", [408, 503, httpx.ReadError("reset")])
def test_an_unclear_change_is_made_again(fly: FakeFly, secrets: Managed, setback: int | Exception) -> None:
    fly.fail(POST, setback, happened=True)
    up(secrets, A="1")
    assert held(fly) == {"A": "1"}
    assert secrets.refresh()


def test_digests_an_answer_leaves_out_are_listed(fly: FakeFly, secrets: Managed) -> None:
    answer = httpx.Response(200, json={"secrets": [], "version": 7})
    fly.fail(POST, answer, happened=True)
    up(secrets, A="1")
    assert secrets.outputs["digests"].keys() == {"A"}
    assert secrets.refresh()


def test_an_error_shows_names_and_no_value(fly: FakeFly, secrets: Managed) -> None:
    fly.fail(POST, httpx.Response(422, json={"error": "A=hunter2 is too weak"}))
    with pytest.raises(FlyError, match=r"cannot set the secrets A of app gw.*A=\[secret\] is too weak"):
        up(secrets, A="hunter2")


def test_two_sets_of_one_program_cannot_own_one_name(provider: Make, secrets: Managed) -> None:
    up(secrets, A="1", B="2")
    other = Managed(provider(SecretsProvider))
    with pytest.raises(InvalidError, match="B of app gw is already set by the Secrets 'main'"):
        other.up(app="gw", set="other", values={"B": "3", "C": "4"})
    assert up(secrets, A="1", B="2") == "same", "the owner itself may be checked again"


def test_the_same_name_on_another_app_is_another_secret(fly: FakeFly, provider: Make, secrets: Managed) -> None:
    up(secrets, A="1")
    fly.add_app("other")
    assert Managed(provider(SecretsProvider)).up(app="other", set="other", values={"A": "2"}) == "create"


def test_secrets_gone_with_their_app_are_gone(fly: FakeFly, secrets: Managed) -> None:
    up(secrets, A="1")
    fly.apps.clear()
    secrets.destroy()


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "Ä"])
def test_a_name_no_environment_can_have_is_refused(secrets: Managed, name: str) -> None:
    with pytest.raises(InvalidError, match="is no name of an environment variable"):
        secrets.up(app="gw", set="main", values={name: "x"})


def test_an_empty_value_is_refused(secrets: Managed) -> None:
    with pytest.raises(InvalidError, match="A is not text, or empty"):
        up(secrets, A="")
