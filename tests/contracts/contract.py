"""Holds requests and answers of the Machines API against rest.yaml.

A problem is one line: the call, the place, what is wrong. It never holds a value, as values may be secrets.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.contracts.schema import Schemas

REST = Path(__file__).with_name("rest.yaml")
ANY_BODY = "5xx"
NO_FIELDS: Mapping[str, Mapping[str, str]] = {}


@dataclass(frozen=True)
class Call:
    method: str
    template: str
    query: Mapping[str, Mapping[str, Any]]
    header: Mapping[str, Mapping[str, Any]]
    body: str
    answers: Mapping[int, str]
    """Status → type of the body; errors included."""
    pattern: re.Pattern[str]

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


class Contract:
    """Public attributes: calls, sent, answered (the schemas of both directions)."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.sent = Schemas(document, "sent")
        self.answered = Schemas(document, "answered")
        self.calls = [
            _call(document, template, method, call)
            for template, methods in document["calls"].items()
            for method, call in methods.items()
        ]

    def find(self, method: str, path: str) -> Call | None:
        """`path` as it stands on the wire, quoted, without the query. A word in the template beats a parameter."""
        found = [call for call in self.calls if call.method == method.upper() and call.pattern.fullmatch(path)]
        return min(found, key=lambda call: call.template.count("{"), default=None)

    def check_request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | Sequence[str]] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[str]:
        """`body` is the JSON; None when there is none. Of `headers`, those about machines (`fly-machine-…`) count."""
        if (call := self.find(method, path)) is None:
            return [f"{method} {self._hidden(path)}: no such call"]
        fly_headers = {
            name.lower(): text for name, text in (headers or {}).items() if name.lower().startswith("fly-machine-")
        }
        problems = [
            *self._parameters(call.query, query or {}, "query"),
            *(self._parameters(call.header, fly_headers, "header") if headers is not None else []),
            *self.sent.problems(call.body, body, "body"),
        ]
        return [f"{call}: {problem}" for problem in problems]

    def check_answer(self, method: str, path: str, status: int, body: Any = None) -> list[str]:
        """`body` is the JSON; None when there is none."""
        if (call := self.find(method, path)) is None:
            return [f"{method} {self._hidden(path)}: no such call"]
        if status >= 500:
            return []  # a proxy on the way may have written it
        if status not in call.answers:
            return [f"{call}: status {status} is none of {', '.join(map(str, sorted(call.answers)))}"]
        return [f"{call}: {problem}" for problem in self.answered.problems(call.answers[status], body, f"{status}")]

    def _parameters(
        self, known: Mapping[str, Mapping[str, Any]], given: Mapping[str, str | Sequence[str]], where: str
    ) -> list[str]:
        required = known.get("required", {})
        notations = {**required, **known.get("optional", {})}
        problems = [f"{where}: missing {name}" for name in required if name not in given]
        for name, value in given.items():
            notation = notations.get(name) or notations.get(re.sub(r"\..+", ".*", name))
            if notation is None:
                problems.append(f"{where}: unknown {name}")
                continue
            texts = [value] if isinstance(value, str) else value
            if notation.startswith("list of "):
                texts, notation = [part for text in texts for part in text.split(",")], notation[len("list of ") :]
            elif len(texts) > 1:
                problems.append(f"{where}.{name}: given {len(texts)} times")
            for text in texts:
                problems += self.sent.problems(notation, _parsed(self.sent, notation, text), f"{where}.{name}")
        return problems

    def _hidden(self, path: str) -> str:
        """The shape of a path we do not know: its names could be anything."""
        known = {part for call in self.calls for part in call.template.split("/")}
        return "/".join(part if part in known else "…" for part in path.split("/"))


@functools.cache
def load() -> Contract:
    return Contract(yaml.safe_load(REST.read_text()))


def _call(document: Mapping[str, Any], template: str, method: str, call: Mapping[str, Any]) -> Call:
    common = document["errors"]
    errors = [*common["any call"], *call.get("errors", [])]
    if "{app}" in template:
        errors += common["path of an app"]
    if "body" in call:
        errors += common["with a body"]
    return Call(
        method=method.upper(),
        template=template,
        query=call.get("query", NO_FIELDS),
        header=call.get("header", NO_FIELDS),
        body=call.get("body", "nothing"),
        answers={**{status: "Error" for status in errors if status != ANY_BODY}, **call["answers"]},
        pattern=re.compile(re.sub(r"\{\w+\}", "[^/]+", template)),
    )


def _parsed(schemas: Schemas, notation: str, text: str) -> Any:
    """A parameter is text; what it stands for follows from what is wanted."""
    schema = schemas.of(notation)
    if "$ref" in schema:
        schema = schemas.definitions[notation]
    if schema["type"] == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if schema["type"] == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text
