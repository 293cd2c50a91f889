"""Requests drawn from the contract: legal ones, and ones with a single thing wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from tests.contracts.schema import Schema, Schemas

WORDS = st.sampled_from(
    ["a", "web-1", "KEY", "data", "ord", "a.example.com", "::1", "", "ß", "x" * 300, "../up", "%2e"]
)
NUMBERS = (0, 1, 2, 5, 60, 80, 256, 512, 65535, 2**31, 2**63)
# By the pattern of the scalar: what is drawn from a pattern alone is never what a person would write.
BY_PATTERN = {
    "Duration": st.sampled_from(["15s", "1m30s", "0.5s", "250ms", "99999h"]),
    "Base64": st.sampled_from(["", "eA==", "eHk="]),
    "GuestPath": st.sampled_from(["/a", "/etc/passwd", "/a/../b", "/x/./y"]),
    "Time": st.just("2026-01-01T00:00:00Z"),
    "Ulid": st.just("01JCXYZ0000000000000000000"),
}
WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    1e400,
    10**30,
    "wrong",
    "",
    "\x00",
    "\ud800",
    [],
    [1],
    {},
    {"a": 1},
)


class Requests:
    """`known` gives better values for some places, by type and field: what exists, or is likely to."""

    def __init__(self, schemas: Schemas, known: Mapping[str, st.SearchStrategy[Any]]) -> None:
        self._schemas = schemas
        self._known = known

    def legal(self, notation: str) -> st.SearchStrategy[Any]:
        return self._of(self._schemas.of(notation), notation)

    def slightly_illegal(self, notation: str) -> st.SearchStrategy[Any]:
        """One place of a legal body holds something else, or is missing, or has a neighbour that nobody knows."""
        return st.builds(_with_one_wrong, self.legal(notation), st.sampled_from(WRONG), st.integers(0, 10**6), _CHANGES)

    def _of(self, schema: Schema, place: str) -> st.SearchStrategy[Any]:
        if place in self._known:
            return self._known[place]
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name in BY_PATTERN:
                return BY_PATTERN[name]
            return st.deferred(lambda: self._of(self._schemas.definitions[name], name))
        if "anyOf" in schema:
            return st.one_of(*(self._of(alternative, place) for alternative in schema["anyOf"]))
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        return self._of_kind(schema, place)

    def _of_kind(self, schema: Schema, place: str) -> st.SearchStrategy[Any]:
        kind = schema.get("type")
        if kind == "object" and isinstance(values := schema["additionalProperties"], dict):
            return st.dictionaries(WORDS, self._of(values, f"{place}.*"), max_size=2)
        if kind == "object":
            fields = {name: self._of(inner, f"{place}.{name}") for name, inner in schema["properties"].items()}
            required = {name: fields.pop(name) for name in schema["required"]}
            return st.fixed_dictionaries(required, optional=fields)
        if kind == "array":
            return st.lists(self._of(schema["items"], f"{place}[]"), max_size=2)
        if kind == "integer":
            low, high = schema.get("minimum", -(2**63)), schema.get("maximum", 2**64)
            return st.sampled_from([number for number in NUMBERS if low <= number <= high])
        simple = {"string": WORDS, "boolean": st.booleans(), "null": st.none(), "number": st.floats(0, 1)}
        return simple[str(kind)]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Containers and keys, outermost first."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)


def _replace(container: Any, key: Any, wrong: Any) -> None:
    container[key] = wrong


def _remove(container: Any, key: Any, _: Any) -> None:
    del container[key]


def _add(container: Any, _: Any, wrong: Any) -> None:
    if isinstance(container, dict):
        container["nobody_knows"] = wrong
    else:
        container.append(wrong)


_CHANGES = st.sampled_from([_replace, _replace, _remove, _add])


def _with_one_wrong(body: Any, wrong: Any, where: int, change: Callable[[Any, Any, Any], None]) -> Any:
    body = copy.deepcopy(body)
    places = list(_places(body))
    if not places:
        return wrong
    change(*places[where % len(places)], wrong)
    return body
