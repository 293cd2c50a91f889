"""Every rule of the configuration, by the message a person reads when breaking it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import KEYS, Settings, SettingsError, parse

ROOT = Path(__file__).parent.parent.parent
PROJECT: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
PROD: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]


def as_pulumi_hands_it_over(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def raw_settings(**changes: object) -> dict[str, str]:
    values = {key: entry["default"] for key, entry in PROJECT.items() if "default" in entry}
    values |= {
        "flyToken": "FlyV1 fm2_secret-token",
        "openaiApiKey": "sk-secret-key",
        "organization": "hotdash",
        "gatewayHostname": "gateway.example.com",
        "langfuseHostname": "langfuse.example.com",
    }
    return {key: as_pulumi_hands_it_over(value) for key, value in (values | changes).items()}


def settings(**changes: object) -> Settings:
    return parse(raw_settings(**changes))


def problems_of(raw: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(raw)
    return str(caught.value)


def test_pulumi_yaml_and_the_program_know_the_same_keys() -> None:
    assert set(KEYS) == set(PROJECT), "a key in one only would be ignored, or could not be set"
    assert all(entry.get("description") for entry in PROJECT.values()), "every key is described"
    assert {key for key, entry in PROJECT.items() if entry.get("secret")} == {"flyToken", "openaiApiKey"}


def test_the_production_stack_is_valid_with_its_secrets() -> None:
    changes = {key.removeprefix("hotdash-llm-gateway:"): value for key, value in PROD.items()}
    prod = settings(**changes)
    assert (prod.app, prod.region, prod.protect) == ("hotdash-llm-gateway", "ord", True)
    limits = {name: (t.requests_per_minute, t.tokens_per_minute, t.usd_per_day) for name, t in prod.teams.items()}
    assert limits == {
        "prod_customer": (100, 200_000, 50),
        "prod_ceo": (60, 120_000, 25),
        "prod_background": (30, 60_000, 10),
        "admin": (200, 500_000, 100),
    }


BAD_VALUES = [
    ("flyToken", "", "flyToken holds no token; set it with `pulumi config set --secret flyToken`"),
    ("flyToken", "FlyV1", "flyToken holds no token"),
    ("flyToken", "Bearer FlyV1 fm2_x", "flyToken is not one token"),
    ("flyToken", "fm2_a\nfm2_b", "flyToken is not one token"),
    ("openaiApiKey", "sk a", "openaiApiKey is no usable key"),
    ("organization", "Hot Dash", "organization is 'Hot Dash'; give lower-case letters"),
    ("app", "-x", "app is '-x'; give lower-case letters"),
    ("app", "a" * 64, "at most 63"),
    ("region", "chicago", "region is 'chicago'; give a Fly.io region of three letters"),
    ("region", "", "region is empty"),
    ("gatewayHostname", "https://gateway.example.com", "give a host name alone"),
    ("gatewayHostname", "gateway", "give a host name alone"),
    ("gatewayHostname", "Gateway.example.com", "give a host name alone"),
    ("gatewayHostname", "x.fly.dev", "no certificate under fly.dev"),
    ("langfuseHostname", "gateway.example.com", "langfuseHostname equals gatewayHostname"),
    ("openaiBaseUrl", "http://api.openai.com/v1", "give an https:// URL"),
    ("openaiBaseUrl", "https://user@api.openai.com/v1", "without user"),
    ("flyApiUrl", "api.machines.dev", "flyApiUrl is 'api.machines.dev'; give an https:// URL"),
    ("protect", "maybe", "protect is wrong"),
    ("readinessTimeoutSeconds", "0", "readinessTimeoutSeconds is wrong"),
    ("groups", "oops", "groups is not what Pulumi.yaml shows"),
    ("groups", {"edge": {}}, "groups.gateway is wrong: Field required"),
    (
        "images",
        {"edge": "caddy", "gateway": "x:1"},
        "images.edge is 'caddy'; give an image with its exact tag",
    ),
    ("images", {"edge": "caddy:latest", "gateway": "x:1"}, "that tag moves"),
    ("cacheRedis", {"name": "X", "plan": "y"}, "cacheRedis.name is 'X'"),
    ("cacheRedis", {"name": "x", "plan": "y", "size": 1}, "cacheRedis.size is wrong: Extra inputs"),
    ("models", [], "models is wrong"),
    ("teams", {}, "teams is wrong"),
]


@pytest.mark.parametrize(("key", "value", "message"), BAD_VALUES, ids=[f"{k}-{m[:24]}" for k, _, m in BAD_VALUES])
def test_a_bad_value_is_named_with_its_remedy(key: str, value: object, message: str) -> None:
    assert message in problems_of(raw_settings(**{key: value}))


BAD_SIZES = [
    ({"cpus": 3}, "asks for 3 cpus; a shared machine has one of 1, 2, 4, 8"),
    (
        {"memoryMb": 128},
        "asks for memoryMb 128; a shared machine with 1 cpus has 256 to 2048 in steps of 256",
    ),
    ({"memoryMb": 4096}, "256 to 2048"),
    ({"memoryMb": 300}, "steps of 256"),
    ({"cpuKind": "performance"}, "2048 to 8192"),
    ({"cpuKind": "gpu"}, "groups.edge.cpuKind is wrong"),
    ({"count": 0}, "groups.edge.count is wrong"),
    ({"count": 21}, "groups.edge.count is wrong"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SIZES, ids=[m for _, m in BAD_SIZES])
def test_a_size_fly_does_not_have_is_refused(change: dict[str, Any], message: str) -> None:
    groups = json.loads(raw_settings()["groups"])
    groups["edge"] |= change
    assert message in problems_of(raw_settings(groups=groups))


BAD_TEAMS = [
    ({"Bad": {}}, "teams.Bad is 'Bad'"),
    (
        {"a": {"requestsPerMinute": 0, "tokensPerMinute": 1, "usdPerDay": 1}},
        "teams.a.requestsPerMinute is wrong",
    ),
    (
        {"a": {"requestsPerMinute": 1, "tokensPerMinute": 1.5, "usdPerDay": 1}},
        "teams.a.tokensPerMinute is wrong",
    ),
    ({"a": {"requestsPerMinute": 1, "tokensPerMinute": 1, "usdPerDay": -1}}, "teams.a.usdPerDay is wrong"),
    ({"a": {"requestsPerMinute": 1, "tokensPerMinute": 1}}, "teams.a.usdPerDay is wrong: Field required"),
    (
        {"a": {"requestsPerMinute": 1, "tokensPerMinute": 1, "usdPerDay": 1, "models": ["gpt-5"]}},
        "teams.a.models holds 'gpt-5', which `models` does not list",
    ),
]


@pytest.mark.parametrize(("teams", "message"), BAD_TEAMS, ids=[m for _, m in BAD_TEAMS])
def test_a_bad_team_is_named_with_its_field(teams: dict[str, Any], message: str) -> None:
    assert message in problems_of(raw_settings(teams=teams))


BAD_MODELS = [
    ({"name": "a b"}, "models.0.name is 'a b'"),
    ({"upstream": "anthropic/claude"}, "openaiApiKey is the only key set up"),
    ({"mode": "audio"}, "models.0.mode is wrong"),
    ({"timeout": 0}, "models.0.timeout is wrong"),
    ({"fallback": "m"}, "models.m.fallback is 'm'; name another model"),
    ({"fallback": "gpt-9"}, "models.m.fallback is 'gpt-9'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_MODELS, ids=[m for _, m in BAD_MODELS])
def test_a_bad_model_is_named_with_its_field(change: dict[str, Any], message: str) -> None:
    model = {"name": "m", "upstream": "openai/m", "mode": "chat", "timeout": 1} | change
    assert message in problems_of(raw_settings(models=[model]))


def test_a_model_named_twice_is_refused() -> None:
    model = {"name": "m", "upstream": "openai/m", "mode": "chat", "timeout": 1}
    assert "models names m twice" in problems_of(raw_settings(models=[model, model]))


def test_all_problems_are_reported_at_once() -> None:
    text = problems_of(raw_settings(region="chicago", app="", protect="x"))
    assert text.startswith("3 settings of this stack cannot be used:")


def test_a_misspelt_key_is_not_passed_over() -> None:
    text = problems_of(raw_settings() | {"regoin": "ord", "xyzzy": "1"})
    assert "regoin is no setting of this program; did you mean region?" in text
    assert "xyzzy is no setting of this program; remove it" in text


def test_a_missing_key_says_how_to_set_it() -> None:
    raw = raw_settings()
    del raw["organization"]
    assert "organization is missing; set it with `pulumi config set organization`" in problems_of(raw)


def test_nothing_that_prints_shows_a_secret() -> None:
    secrets = {"flyToken": "FlyV1 fm2_hidden fm2_hidden", "openaiApiKey": "sk-hidden sk-hidden"}
    good = settings()
    shown = problems_of(raw_settings(**secrets)) + repr(good) + str(good.model_dump())
    assert "hidden" not in shown
    assert "secret-" not in shown
