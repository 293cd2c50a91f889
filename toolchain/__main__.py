"""`python -m toolchain`: makes and names the programs this project runs on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from toolchain import cache, caddy, environments, litellm, process, project, pulumi
from toolchain.errors import ToolchainError

MISSING = "not made yet: when first needed, or by scripts/install --all"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def install(
    program: Annotated[
        bool, typer.Option("--program", help="Only what `pulumi up` needs: no tests, no embedded Fly.io.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also Caddy and LiteLLM, which are else made when first needed.")
    ] = False,
) -> None:
    """Makes .venv and Pulumi ready, says where they are, and does nothing when they are."""
    project.ensure(program_only=program)
    engine = pulumi.ensure()
    engine.place_plugins(pulumi.home())
    if engine.source == "path":
        project.unlink("pulumi")
    else:
        project.link(engine.pulumi)
    if everything:
        caddy.ensure()
        litellm.ensure()
    which()


@app.command()
def which() -> None:
    """Shows which programs are in use, and from where."""
    for name, version, origin, path in _rows():
        typer.echo(f"{name:8} {version:9} {origin}")
        if path:
            typer.echo(f"{'':18} {path}")


def _rows() -> Iterator[tuple[str, str, str, str]]:
    for name, (version, origin, path) in {
        "python": (sys.version.split()[0], "this machine", environments.python()),
        "pulumi": _pulumi(),
        "caddy": _caddy(),
        "litellm": _litellm(),
    }.items():
        yield name, version, origin, str(path or "")


def _pulumi() -> tuple[str, str, Path | None]:
    engine = pulumi.present()
    if not engine:
        return pulumi.PROGRAM.version, MISSING, None
    origins = {
        "path": "PATH, with the plugins it fetches",
        "release": "the official release, with the plugins it fetches",
        "built": "built from its Go module, with this project's python, random and command plugins",
    }
    return engine.version, origins[engine.source], engine.pulumi


def _caddy() -> tuple[str, str, Path | None]:
    if found := caddy.installed():
        return "", "PATH", found
    built = cache.present(caddy.PROGRAM.entry)
    return caddy.PROGRAM.version, "built from its Go module" if built else MISSING, built and built / "caddy"


def _litellm() -> tuple[str, str, Path | None]:
    made = cache.present(environments.entry_of(litellm.NAME, litellm.LOCK))
    return litellm.version(), f"wheels of {litellm.LOCK.name}" if made else MISSING, made


def main() -> None:
    process.leave_on_sigterm()
    try:
        app()
    except ToolchainError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
