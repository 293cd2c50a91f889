"""The deviations as a table in docs/embedded-fly.md: `python -m tests.contracts.table` writes it there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

DEVIATIONS = Path(__file__).with_name("deviations.yaml")
PAGE = Path(__file__).parents[2] / "docs" / "embedded-fly.md"
HEADING = "## Deviations from the published contract"
BEGIN, END = "<!-- deviations: written by python -m tests.contracts.table -->", "<!-- end of deviations -->"


@dataclass(frozen=True)
class Deviation:
    area: str
    document: str
    here: str
    source: str
    places: list[str]
    """Patterns of what tests.contracts.differences finds."""


def load() -> list[Deviation]:
    return [Deviation(**entry) for entry in yaml.safe_load(DEVIATIONS.read_text())]


def table(deviations: Iterable[Deviation]) -> str:
    rows = [(one.area, one.document, one.here, one.source) for one in deviations]
    titles = ("area", "the published document", "here", "source")
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def with_table(page: str, text: str) -> str:
    """The page with the table between its markers, appended where there are none."""
    section = f"{BEGIN}\n{text}\n{END}"
    if BEGIN not in page:
        return f"{page.rstrip()}\n\n{HEADING}\n\n{section}\n".lstrip()
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no line {END!r} after {BEGIN!r}")
    return f"{before}{section}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text() if PAGE.exists() else "# The embedded Fly\n", table(load())))
