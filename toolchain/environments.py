"""Virtual environments from locks with hashes: by uv, and by pip where there is no uv or it does not succeed."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from toolchain import cache, process
from toolchain.errors import ToolchainError

INSTALL_DEADLINE_S = 1800.0
"""LiteLLM's environment is some 300 MB of wheels: this is a slow line, not a hanging one."""


def python() -> Path:
    """The interpreter new environments are made from: the one this runs on, outside its own environment."""
    return Path(getattr(sys, "_base_executable", sys.executable))


def key(lock: Path) -> str:
    """Names what an environment from `lock` holds here: wheels depend on Python and on the platform."""
    return cache.key(lock, f"{sys.implementation.cache_tag} {sysconfig.get_platform()} {python().resolve()}")


def entry_of(name: str, lock: Path) -> str:
    return f"{name}-{key(lock)}"


def ensure(name: str, lock: Path) -> Path:
    """The root of an environment in the cache that holds exactly what `lock` names. Raises ToolchainError."""
    entry = entry_of(name, lock)
    return cache.entry(entry, lambda folder: install(folder, lock, name=name, log=cache.log_of(entry), movable=True))


def install(folder: Path, lock: Path, *, name: str, log: Path, movable: bool) -> None:
    """Makes an environment in `folder`, or changes the one there, to hold exactly what `lock` names.

    `movable`: the folder is going to be renamed. `python -m …` works there in any case, its scripts only from uv.
    One that is not movable has pip in it, because Pulumi's own language host asks it what is installed.
    """
    run = partial(process.run, title=f"Python packages of {name}", log=log, deadline_s=INSTALL_DEADLINE_S)
    if uv := find_uv():
        try:
            _with_uv(run, uv, folder, lock, movable)
        except ToolchainError as error:
            process.say(
                f"{error}\nTrying pip instead: it may be configured for your registry (pip.conf) where uv is not."
            )
        else:
            return
    _with_pip(run, folder, lock)


class _Run(Protocol):
    def __call__(self, command: Sequence[str | Path], /, *, environment: Mapping[str, str] = ...) -> None: ...


def _with_uv(run: _Run, uv: Path, folder: Path, lock: Path, movable: bool) -> None:
    # uv reads a configuration file of whatever folder it is called in; the lock is to be all it reads.
    environment = {"UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1"}
    if movable:
        run([uv, "venv", "--relocatable", "--allow-existing", "--python", python(), folder], environment=environment)
    else:
        _make(run, folder)
    run([uv, "pip", "sync", "--require-hashes", "--python", folder / "bin" / "python", lock], environment=environment)


def _with_pip(run: _Run, folder: Path, lock: Path) -> None:
    _make(run, folder)
    run([folder / "bin" / "python", "-I", "-m", "pip", "install", "--no-deps", "--require-hashes", "-r", lock])


def _make(run: _Run, folder: Path) -> None:
    """An empty environment with pip, unless there is a working one with pip."""
    if (folder / "bin" / "pip").exists() and (folder / "bin" / "python").exists():
        return
    if not importlib.util.find_spec("ensurepip"):
        raise ToolchainError(
            f"{python()} cannot make virtual environments: its module ensurepip is missing. "
            "Install it (Debian, Ubuntu: `apt install python3-venv`) and run scripts/install again."
        )
    run([python(), "-I", "-m", "venv", "--clear", folder])


def find_uv() -> Path | None:
    """uv of the environment this runs in. Never the machine's own: its version is part of the lock."""
    if sys.prefix == sys.base_prefix:
        return None
    uv = Path(sys.prefix) / "bin" / "uv"
    return uv if os.access(uv, os.X_OK) else None
