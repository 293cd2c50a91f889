"""Launchers: what stands in for an image, since a process has no image of its own.

A launcher names the programs the host has for an image and the guest paths they appear at, beside the image's own
entrypoint, command, environment and working directory. To teach the embedded Fly an image, write a function that
returns an `Image` and put it into `KNOWN`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.contract import LaunchError
from local.machines.root import Bind, File, Folder, Node
from toolchain import caddy, litellm

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """The part of an image's configuration that acts, and what its root holds beside the host's programs."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    uid: int = 0
    root: Mapping[str, Node] = field(default_factory=dict)


Launcher = Callable[[], Image]


def official_caddy() -> Image:
    """docker.io/library/caddy. The official image has /srv as working directory and its state in /data and /config."""
    return Image(
        cmd=("caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"),
        env={"PATH": SYSTEM_PATH, "XDG_CONFIG_HOME": "/config", "XDG_DATA_HOME": "/data"},
        workdir="/srv",
        root={
            "/usr/bin/caddy": Bind(caddy.ensure().resolve()),
            "/config/caddy": Folder(),
            "/data/caddy": Folder(),
            "/etc/caddy": Folder(),
        },
    )


# The image's own start script ends in the same command. LiteLLM would listen beyond loopback without a host;
# a --host among the machine's own arguments comes later and wins.
LITELLM_START = b'#!/bin/sh\nexec litellm --host "$FLY_PRIVATE_IP" "$@"\n'


def official_litellm() -> Image:
    """ghcr.io/berriai/litellm: working directory /app, an environment in /app/.venv that is first on PATH."""
    venv = litellm.ensure()
    return Image(
        entrypoint=("docker/prod_entrypoint.sh",),
        cmd=("--port", "4000"),
        env={"PATH": f"/app/.venv/bin:{SYSTEM_PATH}"},
        workdir="/app",
        root={
            **interpreter(venv),
            str(venv): Bind(venv),  # the first lines of its scripts name this path
            "/app/.venv": Bind(venv),
            "/app/docker/prod_entrypoint.sh": File(LITELLM_START, mode=0o755),
        },
    )


def embedded_python() -> Image:
    """No image of anybody's: this Python without packages, for machines that bring their program as a file."""
    base = Path(sys.base_prefix)
    return Image(
        cmd=("python3",),
        env={"PATH": f"{base}/bin:{SYSTEM_PATH}", "PYTHONUNBUFFERED": "1"},
        root=_own_places([base]),
    )


def interpreter(venv: Path) -> dict[str, Node]:
    """The Python a virtual environment is made of, at its own path: the environment holds links to it and its path."""
    prefixes = [Path(_home(venv)).parent]
    python = venv / "bin" / "python"
    while python.is_symlink():
        python = Path(os.path.normpath(python.parent / python.readlink()))
        prefixes.append(python.parent.parent)
    prefixes.append(python.resolve().parent.parent)
    return _own_places(prefix for prefix in prefixes if prefix != venv)


def _home(venv: Path) -> str:
    for line in (venv / "pyvenv.cfg").read_text().splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "home":
            return value.strip()
    raise LaunchError(f"{venv} is no virtual environment: its pyvenv.cfg has no line 'home'. Delete it and try again.")


def _own_places(folders: Iterable[Path]) -> dict[str, Node]:
    usr = Path("/usr")
    return {
        str(folder): Bind(folder) for folder in folders if folder not in (usr, Path("/")) and usr not in folder.parents
    }


KNOWN: dict[str, Launcher] = {
    "caddy": official_caddy,
    "ghcr.io/berriai/litellm": official_litellm,
    "docker.litellm.ai/berriai/litellm": official_litellm,
    "embedded/python": embedded_python,
}


def repository(reference: str) -> str:
    """The name without tag and digest; Docker Hub's official images by their short name.

    >>> repository("docker.io/library/caddy:2.10.2@sha256:00")
    'caddy'
    """
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = head + slash + tail.partition(":")[0]
    for prefix in ("docker.io/", "index.docker.io/", "library/"):
        name = name.removeprefix(prefix)
    return name


def find(reference: str, known: Mapping[str, Launcher]) -> Launcher:
    """What makes the stand-in for an image; making it may take minutes. Raises LaunchError for an unknown image."""
    launcher = known.get(repository(reference))
    if launcher is None:
        names = ", ".join(sorted(known))
        raise LaunchError(
            f"image {reference!r}: the embedded Fly has no stand-in for it. Known images: {names} (any tag)."
            " A new one is a function in local/machines/images.py."
        )
    return launcher
