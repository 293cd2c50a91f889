"""Writes calls.yaml anew, `python -m tests.interruptions.record`: after a change of what the program asks of Fly."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml

from tests.interruptions import stack as stacks
from tests.interruptions.calls import FILE, Call
from tests.interruptions.stack import CHANGES, Stack

HEAD = "# Every call to Fly of a run that nobody interrupts. Written by python -m tests.interruptions.record\n"


def recorded(stack: Stack, phase: str) -> list[Call]:
    with stack.at(phase):
        stack.pulumi(command(phase), "--yes", "--skip-preview")
        return stack.gate.calls


def command(phase: str) -> str:
    return "destroy" if phase == "destroy" else "up"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, stacks.made(Path(folder)) as made:
        found = {phase: sorted(map(str, recorded(made, phase))) for phase in CHANGES}
    FILE.write_text(HEAD + yaml.safe_dump(found, sort_keys=False, width=1000))
