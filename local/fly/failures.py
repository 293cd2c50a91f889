"""Why a machine could not start, where people look for it: at the end of the machine's own log."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from local.fly.times import rfc3339

log = logging.getLogger(__name__)

# Shorter values are switches such as `1` or `yes`: replacing those would tear other words apart.
SHORTEST_SECRET = 4


def without_secrets(reason: str, secrets: Mapping[str, str]) -> str:
    """The reason with the names of secrets in place of their values, the longest first."""
    for name, value in sorted(secrets.items(), key=lambda item: -len(item[1])):
        if len(value) >= SHORTEST_SECRET:
            reason = reason.replace(value, f"[{name}]")
    return reason


def note(path: Path, reason: str) -> None:
    """Adds one line, in the form of the machine's own. A log that cannot be written stops nothing."""
    line = f"{rfc3339(time.time())} the machine cannot start: {' '.join(reason.split())}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:  # noqa: PTH123 - a descriptor
            file.write(line)
    except OSError as error:
        log.warning("%s: %s", path, error)
