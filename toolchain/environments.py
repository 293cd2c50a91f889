"""Virtual environments from locks with hashes: by uv, or by pip where there is no uv."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from toolchain import cache, process

INSTALL_DEADLINE_S = 1800.0
"""LiteLLM's environment is some 300 MB of wheels: this is a slow line, not a hanging one."""


def python() -> Path:
    """The interpreter new environments are made from: the one this runs on, outside its own environment."""
    return Path(getattr(sys, "_base_executable", sys.executable))


def ensure(name: str, lock: Path) -> Path:
    """The root of an environment in the cache that holds exactly what `lock` names. Raises ToolchainError."""
    entry = f"{name}-{cache.key(lock, platform_key())}"

    def make(folder: Path) -> None:
        install(folder, lock, title=f"Python environment {name}", log=cache.log_of(entry), relocatable=True)

    return cache.entry(entry, make)


def platform_key() -> str:
    """What wheels depend on: Python's minor version, its implementation, the platform."""
    return f"{sys.implementation.cache_tag} {sysconfig.get_platform()} {python()}"


def install(folder: Path, lock: Path, *, title: str, log: Path, relocatable: bool = False) -> None:
    """Makes an environment in `folder`, or changes the one there, to hold exactly what `lock` names.

    `relocatable`: the folder is going to be renamed. Without uv, its scripts break then and `python -m …` does not.
    """
    uv = find_uv()
    steps: list[list[str | Path]] = []
    if relocatable and uv:
        steps.append([uv, "venv", "--quiet", "--relocatable", "--allow-existing", "--python", python(), folder])
    elif not (folder / "bin" / "python").exists():
        # With pip: Pulumi's own language host runs `pip list` in the program's environment.
        steps.append([python(), "-I", "-m", "venv", folder])
    target = folder / "bin" / "python"
    if uv:
        steps.append([uv, "pip", "sync", "--require-hashes", "--python", target, lock])
    else:
        steps.append([target, "-I", "-m", "pip", "install", "--require-hashes", "--no-deps", "-r", lock])
    for number, command in enumerate(steps, 1):
        process.run(
            command,
            title=title if len(steps) == 1 else f"{title} ({number}/{len(steps)})",
            log=log,
            deadline_s=INSTALL_DEADLINE_S,
            # Downloads are retried by uv and pip themselves.
            environment={"UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1"},
        )


def find_uv() -> Path | None:
    """uv of the environment this runs in. Never one from PATH: its version is part of the lock."""
    uv = Path(sys.prefix) / "bin" / "uv"
    return uv if os.access(uv, os.X_OK) else None
