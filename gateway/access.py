"""Which models a team may use. The answers to a refused request are OpenAI's."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple


class Refusal(NamedTuple):
    status: int
    message: str
    code: str


def refusal(model: Any, *, allowed: Collection[str], known: Collection[str], team: str) -> Refusal | None:
    """None when the team may use the model. `model` is whatever the client sent."""
    if isinstance(model, str) and model in allowed and model in known:
        return None
    if isinstance(model, str) and model in known:
        return Refusal(403, f"Team `{team}` does not have access to model `{model}`.", "model_not_found")
    if not isinstance(model, str) or not model:
        return Refusal(400, "you must provide a model parameter", "missing_required_parameter")
    return Refusal(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
