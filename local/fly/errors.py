"""Refusals in the shape of Fly's: a status, a text, and now and then a code."""

from __future__ import annotations

from typing import Literal

Code = Literal["unknown", "insufficient_capacity", "name_taken"]


class ApiError(Exception):
    """Becomes `{"error": text, "status": code}` over REST and one entry of `errors` over GraphQL."""

    def __init__(self, status: int, text: str, code: Code = "unknown") -> None:
        super().__init__(text)
        self.status = status
        self.code = code
