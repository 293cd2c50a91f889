"""From nothing to an answered request, through every real hop."""

from __future__ import annotations

import json
import subprocess

import httpx
import pytest

from tests.end_to_end.local import CHAT, ROOT, Local

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("stack")]

ADMIN_ROUTES = [
    "/",
    "/ui/",
    "/health",
    "/cache/flushall",
    "/key/generate",
    "/model/info",
    "/routes",
    "/metrics",
    "/docs",
]


def test_the_printed_line_is_answered(local: Local) -> None:
    printed = local.run("up").out
    line = next(line for line in printed.splitlines() if line.startswith("curl "))
    answer = subprocess.run(
        ["bash", "-c", f"{line} --silent --fail-with-body"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert json.loads(answer.stdout)["choices"][0]["message"]["content"]


def test_a_stream_arrives_as_events(local: Local, customer_key: str) -> None:
    with httpx.stream(
        "POST",
        f"{local.gateway_url}/v1/chat/completions",
        headers={"authorization": f"Bearer {customer_key}"},
        json=CHAT | {"stream": True},
        timeout=60,
    ) as answer:
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(events) > 3
    assert events[-1] == "[DONE]"


@pytest.mark.parametrize("key", ["", "sk-wrong", "Bearer", "sk-" + "x" * 48])
def test_a_wrong_key_is_401(local: Local, key: str) -> None:
    answer = httpx.post(
        f"{local.gateway_url}/v1/chat/completions",
        headers={"authorization": f"Bearer {key}".strip()},
        json=CHAT,
        timeout=60,
    )
    assert answer.status_code == 401, answer.text
    assert answer.json()["error"]["message"]


def test_an_unknown_host_is_404(local: Local, customer_key: str) -> None:
    headers = {"authorization": f"Bearer {customer_key}", "host": "elsewhere.example.com"}
    answer = httpx.post(
        f"{local.status()['fly_proxy_url']}/v1/chat/completions", headers=headers, json=CHAT, timeout=60
    )
    assert answer.status_code == 404


def test_the_apps_own_name_is_routed_too(local: Local, customer_key: str) -> None:
    headers = {"authorization": f"Bearer {customer_key}", "host": "hotdash-llm-gateway.fly.dev"}
    answer = httpx.post(
        f"{local.status()['fly_proxy_url']}/v1/chat/completions", headers=headers, json=CHAT, timeout=60
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ADMIN_ROUTES)
def test_admin_routes_are_closed_from_outside(local: Local, customer_key: str, path: str) -> None:
    for method in ("GET", "POST"):
        answer = httpx.request(
            method, f"{local.gateway_url}{path}", headers={"authorization": f"Bearer {customer_key}"}, timeout=60
        )
        assert answer.status_code == 404, f"{method} {path}"


def test_a_second_up_changes_nothing(local: Local) -> None:
    before = {machine["name"]: machine["pid"] for machine in local.status()["machines"]}
    out = local.run("up").out
    assert "unchanged" in out
    assert not any(word in out for word in ("created", "updated", "replaced", "deleted"))
    assert {machine["name"]: machine["pid"] for machine in local.status()["machines"]} == before
