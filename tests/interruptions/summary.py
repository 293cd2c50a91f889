"""The numbers of the interruption matrix, printed at the end of a test run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest import TerminalReporter, TestReport

PROPERTY = "interruption"
"""A case records (phase, call, outcome) under this name; the outcome is killed, ended or not reached."""


@dataclass
class Phase:
    calls: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        cases = self.outcomes.total()
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return (
            f"{len(self.calls)} calls, {cases} cases ({outcomes}), {self.failed} failed, "
            f"{self.seconds:.0f} s, {self.seconds / cases:.1f} s each"
        )


def phases(reports: Iterable[TestReport]) -> dict[str, Phase]:
    found: defaultdict[str, Phase] = defaultdict(Phase)
    for report in reports:
        recorded: Any = dict(report.user_properties).get(PROPERTY)
        if recorded and report.when == "call":
            name, call, outcome = recorded
            found[name].calls.add(call)
            found[name].outcomes[outcome] += 1
            found[name].failed += report.failed
            found[name].seconds += report.duration
    return found


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    stats = terminalreporter.stats
    if found := phases([*stats.get("passed", []), *stats.get("failed", [])]):
        terminalreporter.section("interruptions")
        for name, phase in found.items():
            terminalreporter.write_line(f"{name}: {phase}")
