from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import keys, teams
from tests.gateway.examples import CEO_KEY, CUSTOMER_KEYS, KEY_HASHES, TEAMS_JSON, digest, key_ring

TEAMS = teams.parse(TEAMS_JSON)


@pytest.mark.parametrize("key", CUSTOMER_KEYS)
def test_every_key_of_a_team_is_valid_and_known_by_its_digest(key: str) -> None:
    owner = key_ring().owner(key.encode())
    assert owner is not None
    assert owner.team == TEAMS["prod_customer"]
    assert owner.digest == digest(key)


@given(st.binary())
def test_any_other_key_has_no_owner(key: bytes) -> None:
    assert key not in {k.encode() for k in (*CUSTOMER_KEYS, CEO_KEY)}
    assert key_ring().owner(key) is None


def test_a_digest_is_not_a_key() -> None:
    assert key_ring().owner(digest(CEO_KEY).encode()) is None


@pytest.mark.parametrize(
    ("hashes", "problem"),
    [
        ("{", "not JSON"),
        ([], "expected an object"),
        ({"prod_customer": [digest("a")]}, "no keys for load, prod_ceo"),
        ({"prod_customer": [], "prod_ceo": [digest("a")]}, "team prod_customer: expected a list"),
        ({"prod_customer": ["sk-secret"], "prod_ceo": [digest("a")]}, "team prod_customer: not a SHA-256 digest"),
        ({"prod_customer": [digest("a").upper()], "prod_ceo": [digest("b")]}, "not a SHA-256 digest"),
        ({"prod_customer": [digest("a")], "prod_ceo": [digest("a")]}, "team prod_ceo: one of its keys"),
        ({"ghost": [digest("a")]}, "team ghost has keys but is not in teams.json"),
    ],
)
def test_wrong_hashes_are_named_without_their_text(hashes: object, problem: str) -> None:
    text = hashes if isinstance(hashes, str) else json.dumps(hashes)
    with pytest.raises(ValueError, match=problem) as caught:
        keys.parse(text, TEAMS)
    assert "sk-secret" not in str(caught.value)


def test_the_models_of_all_teams_together() -> None:
    assert keys.parse(KEY_HASHES, TEAMS).models() == {"gpt-4o-mini", "gpt-4o", "text-embedding-3-large"}


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("requests_per_minute", 0, "requests_per_minute must be a number above 0, not 0"),
        ("tokens_per_minute", "many", "tokens_per_minute must be a number above 0, not 'many'"),
        ("usd_per_day", True, "usd_per_day must be a number above 0, not True"),
        ("models", [], "models must be a list of at least one name"),
    ],
)
def test_wrong_teams_are_named(field: str, value: object, problem: str) -> None:
    document = json.loads(TEAMS_JSON)
    document["prod_ceo"][field] = value
    with pytest.raises(ValueError, match=f"team prod_ceo: {problem}"):
        teams.parse(json.dumps(document))
