"""The Pulumi engine: the one on PATH, else the official release, else one built from its Go module.

A built engine comes without the plugins that have no Go module at the registry. `toolchain.plugins` stands in for
those this project needs. Wherever official parts are to be had, none of it is used.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from toolchain import cache, environments, go, release, versions
from toolchain.errors import ToolchainError
from toolchain.process import say

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "Pulumi.yaml"
PLUGINS = Path(__file__).parent / "plugins"

SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
PROGRAM = go.Program(
    name="pulumi",
    module="github.com/pulumi/pulumi/pkg/v3",
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    # The tags of Pulumi's own builds: pure Go look-up of users, no tracing of gRPC.
    flags=go.flags(f"{SDK_MODULE}/go/common/version.Version", "osusergo", "grpcnotrace"),
)
# The scripts of the engine's Python side, which are in the SDK's Go module: one sets the SDK up around a program,
# one starts the provider for dynamic resources.
EXECUTOR = "python/cmd/pulumi-language-python-exec"
DYNAMIC_PROVIDER = "python/dist/pulumi-resource-pulumi-python"

RESOURCE_PLUGINS = {"random": "pulumi-random", "command": "pulumi-command"}
"""Our stand-ins → the Python package that names the version."""

MARK = b"written by hotdash-llm-gateway"
LAUNCHER = f"""#!/bin/sh
# {MARK.decode()}; scripts/install repairs it.
[ -x {{python}} ] || {{{{ echo "$0: {{python}} is gone. Run scripts/install in the project's folder." >&2; exit 1; }}}}
exec {{command}} "$@"
"""
VERSION_TIMEOUT_S = 30.0
EXECUTABLE = 0o755


@dataclass(frozen=True)
class Parts:
    """A built engine's surroundings: a folder in the cache, and the environment our plugins run in."""

    folder: Path
    environment: Path

    CODE: ClassVar = Path("code", "toolchain", "plugins")

    @property
    def binaries(self) -> Path:
        return self.folder / "bin"

    def write_launcher(self, target: Path, plugin: str, *arguments: Path) -> None:
        """A program that starts a plugin of ours. It needs the cache, not the checkout."""
        python = self.environment / "bin" / "python"
        words = [python, "-I", self.folder / self.CODE / "__main__.py", plugin, *arguments]
        text = LAUNCHER.format(python=shlex.quote(str(python)), command=shlex.join(map(str, words)))
        # In one step: an engine may be starting it.
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        unfinished.write_text(text)
        unfinished.chmod(EXECUTABLE)
        unfinished.replace(target)


@dataclass(frozen=True)
class Toolchain:
    """An engine that runs this project."""

    pulumi: Path
    path_entries: list[Path]
    """Folders that have to be on PATH. The engine finds its other parts by itself."""
    version: str
    source: Literal["path", "release", "built"]

    parts: Parts | None = None
    """Of a built engine."""

    def place_plugins(self, pulumi_home: Path) -> None:
        """Puts resource plugins where the engine looks for installed ones.

        Official engines fetch theirs themselves, and for them ours are taken away: they would be taken for theirs.
        """
        for name, package in RESOURCE_PLUGINS.items():
            folder = pulumi_home / "plugins" / f"resource-{name}-v{locked(package)}"
            target = folder / f"pulumi-resource-{name}"
            ours = target.exists() and MARK in target.read_bytes()
            if self.parts and (ours or not target.exists()):
                folder.mkdir(parents=True, exist_ok=True)
                self.parts.write_launcher(target, name)
                # What an interrupted download leaves would hide the plugin.
                folder.with_name(f"{folder.name}.partial").unlink(missing_ok=True)
            elif ours and not self.parts:
                shutil.rmtree(folder)


def home() -> Path:
    """The engine's own folder, where it keeps plugins and logins."""
    return Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")


def ensure() -> Toolchain:
    """The engine to use on this machine, made ready if need be. Raises ToolchainError."""
    return present() or released() or built()


