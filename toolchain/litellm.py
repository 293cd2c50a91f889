"""LiteLLM in an environment of its own: its pins do not fit those of Pulumi."""

from __future__ import annotations

from pathlib import Path

from toolchain import environments

LOCK = Path(__file__).parents[1] / "requirements-gateway.txt"


def ensure() -> Path:
    """The root of the virtual environment that stands for the image's `/app/.venv`. Raises ToolchainError."""
    return environments.ensure("litellm", LOCK)
