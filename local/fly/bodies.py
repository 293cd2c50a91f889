"""Request bodies. A field we do not know is refused: how strict Fly itself is, is not documented, and a client that
passes here must not fail there."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from local.fly.errors import ApiError


class Body(BaseModel):
    """A JSON object; `null` means that a field is not set."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, sent: Any) -> Any:
        return {name: value for name, value in sent.items() if value is not None} if isinstance(sent, dict) else sent


B = TypeVar("B", bound=Body)

# Our own ValueErrors are about the meaning of well-formed values.
_MEANING = "value_error"


async def read(request: web.Request, kind: type[B]) -> B:
    """The body of a request. Raises ApiError: 400 for its form, 422 for its meaning. No body reads as `{}`."""
    text = await request.read()
    try:
        return kind.model_validate_json(text or b"{}")
    except ValidationError as error:
        status = 422 if all(problem["type"] == _MEANING for problem in error.errors()) else 400
        raise ApiError(status, problems(error)) from None


def problems(error: ValidationError) -> str:
    """In words, each with its place, without the values that were sent: they may be secret."""
    return "; ".join(_words(problem) for problem in error.errors(include_url=False, include_input=False))


def _words(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "body"
    if problem["type"] == "extra_forbidden":
        return f"unknown field {place}"
    if problem["type"] == _MEANING:
        return f"{place}: {problem['ctx']['error']}"
    return f"{place}: {problem['msg']}"


def flag(request: web.Request, name: str) -> bool:
    """A boolean of the query string; absent is false."""
    text = request.query.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise ApiError(400, f"query parameter {name}: {text!r} must be true or false")
    return text in ("true", "1")


def number(request: web.Request, name: str, default: int, lowest: int, highest: int) -> int:
    """A whole number of the query string."""
    text = request.query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?\d+", text) or not lowest <= int(text) <= highest:
        raise ApiError(400, f"query parameter {name}: {text!r} must be a whole number from {lowest} to {highest}")
    return int(text)


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise ValueError(f"{text!r} must be at most 63 lower-case letters, digits and dashes, no dash at the ends")
    return text


Name = Annotated[str, AfterValidator(_name)]
"""Of an app, a machine or a database: a part of a hostname."""
Port = Annotated[int, Field(ge=1, le=65535)]
