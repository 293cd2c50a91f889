"""What holds for every request, whatever it is about."""

from __future__ import annotations

import logging

import httpx
import pytest

from tests.local.fly.conftest import TOKEN, Fly, Serve


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        TOKEN,
        "Bearer",
        f"Basic {TOKEN}",
        f"Bearer FlyV1 {TOKEN}",
        f"FlyV1 Bearer {TOKEN}",
        "Bearer another",
        f"Bearer {TOKEN}x",
    ],
)
@pytest.mark.parametrize("path", ["/v1/apps?org_slug=acme", "/_embedded/status", "/graphql"])
async def test_without_the_token_nothing_answers(fly: Fly, header: str | None, path: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with httpx.AsyncClient(base_url=fly.http.base_url, trust_env=False) as stranger:
        answer = await stranger.get(path, headers=headers)
    assert answer.status_code == 401
    assert TOKEN not in answer.text
    malformed = header is None or len(header.split()) != 2 or header.startswith("Basic")
    assert ("malformed" in answer.json()["error"]) is malformed


@pytest.mark.parametrize("scheme", ["Bearer", "FlyV1"])
async def test_either_scheme_will_do(fly: Fly, scheme: str) -> None:
    answer = await fly.http.get("/v1/tokens/current", headers={"Authorization": f"{scheme} {TOKEN}"})
    assert answer.json()["tokens"][0]["org_slug"] == "acme"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/platform/regions", 200),
        ("GET", "/v1/apps/free", 404),
        ("GET", "/v1/nothing", 404),
        ("PATCH", "/v1/apps", 405),
        ("POST", "/v1/apps", 400),
    ],
)
async def test_every_answer_has_an_id_and_every_refusal_one_form(fly: Fly, method: str, path: str, status: int) -> None:
    answer = await fly.http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["fly-request-id"].endswith("-ord")
    if status >= 400:
        assert set(answer.json()) == {"error", "status"}


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff"])
async def test_a_body_that_is_no_json_object_is_refused(fly: Fly, body: bytes) -> None:
    assert (await fly.http.post("/v1/apps", content=body)).status_code == 400


async def test_a_refusal_does_not_repeat_what_was_sent(fly: Fly) -> None:
    app = await fly.app()
    answer = await fly.http.post(f"{app}/secrets", json={"values": {"KEY": ["hunter2"]}})
    assert answer.status_code == 400
    assert "KEY" in answer.text
    assert "hunter2" not in answer.text


async def test_one_line_per_request_and_nothing_secret_in_it(fly: Fly, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = await fly.app()
    caplog.clear()
    answer = await fly.http.post(f"{app}/secrets", json={"values": {"KEY": "hunter2"}})
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("local.")]
    assert len(lines) == 1
    assert lines[0].startswith("POST /v1/apps/shop/secrets 200 ")
    assert answer.headers["fly-request-id"] in lines[0]
    assert "hunter2" not in caplog.text
    assert TOKEN not in caplog.text


async def test_a_mistake_of_ours_is_a_500_in_the_same_form(fly: Fly, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(fly.world, "app", broken)
    answer = await fly.http.get("/v1/apps/shop")
    assert answer.status_code == 500
    assert "inside" not in answer.text
    assert "fly-request-id" in answer.headers


async def test_the_regions(fly: Fly) -> None:
    answer = (await fly.http.get("/v1/platform/regions")).json()
    assert answer["nearest"] == "ord"
    assert {"code": "ord", "name": "Chicago, Illinois (US)"}.items() <= answer["regions"][13].items()


async def test_too_many_requests_of_one_kind_are_refused(serve: Serve) -> None:
    fly = await serve(rate_limits=True)
    app = await fly.app()
    answers = [await fly.http.get(f"{app}/secrets") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert "rate limit" in answers[-1].json()["error"]
    assert (await fly.http.get(f"{app}/volumes")).status_code == 200, "another action has its own bucket"
    await fly.app("other")
    assert (await fly.http.get("/v1/apps/other/secrets")).status_code == 200, "another app has its own bucket"


async def test_a_machine_may_be_read_more_often_and_each_has_its_own_limit(serve: Serve) -> None:
    fly = await serve(rate_limits=True)
    app = await fly.app()
    one, two = [(await fly.http.post(f"{app}/machines", json={"config": {"image": "known"}})).json() for _ in "ab"]
    answers = [await fly.http.get(f"{app}/machines/{one['id']}") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert (await fly.http.get(f"{app}/machines/{two['id']}")).status_code == 200
