"""Errors and delays on demand: rules that a test or a person gives to the running provider.

The newest rule that fits a request and has not been used up acts on it. The JSON form is described in `HELP`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, fields
from typing import Any

HELP = """\
errors and delays on demand (same key as the API, JSON bodies):
  POST   /_control/rules      add a rule; answers {"id": N}
  GET    /_control/rules      the rules in force
  DELETE /_control/rules      remove all; /_control/rules/N removes one
  GET    /_control/requests   the newest requests: path, model, question, status, how each ended;
                              ?idle=true waits until none is running
  DELETE /_control/requests   forget them

a rule, every field optional:
  when it acts   path ("/v1/chat/completions"), model,
                 contains (a part of the newest user message or of an input),
                 times (how often; without it, until removed)
  what it does   status + message + retry_after   answer with that error
                 delay_ms         wait before the answer begins
                 hang             true: never answer
                 chunk_delay_ms   wait before each event of a stream
                 cut_after        end the connection without a goodbye after so many events of a stream
                 answer_tokens    make the answer exactly so long

example: gpt-4o-mini answers 429 three times, then is well again
  curl -H "Authorization: Bearer $KEY" 127.0.0.1:PORT/_control/rules \\
    -d '{"model": "gpt-4o-mini", "times": 3, "status": 429, "retry_after": 2}'
"""


@dataclass
class Rule:
    path: str | None = None
    model: str | None = None
    contains: str | None = None
    times: int | None = None
    status: int | None = None
    message: str = "The offline provider was told to answer with this error."
    retry_after: float | None = None
    delay_ms: float = 0
    hang: bool = False
    chunk_delay_ms: float = 0
    cut_after: int | None = None
    answer_tokens: int | None = None
    id: int = field(default=0, init=False)

    def fits(self, path: str, model: str, text: str) -> bool:
        return (
            self.times != 0
            and self.path in (None, path)
            and self.model in (None, model)
            and (self.contains is None or self.contains in text)
        )


NOTHING = Rule()
_KINDS: dict[str, tuple[type, ...]] = {
    "path": (str,),
    "model": (str,),
    "contains": (str,),
    "times": (int,),
    "status": (int,),
    "message": (str,),
    "retry_after": (int, float),
    "delay_ms": (int, float),
    "hang": (bool,),
    "chunk_delay_ms": (int, float),
    "cut_after": (int,),
    "answer_tokens": (int,),
}


def parse(body: Any) -> Rule:
    """Raises ValueError for a rule that would silently do nothing: an unknown field, a wrong type."""
    if not isinstance(body, dict):
        raise ValueError("a rule is a JSON object")  # noqa: TRY004 - one error for all a caller can send
    for name, value in body.items():
        if name not in _KINDS:
            raise ValueError(f"unknown field {name!r}; known: {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and name != "hang"):
            raise ValueError(f"{name} has the wrong type: {value!r}")
        if isinstance(value, (int, float)) and value < 0:
            raise ValueError(f"{name} must not be negative: {value}")
    status = body.get("status")
    if status is not None and not 400 <= status <= 599:
        raise ValueError(f"status must be an error, 400 to 599: {status}")
    return Rule(**body)


class Rules:
    """The rules in force, newest first."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._ids = itertools.count(1)

    def add(self, rule: Rule) -> int:
        rule.id = next(self._ids)
        self._rules.insert(0, rule)
        return rule.id

    def take(self, path: str, model: str, text: str) -> Rule:
        """The rule for a request, counted as used once; NOTHING when none fits."""
        for rule in self._rules:
            if rule.fits(path, model, text):
                if rule.times is not None:
                    rule.times -= 1
                return rule
        return NOTHING

    def remove(self, rule_id: int | None = None) -> int:
        """Removes one rule, or all. Returns how many were removed."""
        kept = [rule for rule in self._rules if rule_id is not None and rule.id != rule_id]
        removed = len(self._rules) - len(kept)
        self._rules = kept
        return removed

    def listed(self) -> list[dict[str, Any]]:
        return [
            {f.name: value for f in fields(rule) if (value := getattr(rule, f.name)) not in (None, 0, False)}
            for rule in self._rules
        ]
