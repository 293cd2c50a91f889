"""LiteLLM in an environment of its own: its pins do not fit those of Pulumi."""

from __future__ import annotations

import re
from pathlib import Path

from toolchain import environments
from toolchain.errors import ToolchainError

NAME = "litellm"
LOCK = Path(__file__).parents[1] / "requirements-gateway.txt"


def ensure() -> Path:
    """The root of the virtual environment that stands for the image's `/app/.venv`. Raises ToolchainError."""
    return environments.ensure(NAME, LOCK)


def version() -> str:
    """LiteLLM's version, which is the image's."""
    found = re.search(r"^litellm==(\S+)", LOCK.read_text(), re.MULTILINE)
    if not found:
        raise ToolchainError(f"{LOCK} has no line `litellm==…`.")
    return found[1]
