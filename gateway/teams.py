"""Teams: what each may do, from `teams.json`, a file without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Team:
    name: str
    requests_per_minute: int
    tokens_per_minute: int
    usd_per_day: float
    """Resets at midnight UTC."""
    models: frozenset[str]


def parse(text: str) -> dict[str, Team]:
    """Teams by name. Raises ValueError that names the team and the field."""
    try:
        document = json.loads(text)
    except ValueError as e:
        raise ValueError(f"not JSON: {e}") from e
    if not isinstance(document, dict) or not document:
        raise ValueError("expected an object with at least one team")
    return {name: _team(name, fields) for name, fields in document.items()}


def _team(name: str, fields: Any) -> Team:
    if not isinstance(fields, dict):
        raise ValueError(f"team {name}: expected an object")  # noqa: TRY004 - one error for bad content
    models = fields.get("models")
    if not isinstance(models, list) or not models or not all(isinstance(m, str) for m in models):
        raise ValueError(f"team {name}: models must be a list of at least one name")
    return Team(
        name=name,
        requests_per_minute=int(_positive(name, fields, "requests_per_minute")),
        tokens_per_minute=int(_positive(name, fields, "tokens_per_minute")),
        usd_per_day=_positive(name, fields, "usd_per_day"),
        models=frozenset(models),
    )


def _positive(team: str, fields: Mapping[str, Any], field: str) -> float:
    value = fields.get(field)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise ValueError(f"team {team}: {field} must be a number above 0, not {value!r}")
    return value
