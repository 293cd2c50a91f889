"""Pulumi's versions, and the range of them that Pulumi.yaml asks for."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from pathlib import Path

from toolchain.errors import ToolchainError

Version = tuple[int, ...]

_COMPARISONS: dict[str, Callable[[Version, Version], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "!": operator.ne,
    "!=": operator.ne,
    "=": operator.eq,
    "==": operator.eq,
    "": operator.eq,
}


def parse(text: str) -> Version:
    """`v3.259.0` → (3, 259, 0). A pre-release (`-alpha.…`) counts as one before its release. Raises ValueError."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(-[^+]+)?(\+.+)?", text.strip())
    if not found:
        raise ValueError(f"{text!r} is no version such as 3.259.0")
    return (*(int(part) for part in found.group(1, 2, 3)), -1 if found[4] else 0)


def satisfies(version: str, required: str) -> bool:
    """Whether a version is in a range such as `>=3.259.0 <4.0.0 || 5.0.0`: the syntax of `requiredPulumiVersion`."""
    return any(
        all(_holds(version, condition) for condition in alternative.split()) for alternative in required.split("||")
    )


def _holds(version: str, condition: str) -> bool:
    found = re.fullmatch(r"([<>=!]*)(v?\d.*)", condition)
    if not found or found[1] not in _COMPARISONS:
        raise ValueError(f"{condition!r} is no condition such as >=3.259.0")
    return _COMPARISONS[found[1]](parse(version), parse(found[2]))


def required(project: Path) -> str:
    """The range in the `requiredPulumiVersion` of a Pulumi.yaml. Raises ToolchainError."""
    # No YAML parser: this package runs where the program's packages are not installed yet.
    found = re.search(r"^requiredPulumiVersion:\s*(['\"]?)(.+?)\1\s*(#.*)?$", project.read_text(), re.MULTILINE)
    if not found:
        raise ToolchainError(f"{project} has no requiredPulumiVersion. Add one, such as '>=3.259.0'.")
    return found[2]
