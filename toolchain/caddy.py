"""Caddy, which is the edge machine's web server."""

from __future__ import annotations

import shutil
from pathlib import Path

from toolchain import cache, go

PROGRAM = go.Program(
    name="caddy",
    module="github.com/caddyserver/caddy/v2",
    package="github.com/caddyserver/caddy/v2/cmd/caddy",
    flags=go.flags("github.com/caddyserver/caddy/v2.CustomVersion"),
)


def installed() -> Path | None:
    """Caddy on PATH."""
    found = shutil.which("caddy")
    return Path(found) if found else None


def ensure() -> Path:
    """The program `caddy`: the one on PATH, else built from its Go module. Raises ToolchainError."""
    return installed() or cache.entry(PROGRAM.entry, lambda folder: go.build(PROGRAM, folder / "caddy")) / "caddy"
