"""Durations as the Machines API writes them."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def seconds(value: str | int | None, default: float) -> float:
    """Seconds of `"1m30s"` or of an integer number of nanoseconds; `default` when unset.

    Raises ValueError for anything else.
    """
    if value is None or value == "":
        return default
    if isinstance(value, int):
        return value / 1e9
    if not re.fullmatch(f"(?:{_PART.pattern})+", value):
        raise ValueError(f"duration {value!r}: must be like 15s, 1m30s or 500ms")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
