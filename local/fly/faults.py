"""Faults on demand, as data: what a rule says, which calls it is about, and when it fires. Nothing here does anything.

A call is a request that has passed the token and the rates: those of `/_embedded` are none. Rules are in memory only:
a restart clears them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from local.fly.bodies import Body

Moment = Literal["before", "after"]
Status = Annotated[int, Field(ge=200, le=599)]
Seconds = Annotated[float, Field(ge=0, le=3600)]
BOTH: tuple[Moment, ...] = ("before", "after")
GRAPHQL = "/graphql"


@dataclass(frozen=True)
class Kind:
    """`moments`: when it may fire, the usual one first; none for a condition, which holds until it is cleared.

    `options` are the fields of a rule that mean something here; `method` and `path` are what it is about where a rule
    does not say.
    """

    summary: str
    moments: tuple[Moment, ...] = ()
    options: frozenset[str] = frozenset()
    method: str | None = None
    path: str | None = None


MACHINES = "/v1/apps/{app}/machines"
KINDS = {
    "refuse": Kind("closes the connection before anything is done", ("before",)),
    "reset": Kind("resets the connection, after the change was made", ("after", "before")),
    "error": Kind("answers 500, or another status", BOTH, frozenset({"status"})),
    "timeout": Kind("answers 408, with the change made", ("after", "before")),
    "delay": Kind("answers later", BOTH, frozenset({"seconds"})),
    "rate_limit": Kind("answers 429; --seconds sends Retry-After", ("before",), frozenset({"seconds"})),
    "truncate": Kind("breaks off in the middle of the answer", ("after",)),
    "html": Kind("answers 200, or another status, with a page of HTML", BOTH, frozenset({"status"})),
    "crash": Kind("the embedded Fly dies as by kill -9; machines go on", BOTH),
    "insufficient_capacity": Kind("the region has no room for the machine", ("before",), method="POST", path=MACHINES),
    "slow_secrets": Kind(
        "412: the secrets of min_secrets_version have not arrived yet",
        ("before",),
        method="POST",
        path=f"{MACHINES}[/{{machine}}]",
    ),
    "lease_held": Kind(
        "another client takes the lease just before, for 30 s or --seconds",
        ("before",),
        frozenset({"seconds"}),
        method="POST",
        path=f"{MACHINES}/{{machine}}/lease",
    ),
    "name_taken": Kind(
        "somebody else makes an app of this name just before", ("before",), method="POST", path="/v1/apps"
    ),
    "made_meanwhile": Kind(
        "another client of the organization does the same just before: say what",
        ("before",),
        method="POST",
    ),
    "dies_at_start": Kind("a machine is killed as soon as it has started", BOTH[1:], frozenset({"object"})),
    "check_fails": Kind("the checks of a machine never pass", (), frozenset({"object", "seconds"})),
    "certificate_stuck": Kind("a certificate stays pending", (), frozenset({"object", "seconds"})),
    "redis_creating": Kind("a Redis database stays in creating, without a URL", (), frozenset({"object", "seconds"})),
}
# These happen to a machine when it starts, not to a call.
NOT_ABOUT_CALLS = frozenset({"dies_at_start", *(name for name, kind in KINDS.items() if not kind.moments)})
ABOUT = frozenset({"method", "path", "regex", "operation", "nth", "call"})
OPTIONS = frozenset({"status", "seconds", "object"})


class Rule(Body):
    """What is sent to make one. Without method, path, regex, operation and call it is about every call."""

    kind: str
    when: Moment | None = None
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None = None
    path: str | None = None
    """A template such as /v1/apps/{app}/machines, or one with names in it; `[…]` is a part that may be missing."""
    regex: str | None = None
    """Of the whole path, without the query."""
    operation: str | None = None
    """A root field of GraphQL: createAddOn, or mutation createAddOn."""
    nth: Annotated[int, Field(ge=1)] | None = None
    """From the nth matching call on, counted since the rule was made."""
    call: Annotated[int, Field(ge=1)] | None = None
    """The call of this number, counted since the mark."""
    times: Annotated[int, Field(ge=0)] | None = None
    """1 where nothing is said; 0 is without end."""
    status: Status | None = None
    seconds: Seconds | None = None
    object: str | None = None
    """Name, id or process group of a machine, hostname of a certificate, name of a database; all where missing."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Rule:
        if (kind := KINDS.get(self.kind)) is None:
            raise ValueError(f"kind {self.kind!r}: must be one of {', '.join(KINDS)}")
        if self.when is not None and self.when not in kind.moments:
            raise ValueError(f"{self.kind} fires {' or '.join(kind.moments) or 'at no moment: it holds'}")
        said = {name for name in OPTIONS | ABOUT | {"times", "when"} if getattr(self, name) is not None}
        useless = said & OPTIONS - kind.options
        if self.kind in NOT_ABOUT_CALLS:
            useless |= said & {*ABOUT - {"nth"}, "when"}
        if not kind.moments:
            useless |= said & {"times", "nth"}
        if useless:
            raise ValueError(f"{self.kind} takes no {', '.join(sorted(useless))}")
        if self.kind == "delay" and self.seconds is None:
            raise ValueError("delay needs seconds")
        if self.kind == "made_meanwhile" and not said & {"path", "regex", "operation", "call"}:
            raise ValueError("made_meanwhile needs path, regex, operation or call: what is to be made")
        try:
            re.compile(self.regex or "")
        except re.error as error:
            raise ValueError(f"regex: {error}") from None
        return self


