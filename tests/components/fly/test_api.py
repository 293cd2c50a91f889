"""What is repeated, what is looked up, what an error says, and where the token goes."""

from __future__ import annotations

import traceback

import httpx
import pytest

from components.fly.api import ATTEMPTS, DEADLINE_S, Api
from components.fly.errors import FlyError
from tests.components.fly.fake_clock import FakeClock
from tests.components.fly.fake_fly import ORGANIZATION, TOKEN, App, FakeFly

APP = "/apps/gw"
CREATION = {"name": "gw", "org_slug": "acme"}


def error_of(api: Api, path: str = APP) -> str:
    with pytest.raises(FlyError) as caught:
        api.get(path, to="read app gw")
    return str(caught.value)


def create(api: Api) -> object:
    return api.send_once("/apps", to="create app gw", body=CREATION, look=lambda: api.get(APP, to="read app gw"))


@pytest.mark.parametrize("setback", [500, 503, 408, 429, httpx.ReadError("reset"), httpx.ConnectError("refused")])
def test_a_read_survives_a_hiccup(fly: FakeFly, api: Api, setback: int | Exception) -> None:
    fly.add_app()
    fly.fail(f"GET {APP}", setback, times=ATTEMPTS - 1)
    assert (api.get(APP, to="read app gw") or {})["name"] == "gw"


def test_repeating_ends(fly: FakeFly, api: Api, clock: FakeClock) -> None:
    fly.fail(f"GET {APP}", 503, times=99)
    began = clock.now()
    assert "cannot read app gw: Fly.io answered 503: scripted (fly-request-id 01REQUEST)" in error_of(api)
    assert fly.count(f"GET {APP}") == ATTEMPTS
    assert clock.now() - began < 10


def test_a_refused_rate_waits_as_long_as_fly_says(fly: FakeFly, api: Api, clock: FakeClock) -> None:
    fly.add_app()
    fly.fail(f"GET {APP}", httpx.Response(429, headers={"retry-after": "7"}), times=8)
    began = clock.now()
    assert api.get(APP, to="read app gw")
    assert clock.now() - began == pytest.approx(8 * 7, abs=1)


def test_a_rate_refused_for_ever_ends_at_the_deadline(fly: FakeFly, api: Api, clock: FakeClock) -> None:
    fly.fail(f"GET {APP}", httpx.Response(429, headers={"retry-after": "7"}), times=99)
    began = clock.now()
    assert "Other programs use up the rate" in error_of(api)
    assert DEADLINE_S - 10 < clock.now() - began <= DEADLINE_S


@pytest.mark.parametrize("setback", [408, 500, 503, httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("closed")])
@pytest.mark.parametrize("happened", [True, False], ids=["happened", "did not happen"])
def test_an_unclear_creation_is_looked_up(
    fly: FakeFly, api: Api, clock: FakeClock, setback: int | Exception, happened: bool
) -> None:
    fly.fail("POST /apps", setback, happened=happened)
    assert create(api)
    assert fly.count("POST /apps") == (1 if happened else 2), "asked again only after looking"
    assert [*fly.apps] == ["gw"]


def test_a_creation_that_lands_late_is_found(fly: FakeFly, api: Api, clock: FakeClock) -> None:
    fly.fail("POST /apps", 408)
    clock.after(3, lambda: fly.apps.update(gw=App("gw", ORGANIZATION)))
    assert create(api)
    assert fly.count("POST /apps") == 1


def test_a_creation_that_stays_unclear_is_not_hammered(fly: FakeFly, api: Api) -> None:
    fly.fail("POST /apps", 503, times=99)
    with pytest.raises(FlyError, match=r"cannot create app gw: Fly\.io answered 503"):
        create(api)
    assert fly.count("POST /apps") == 2


def test_a_change_that_was_never_sent_is_repeated(fly: FakeFly, api: Api) -> None:
    fly.fail("POST /apps", httpx.ConnectError("[Errno 111] Connection refused"), times=2)
    assert create(api)
    assert fly.count("POST /apps") == 3


@pytest.mark.parametrize("status", [400, 403, 409, 412, 422])
def test_a_refusal_is_final(fly: FakeFly, api: Api, status: int) -> None:
    fly.fail("POST /apps", status)
    with pytest.raises(FlyError, match=f"cannot create app gw: Fly.io answered {status}: scripted"):
        create(api)
    assert fly.count("POST /apps") == 1


def test_what_is_gone_is_none_and_deleting_it_is_done(fly: FakeFly, api: Api) -> None:
    assert api.get(APP, to="read app gw") is None
    api.delete(APP, to="delete app gw")


REMEDIES = [
    (401, "pulumi config set --secret flyToken"),
    (403, "belongs to another organization"),
    (409, "Someone else is changing it"),
    (422, "correct the setting"),
    (502, "status.flyio.net"),
]


@pytest.mark.parametrize(("status", "remedy"), REMEDIES)
def test_an_error_names_object_cause_and_remedy(fly: FakeFly, api: Api, status: int, remedy: str) -> None:
    fly.fail(f"GET {APP}", status, times=9)
    text = error_of(api)
    assert text.startswith(f"cannot read app gw: Fly.io answered {status}: scripted (fly-request-id 01REQUEST)")
    assert remedy in text
    assert "\n" not in text


