"""Things made once per machine, outside any checkout.

An entry is a folder named `<what>-<key>`, where the key is the hash of everything the entry is made from. It is
made in a folder beside it and renamed when complete, so an entry that exists is whole: there is nothing to
check, and nothing to repair after a crash. Standard library only, because `bootstrap` runs before any package.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from toolchain.process import say

KEY_DIGITS = 16
"""64 bits of SHA-256: no chance of two recipes with the same name, and paths stay readable."""


def root() -> Path:
    """The folder of all entries: `$XDG_CACHE_HOME/hotdash-llm-gateway`, `~/.cache/…` by default."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "hotdash-llm-gateway"


def key(*ingredients: str | bytes | Path) -> str:
    """Names a recipe: text and bytes count as they are, a path as the content of its file."""
    digest = hashlib.sha256()
    for ingredient in ingredients:
        content = ingredient.read_bytes() if isinstance(ingredient, Path) else ingredient
        content = content.encode() if isinstance(content, str) else content
        # With its length, so that moving a boundary between two ingredients makes another key.
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:KEY_DIGITS]


def present(name: str) -> Path | None:
    """The entry's folder, if it has been made."""
    folder = root() / name
    return folder if folder.is_dir() else None


def entry(name: str, make: Callable[[Path], None]) -> Path:
    """The entry's folder; calls `make(folder)` to fill it when it does not exist yet.

    One process makes an entry and others wait for it, without a deadline: the one that makes it has its own, and
    the lock goes with its process. What a failed `make` left is removed.
    """
    folder = root() / name
    if not folder.is_dir():
        with locked(name):
            if not folder.is_dir():
                _make(folder, make)
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    # A process that was killed leaves one; whoever holds the lock may remove it.
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        make(unfinished)
        unfinished.rename(folder)
    except BaseException:  # Ctrl-C included: nothing half-made may stay
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Lets one process in at a time. The lock goes with the process that holds it, however that ends."""
    root().mkdir(parents=True, exist_ok=True)
    with (root() / f"{name}.lock").open("a") as file:
        if not _try_lock(file):
            say(f"Another process makes {name}; waiting for it …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def log_of(name: str) -> Path:
    """Where the making of an entry is logged: beside the entries, so that it outlives a failed one."""
    folder = root() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.log"
