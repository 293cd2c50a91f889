"""The teams as the tests of this folder know them."""

from __future__ import annotations

import hashlib
import json

from gateway import keys, teams

CUSTOMER_KEYS = ("sk-customer-old", "sk-customer-new")  # both valid: a rotation is under way
CEO_KEY = "sk-ceo"
LOAD_KEY = "sk-load"
MODELS = ["gpt-4o-mini", "gpt-4o", "text-embedding-3-large"]

TEAMS_JSON = json.dumps(
    {
        "prod_customer": {
            "requests_per_minute": 100,
            "tokens_per_minute": 200_000,
            "usd_per_day": 50,
            "models": ["gpt-4o-mini", "text-embedding-3-large"],
        },
        "prod_ceo": {"requests_per_minute": 5, "tokens_per_minute": 120_000, "usd_per_day": 25, "models": MODELS},
        # Only money stops it.
        "load": {
            "requests_per_minute": 1_000_000,
            "tokens_per_minute": 1_000_000_000,
            "usd_per_day": 1,
            "models": ["gpt-4o-mini", "text-embedding-3-large"],
        },
    }
)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEY_HASHES = json.dumps(
    {"prod_customer": [digest(key) for key in CUSTOMER_KEYS], "prod_ceo": [digest(CEO_KEY)], "load": [digest(LOAD_KEY)]}
)


def key_ring() -> keys.KeyRing:
    return keys.parse(KEY_HASHES, teams.parse(TEAMS_JSON))