def test_both_fields_of_fly_s_error_are_shown_once(fly: FakeFly, api: Api) -> None:
    body = {"error": "invalid", "message": "name\ntaken", "status": "name_taken"}
    fly.fail(f"GET {APP}", httpx.Response(422, json=body))
    assert "answered 422: invalid, name taken, name_taken." in error_of(api).replace("\n", " ")


def test_a_page_is_summarised(fly: FakeFly, api: Api) -> None:
    page = "<!doctype html><html><head><title>Bad\n Gateway</title></head><body>" + "x" * 9999
    fly.fail(f"GET {APP}", httpx.Response(502, html=page), times=9)
    assert "an HTML page titled 'Bad Gateway'" in error_of(api)


def test_a_page_instead_of_an_answer_names_the_setting(fly: FakeFly, api: Api) -> None:
    fly.fail(f"GET {APP}", httpx.Response(200, html="<html><title>Log in</title></html>"))
    text = error_of(api)
    assert "https://api.machines.dev/v1/apps/gw answered 200: an HTML page titled 'Log in'" in text
    assert "flyApiUrl" in text


def test_a_long_body_is_trimmed(fly: FakeFly, api: Api) -> None:
    fly.fail(f"GET {APP}", httpx.Response(422, text="x" * 9999))
    assert len(error_of(api)) < 1000


def test_an_unreachable_fly_names_url_and_setting(fly: FakeFly, api: Api, clock: FakeClock) -> None:
    fly.fail(f"GET {APP}", httpx.ConnectError("[Errno 111] Connection refused"), times=9)
    fly.fail("POST /graphql", httpx.ConnectError("[Errno 111] Connection refused"), times=9)
    began = clock.now()
    text = error_of(api)
    assert "no connection to Fly.io at https://api.machines.dev/v1/apps/gw ([Errno 111] Connection refused)" in text
    assert "flyApiUrl" in text
    assert clock.now() - began < 5, "a wrong setting is said soon"
    with pytest.raises(FlyError, match="flyGraphqlUrl"):
        api.graphql("{ platform { requestRegion } }", {}, to="read the platform")


def test_a_redirect_is_not_followed(clock: FakeClock) -> None:
    asked = []

    def elsewhere(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://evil.example.com/v1/apps/gw"})

    text = error_of(Api(TOKEN, transport=httpx.MockTransport(elsewhere), clock=clock))
    assert "a redirect to https://evil.example.com/v1/apps/gw, which the token does not follow" in text
    assert asked == ["api.machines.dev"]


def test_the_bases_can_be_moved(clock: FakeClock) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"data": {}})

    api = Api("t", "http://127.0.0.1:1/", "http://127.0.0.1:2/", transport=httpx.MockTransport(answer), clock=clock)
    api.get(APP, to="read app gw")
    api.graphql("{ platform { requestRegion } }", {}, to="read the platform")
    assert asked == ["http://127.0.0.1:1/v1/apps/gw", "http://127.0.0.1:2/graphql"]


def test_nothing_shows_the_token_or_a_secret(fly: FakeFly, api: Api) -> None:
    echo = httpx.Response(422, json={"error": f"bad header {TOKEN}, bad value hunter2"})
    fly.fail("POST /apps/gw/secrets", echo)
    with pytest.raises(FlyError) as caught:
        api.send("POST", f"{APP}/secrets", to="set secrets", body={"values": {"A": "hunter2"}}, hidden=["hunter2"])
    shown = "".join(traceback.format_exception(caught.value)) + repr(api) + repr(vars(caught.value))
    assert "bad header [secret], bad value [secret]" in shown
    assert TOKEN not in shown
    assert "hunter2" not in shown.replace('hidden=["hunter2"]', "").replace('"A": "hunter2"', "")


def test_a_list_is_shared_until_it_is_old_or_changed(fly: FakeFly, api: Api, clock: FakeClock) -> None:
    fly.add_app("gw")
    path = f"{APP}/machines"

    def lists() -> int:
        api.get_shared(path, to="list machines of app gw")
        return fly.count(f"GET {path}")

    assert [lists(), lists(), lists()] == [1, 1, 1]
    api.send("POST", f"{APP}/secrets", to="set secrets", body={"values": {"A": "1"}})
    assert [lists(), lists()] == [2, 2], "our own change is seen at once"
    fly.fail("DELETE /apps/gw/certificates/x.example.com", 422)
    with pytest.raises(FlyError):
        api.delete(f"{APP}/certificates/x.example.com", to="delete")
    assert lists() == 3, "a change that failed may have happened"
    clock.sleep(6)
    assert [lists(), lists()] == [4, 4]


def test_graphql_errors_come_with_200(fly: FakeFly, api: Api) -> None:
    fly.fail("POST /graphql", httpx.Response(200, json={"errors": [{"message": "Plan is legacy"}, {"message": "No"}]}))
    with pytest.raises(FlyError, match=r"cannot read the platform: Fly.io's GraphQL API answered: Plan is legacy; No"):
        api.graphql("{ platform { requestRegion } }", {}, to="read the platform")
