"""The provider over HTTP: key, errors, streams, and errors and delays on demand."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.provider.server import Provider

ROOT = Path(__file__).parents[3]
KEY = "sk-offline"
QUESTION: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Is it late?"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    from aiohttp import web

    runner = Provider(KEY).runner()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10, trust_env=False) as client:
        yield client
    await runner.cleanup()


async def rule(http: httpx.AsyncClient, **fields: Any) -> None:
    assert (await http.post("/_control/rules", json=fields)).status_code == 201


async def seen(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await http.get("/_control/requests?idle=true")).json()["requests"]
    return found


async def test_models_are_listed(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()
    assert {"gpt-4o-mini", "gpt-4o", "text-embedding-3-large"} <= {model["id"] for model in listed["data"]}
    assert (await http.get("/v1/models/gpt-4o")).json()["id"] == "gpt-4o"
    assert (await http.get("/v1/models/gpt-9")).status_code == 404


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer sk-wrong", f"Basic {KEY}", KEY])
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", "/_control/rules"])
async def test_without_the_key_everything_is_401(http: httpx.AsyncClient, authorization: str, path: str) -> None:
    answer = await http.post(path, json={}, headers={"authorization": authorization})
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", CHAT, b"{", 400),
        ("POST", CHAT, b"\xff", 400),
        ("POST", "/v1/nothing", b"{}", 404),
        ("GET", CHAT, b"", 405),
    ],
)
async def test_refusals_have_openais_form(
    http: httpx.AsyncClient, method: str, path: str, content: bytes, status: int
) -> None:
    answer = await http.request(method, path, content=content)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_stream_is_server_sent_events(http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT, json=QUESTION | {"stream": True, "stream_options": {"include_usage": True}})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done, end = answer.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]) == (
        "gpt-4o-mini answers: Is it late?"
    )
    assert chunks[-1]["usage"]["total_tokens"] > 0


async def test_embeddings_keep_the_order_of_their_texts(http: httpx.AsyncClient) -> None:
    body = {"model": "text-embedding-3-small", "input": ["a", "b", "a"], "dimensions": 4}
    answer = (await http.post("/v1/embeddings", json=body)).json()
    first, second, third = (entry["embedding"] for entry in answer["data"])
    assert first == third != second
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_an_error_on_demand_meets_its_requests_only(http: httpx.AsyncClient) -> None:
    await rule(http, model="gpt-4o-mini", contains="late", times=2, status=429, retry_after=3)
    other_model = await http.post(CHAT, json=QUESTION | {"model": "gpt-4o"})
    other_text = await http.post(CHAT, json=QUESTION | {"messages": [{"role": "user", "content": "hello"}]})
    answers = [await http.post(CHAT, json=QUESTION) for _ in range(3)]
    assert (other_model.status_code, other_text.status_code) == (200, 200)
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "3"
    assert answers[0].json()["error"]["code"] == "rate_limit_exceeded"


async def test_a_removed_rule_acts_no_more(http: httpx.AsyncClient) -> None:
    await rule(http, status=500)
    assert (await http.post(CHAT, json=QUESTION)).status_code == 500
    assert (await http.delete("/_control/rules")).json() == {"removed": 1}
    assert (await http.post(CHAT, json=QUESTION)).status_code == 200


async def test_delays_are_kept(http: httpx.AsyncClient) -> None:
    await rule(http, delay_ms=50, chunk_delay_ms=20, answer_tokens=3)
    began = time.monotonic()
    await http.post(CHAT, json=QUESTION | {"stream": True})
    assert time.monotonic() - began >= 0.05 + 5 * 0.02  # role, three tokens, the reason of the end


async def test_a_stream_is_cut_in_the_middle(http: httpx.AsyncClient) -> None:
    await rule(http, cut_after=2)
    events: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError):
        async with http.stream("POST", CHAT, json=QUESTION | {"stream": True}) as answer:
            events += [line async for line in answer.aiter_lines() if line]
    assert (await seen(http))[0]["ended"] == "cut"


async def test_a_client_that_leaves_a_hanging_request_is_noticed(http: httpx.AsyncClient) -> None:
    await rule(http, hang=True)
    asking = asyncio.create_task(http.post(CHAT, json=QUESTION))
    while not (await http.get("/_control/requests")).json()["requests"]:  # each turn is a round trip
        pass
    asking.cancel()
    assert [(request["ended"], request["model"]) for request in await seen(http)] == [("client gone", "gpt-4o-mini")]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"staus": 500},
        {"status": "500"},
        {"status": 200},
        {"times": True},
        {"delay_ms": -1},
        {"hang": 1},
    ],
)
async def test_a_rule_that_would_do_nothing_is_refused(http: httpx.AsyncClient, body: Any) -> None:
    answer = await http.post("/_control/rules", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Not a rule: ")


def provider_process(*arguments: str, key: str | None = KEY) -> subprocess.Popen[str]:
    env = {"PATH": os.environ["PATH"]} | ({} if key is None else {"PROVIDER_KEY": key})
    command = [sys.executable, "-m", "local.provider", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_says_where_it_listens_and_stops_cleanly(number: signal.Signals) -> None:
    with provider_process("--port", "0") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split("listening on ")[1].strip()
        answer = httpx.get(f"{url}/models", headers={"authorization": f"Bearer {KEY}"}, trust_env=False)
        process.send_signal(number)
        rest = process.stdout.read()
    assert answer.status_code == 200
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert KEY not in rest


def test_the_key_may_stand_in_a_file_and_must_not_be_empty(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\n")
    with provider_process("--port", "0", "--key-file", str(tmp_path / "key"), key=None) as process:
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert output.startswith("The provider has no key: ")


def test_help_teaches_rules() -> None:
    with provider_process("--help") as process:
        output, _ = process.communicate(timeout=20)
    assert "errors and delays on demand" in output
    assert "/_control/rules" in output
