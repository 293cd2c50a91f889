"""The numbers of the interruption matrix, printed at the end of a test run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from pytest import TerminalReporter, TestReport

PROPERTY = "interruption"
"""A case records (phase, call, outcome) under this name; the outcome is killed, ended or not reached."""


def lines(reports: Iterable[TestReport]) -> list[str]:
    calls: defaultdict[str, set[str]] = defaultdict(set)
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    seconds: Counter[str] = Counter()
    for report in reports:
        for name, value in report.user_properties:
            if name != PROPERTY or report.when != "call":
                continue
            phase, call, outcome = value
            calls[phase].add(call)
            outcomes[phase][outcome] += 1
            outcomes[phase]["failed"] += report.failed
            seconds[phase] += report.duration
    return [
        f"{phase}: {len(calls[phase])} calls, {(cases := sum(counts.values()) - counts['failed'])} cases: "
        f"{', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items()) if count)}; "
        f"{seconds[phase]:.0f} s, {seconds[phase] / cases:.1f} s each"
        for phase, counts in outcomes.items()
    ]


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    stats = terminalreporter.stats
    if found := lines([*stats.get("passed", []), *stats.get("failed", [])]):
        terminalreporter.section("interruptions")
        for line in found:
            terminalreporter.write_line(line)
