"""Points in time as RFC 3339; durations as Go writes them, which is how Fly answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

_UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LONGEST_NS = 2**63 - 1  # Go's
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def nanoseconds(duration: str | int) -> int:
    """Of `"1m30s"`, or of a whole number, which already is nanoseconds. Raises ValueError."""
    if isinstance(duration, int):
        ns = duration
    else:
        parts = _PART.findall(duration)
        if not parts or "".join(number + unit for number, unit in parts) != duration:
            raise ValueError(f"duration {duration!r}: must be like 15s, 1m30s or 500ms")
        ns = int(sum(Fraction(number) * _UNITS_NS[unit] for number, unit in parts))
    if not 0 <= ns <= _LONGEST_NS:
        raise ValueError(f"duration {duration!r}: must be from 0 to about 292 years")
    return ns


def go_duration(ns: int) -> str:
    """As Go's Duration.String writes it.

    >>> go_duration(60 * 10**9), go_duration(1_500_000_000), go_duration(250_000_000)
    ('1m0s', '1.5s', '250ms')
    """
    if ns < 10**9:
        for unit in ("ms", "µs", "ns"):
            if ns >= _UNITS_NS[unit]:
                return f"{_plain(ns, _UNITS_NS[unit])}{unit}"
        return "0s"
    hours, rest = divmod(ns, _UNITS_NS["h"])
    minutes, rest = divmod(rest, _UNITS_NS["m"])
    text = f"{_plain(rest, 10**9)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _plain(number: int, unit: int) -> str:
    text = f"{Decimal(number) / unit:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