@dataclass
class Call:
    """One request as it is counted and matched: no body, no query, no token."""

    number: int
    method: str
    path: str
    template: str
    """The path with `{name}` for the names of objects, as the routes have it; the path itself where none fits."""
    operation: str | None = None
    status: int | None = None
    """None while it is under way, and when no whole answer was sent."""
    faults: list[str] = field(default_factory=list)


@dataclass
class Fault:
    """A rule in force. `made_at` is of the monotonic clock."""

    id: int
    rule: Rule
    made_at: float
    seen: int = 0
    """Matching calls, or starts of machines."""
    fired: int = 0

    @property
    def kind(self) -> Kind:
        return KINDS[self.rule.kind]

    @property
    def moment(self) -> Moment:
        return self.rule.when or self.kind.moments[0]

    def is_about(self, call: Call) -> bool:
        rule, kind = self.rule, self.kind
        if rule.kind in NOT_ABOUT_CALLS:
            return False
        path = rule.path or (None if rule.regex or rule.operation else kind.path)
        method = rule.method or (None if path == GRAPHQL or rule.operation else kind.method)
        return (
            (rule.call is None or rule.call == call.number)
            and (method is None or method == call.method)
            and (path is None or path_fits(path, call.path, call.template))
            and (rule.regex is None or re.fullmatch(rule.regex, call.path) is not None)
            and (rule.operation is None or _operation_fits(rule.operation, call.operation))
        )

    def concerns(self, *names: str | None) -> bool:
        return self.rule.object is None or self.rule.object in names

    @property
    def is_over(self) -> bool:
        return self.rule.seconds is not None and time.monotonic() > self.made_at + self.rule.seconds

    def claim(self) -> bool:
        """Counts one more occasion; true when the rule fires at it."""
        self.seen += 1
        times = 1 if self.rule.times is None else self.rule.times
        due = self.seen >= (self.rule.nth or 1) and (times == 0 or self.fired < times)
        self.fired += due
        return due

    def release(self) -> None:
        """It could not fire after all: the next occasion will do."""
        self.fired -= 1

    def view(self) -> dict[str, Any]:
        said = self.rule.model_dump(exclude_none=True)
        return {"id": self.id, **said, **({"when": self.moment} if self.kind.moments else {}), "fired": self.fired}


class Faults:
    """The rules in force. Public attribute: taken, the app names that somebody else took by a fault."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._made = 0
        self.taken: set[str] = set()

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(self, rule: Rule) -> Fault:
        self._made += 1
        fault = Fault(self._made, rule, time.monotonic())
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()
        self.taken.clear()

    def of_call(self, call: Call) -> list[Fault]:
        """Those that fire at this call, in the order in which they were made."""
        return [fault for fault in self._faults if fault.is_about(call) and fault.claim()]

    def of_start(self, *names: str | None) -> bool:
        """Whether a machine that has just started is to die."""
        found = [f for f in self._faults if f.rule.kind == "dies_at_start" and f.concerns(*names)]
        claims = [fault.claim() for fault in found]  # each counts the start, whether another one fires or not
        return any(claims)

    def holds(self, kind: str, *names: str | None) -> bool:
        """Whether a condition holds for an object of one of these names. Each time that it does counts."""
        for fault in self._faults:
            if fault.rule.kind == kind and fault.concerns(*names) and not fault.is_over:
                fault.fired += 1
                return True
        return False


def path_fits(wanted: str, path: str, template: str) -> bool:
    """A word of `wanted` must be the path's own; a `{name}` stands for what the template has a name for.

    >>> path_fits("/v1/apps/{a}/machines", "/v1/apps/shop/machines", "/v1/apps/{app}/machines")
    True
    """
    return any(_words_fit(form, path, template) for form in forms(wanted))


def forms(wanted: str) -> list[str]:
    """Without and with the part in brackets."""
    match = re.fullmatch(r"([^[]*)\[([^]]*)\]", wanted)
    return [match[1], match[1] + match[2]] if match else [wanted]


def _words_fit(wanted: str, path: str, template: str) -> bool:
    wanted_words, words, names = wanted.split("/"), path.split("/"), template.split("/")
    if not len(wanted_words) == len(words) == len(names):
        return False
    return all(
        name.startswith("{") if want.startswith("{") else want == word
        for want, word, name in zip(wanted_words, words, names, strict=True)
    )


def _operation_fits(wanted: str, operation: str | None) -> bool:
    """`operation` is the kind and the root fields of a document: `mutation createAddOn`."""
    if operation is None:
        return False
    kind, *fields = operation.split()
    *wanted_kind, wanted_field = wanted.split()
    return wanted_field in fields and wanted_kind in ([], [kind])
