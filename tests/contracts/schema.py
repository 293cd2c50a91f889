"""The notation of rest.yaml as JSON Schema. Objects are closed, and a whole number is not a float."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from jsonschema.validators import extend

Direction = Literal["sent", "answered"]
Schema = dict[str, Any]

PLAIN: dict[str, Schema] = {
    **{name: {"type": name} for name in ("string", "integer", "number", "boolean", "null")},
    "any": {},
    "nothing": {"type": "null"},
}
# Go's decoder refuses 3.0 where it wants a whole number, so we do.
_Strict = extend(  # type: ignore[no-untyped-call]  # so in jsonschema's stubs
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


class Schemas:
    """What may be sent, or what may be answered."""

    def __init__(self, document: Mapping[str, Any], direction: Direction) -> None:
        self._direction = direction
        self._names = {*document["scalars"], *document["types"]}
        self.definitions = {name: self.of(scalar) for name, scalar in document["scalars"].items()}
        self.definitions |= {name: self.object(fields) for name, fields in document["types"].items()}
        self._validator = functools.cache(self._make_validator)

    def of(self, notation: Any) -> Schema:
        """An expression, a pair of them, or JSON Schema as it is."""
        if isinstance(notation, dict):
            return self.of(notation[self._direction]) if self._direction in notation else notation
        text = " ".join(notation.split())
        if match := re.fullmatch(r"(list|map) of (.+)", text):
            inner = self.of(match[2])
            return {"type": "array", "items": inner} if match[1] == "list" else _map(inner)
        if " | " in text:
            first, _, rest = text.partition(" | ")
            others = self.of(rest)
            return {"anyOf": [self.of(first), *others.get("anyOf", [others])]}
        if match := re.fullmatch(r"\((.+)\)", text):
            return {"type": "string", "enum": match[1].split()}
        if text in PLAIN:
            return PLAIN[text]
        if text not in self._names:
            raise ValueError(f"{text!r} is neither a type nor a scalar of this contract")
        return {"$ref": f"#/$defs/{text}"}

    def object(self, fields: Mapping[str, Mapping[str, Any]]) -> Schema:
        required, optional = fields.get("required", {}), fields.get("optional", {})
        return {
            "type": "object",
            "properties": {name: self.of(notation) for name, notation in {**required, **optional}.items()},
            "required": list(required),
            "additionalProperties": False,
        }

    def problems(self, notation: str, value: Any, place: str) -> list[str]:
        """What is wrong with `value`, without any of it: it may be a secret."""
        errors = self._validator(notation).iter_errors(value)
        return list(dict.fromkeys(line for error in errors for line in _words(error, place)))

    def _make_validator(self, notation: str) -> Validator:
        validator: Validator = _Strict({**self.of(notation), "$defs": self.definitions})
        return validator


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _words(error: Any, place: str) -> Iterator[str]:
    here = ".".join([place, *(str(part) for part in error.absolute_path)])
    if error.validator == "additionalProperties":
        for name in sorted(set(error.instance) - set(error.schema["properties"])):
            yield f"{here}: unknown field {name}"
    elif error.validator == "required":
        for name in sorted(set(error.validator_value) - set(error.instance)):
            yield f"{here}: missing field {name}"
    elif error.validator == "anyOf":
        yield from _nearest(error, place, here)
    elif error.validator == "enum":
        yield f"{here}: must be one of {', '.join(error.validator_value)}"
    elif error.validator == "type":
        wanted = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
        yield f"{here}: must be {' or '.join(wanted)}, is {_kind(error.instance)}"
    else:
        yield f"{here}: breaks {error.validator} {error.validator_value}"


def _nearest(error: Any, place: str, here: str) -> Iterator[str]:
    """The problems of the alternative that fits best, unless none is even of that kind."""
    branches: dict[Any, list[Any]] = {}
    for cause in error.context:
        branches.setdefault(cause.schema_path[0], []).append(cause)
    of_its_kind = [
        causes for causes in branches.values() if not any(c.validator == "type" and not c.path for c in causes)
    ]
    if not of_its_kind:
        yield f"{here}: {_kind(error.instance)} fits none of {len(branches)} alternatives"
        return
    for cause in min(of_its_kind, key=len):
        yield from _words(cause, place)


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "float"}
    return kinds.get(type(value), "null")
