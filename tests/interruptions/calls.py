"""What a call to Fly is, by name: the same in every run, although ids and order differ.

`POST x/machines/gateway-1/lease #1`: method, path with names for ids, what the body names, and which of its kind in a
run.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

FILE = Path(__file__).with_name("calls.yaml")
Side = Literal["before", "after"]


@dataclass(frozen=True)
class Call:
    name: str
    number: int
    """From 1: how many of this name there were in the run, this one included."""

    def __str__(self) -> str:
        return f"{self.name} #{self.number}"

    @property
    def changes(self) -> bool:
        """Whether Fly may be another after it. A broken-off read leaves the same behind on both its sides."""
        return not self.name.startswith(("GET ", "query "))

    @property
    def sides(self) -> tuple[Side, ...]:
        return ("before", "after") if self.changes else ("before",)


def name_of(method: str, path: str, body: Any, machines: dict[str, str]) -> str:
    """`machines` has the names of machines by id.

    >>> name_of("POST", "/v1/apps/x/machines/7/lease", None, {"7": "gateway-1"})
    'POST x/machines/gateway-1/lease'
    """
    if path == "/graphql":
        return _graphql(body)
    words = [machines.get(word, word) for word in path.removeprefix("/v1/apps").strip("/").split("/")]
    if len(words) == 3 and words[1] == "ip_assignments":
        words[2] = "v6" if re.search(":|%3A", words[2], re.IGNORECASE) else "shared_v4"
    about = (
        next((body[key] for key in ("name", "hostname", "type") if key in body), "") if isinstance(body, dict) else ""
    )
    return " ".join(part for part in (method, "/".join(words), str(about)) if part)


def _graphql(body: dict[str, Any]) -> str:
    found = re.match(r"(query|mutation)[^{]*\{\s*(\w+)", body["query"])
    assert found, "GraphQL of a form that this test does not know"
    return f"{found[1]} {found[2]}"


def load() -> dict[str, list[Call]]:
    """Phase → the calls of a run that nobody interrupts."""
    document = yaml.safe_load(FILE.read_text()) if FILE.exists() else {}
    return {phase: [parse(text) for text in calls] for phase, calls in document.items()}


def parse(text: str) -> Call:
    name, _, number = text.rpartition(" #")
    return Call(name, int(number))


def parsed(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None