def present() -> Toolchain | None:
    """The engine that needs nothing to be made: on PATH, or in the cache. Asks no network."""
    if found := installed():
        return found
    if folder := release.present(locked("pulumi")):
        return Toolchain(folder / "pulumi", [folder], locked("pulumi"), "release")
    return built() if cache.present(PROGRAM.entry) else None


def installed() -> Toolchain | None:
    """Pulumi on PATH, when its version is what Pulumi.yaml asks for."""
    found = _on_path()
    if not found:
        return None
    version, required = version_of(found), versions.required(PROJECT)
    if not versions.satisfies(version, required):
        say(f"{found} is {version}, and Pulumi.yaml requires {required}: another one is used.")
        return None
    return Toolchain(found, [found.parent], version, "path")


def released(base_url: str = release.BASE_URL) -> Toolchain | None:
    """The official release of the Python SDK's version: the two are released together. None out of its host's reach."""
    version = locked("pulumi")
    if not (sha256 := release.checksum(version, base_url)):
        return None
    folder = release.ensure(version, sha256, base_url)
    return Toolchain(folder / "pulumi", [folder], version, "release")


def built() -> Toolchain:
    """The engine built from its Go module, with our plugins around it. Raises ToolchainError."""
    engine = cache.entry(PROGRAM.entry, _build)
    environment = environments.ensure("pulumi-plugins", PLUGINS / "requirements.txt")
    sources = sorted(PLUGINS.glob("*.py"))
    # This file too: it decides how the parts are laid out.
    ingredients = [part for path in (Path(__file__), *sources) for part in (path.name, path)]
    key = cache.key(engine.name, environment.name, *ingredients)
    parts = Parts(cache.root() / f"pulumi-{key}", environment)
    cache.entry(parts.folder.name, lambda unfinished: _assemble(unfinished, engine, sources, parts))
    return Toolchain(parts.binaries / "pulumi", [parts.binaries], PROGRAM.version, "built", parts)


def locked(package: str) -> str:
    """The version of a Python package in the program's lock."""
    found = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    if not found:
        raise ToolchainError(f"requirements.txt has no line `{package}==…`.")
    return found[1]


def version_of(pulumi: Path) -> str:
    """Asks the program; `v3.259.0` → `3.259.0`. Raises ToolchainError."""
    try:
        answer = subprocess.run(
            [pulumi, "version"],
            env=os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"},
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolchainError(f"`{pulumi} version` failed: {error}. Repair that Pulumi or take it off PATH.") from error
    return answer.stdout.strip().removeprefix("v")


def _on_path() -> Path | None:
    """The first `pulumi` on PATH that is no link of ours."""
    ours = cache.root().resolve()
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = shutil.which("pulumi", path=folder) if folder else None
        if found and not Path(found).resolve().is_relative_to(ours):
            return Path(found)
    return None


def _build(folder: Path) -> None:
    go.build(PROGRAM, folder / "pulumi")
    sdk = go.folder_of(PROGRAM, SDK_MODULE)
    for script in (EXECUTOR, DYNAMIC_PROVIDER):
        target = folder / Path(script).name
        shutil.copyfile(sdk / script, target)
        target.chmod(EXECUTABLE)


def _assemble(folder: Path, engine: Path, sources: list[Path], parts: Parts) -> None:
    """Lays out `bin/`, which is the engine and what it expects beside it, and the code of our plugins."""
    code = folder / Parts.CODE
    code.mkdir(parents=True)
    shutil.copy(PLUGINS.parent / "__init__.py", code.parent)
    for path in sources:
        shutil.copy(path, code)
    binaries = folder / "bin"
    binaries.mkdir()
    # The engine resolves links before it looks beside itself, so this has to be the file. It costs no space.
    os.link(engine / "pulumi", binaries / "pulumi")
    parts.write_launcher(binaries / "pulumi-language-python", "language", engine / Path(EXECUTOR).name)
    parts.write_launcher(binaries / Path(DYNAMIC_PROVIDER).name, "dynamic", engine / Path(DYNAMIC_PROVIDER).name)
