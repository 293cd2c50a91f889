"""The checkout's own environment, `.venv`: what the program needs, and what working on it needs."""

from __future__ import annotations

from pathlib import Path

from toolchain import cache, environments

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / ".made-from"
"""Holds the key of what the environment was last made from."""


def ensure(*, program_only: bool) -> Path:
    """The environment, brought up to date with its lock. Raises ToolchainError."""
    lock = ROOT / ("requirements.txt" if program_only else "requirements-dev.txt")
    key = environments.key(lock)
    with cache.locked(f"venv-{cache.key(str(VENV))}"):
        if not is_current(key):
            # Until it is whole again, it is nothing's.
            STAMP.unlink(missing_ok=True)
            environments.install(VENV, lock, name=".venv", log=cache.log_of("venv"), movable=False)
            STAMP.write_text(key)
    return VENV


def is_current(key: str) -> bool:
    """Whether the environment is whole and made from what `key` names."""
    # An interpreter that was removed leaves a dangling link.
    return (VENV / "bin" / "python").exists() and STAMP.exists() and STAMP.read_text() == key


def link(program: Path) -> None:
    """Makes a program of the cache `.venv/bin/<name>`, so that an activated environment has it."""
    target = VENV / "bin" / program.name
    unfinished = target.with_name(f".{program.name}.link")
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(program)
    unfinished.replace(target)


def unlink(name: str) -> None:
    """Takes such a link away, because PATH has the program."""
    target = VENV / "bin" / name
    if target.is_symlink():
        target.unlink()
