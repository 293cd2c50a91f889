"""Programs built from their Go modules, which the Go registry serves like any package."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from toolchain import cache, process
from toolchain.errors import ToolchainError

USUAL_FOLDERS = ("/usr/local/go/bin",)
"""Where Go's own installer puts it without touching PATH."""
MODULES = Path(__file__).parent / "modules"
BUILD_DEADLINE_S = 3600.0
"""Pulumi takes 4.5 minutes on two idle cores of 2025; a loaded CI runner gets an hour."""
QUERY_DEADLINE_S = 600.0
"""`go list` may have to download every module first."""


@dataclass(frozen=True)
class Program:
    """A command of a Go module, at the version that `modules/<name>/go.mod` requires and go.sum proves."""

    name: str
    module: str
    package: str
    flags: tuple[str, ...] = ()
    """For `go build`; `{version}` in them stands for the version."""

    @property
    def folder(self) -> Path:
        return MODULES / self.name

    @property
    def version(self) -> str:
        """As in `3.259.0`."""
        found = re.search(rf"^\s*{re.escape(self.module)} v(\S+)", (self.folder / "go.mod").read_text(), re.MULTILINE)
        if not found:
            raise ToolchainError(f"{self.folder / 'go.mod'} does not require {self.module}.")
        return found[1]

    @property
    def entry(self) -> str:
        """The name in the cache: everything the binary is made from but the Go version, which go.mod bounds."""
        machine = f"{platform.system()} {platform.machine()}"
        key = cache.key(self.folder / "go.mod", self.folder / "go.sum", self.package, *self.flags, machine)
        return f"{self.name}-{self.version}-{key}"


def build(program: Program, output: Path) -> None:
    """Compiles `program` into the file `output`. Raises ToolchainError."""
    go = find(program)
    log = cache.log_of(program.entry)
    counter = _Counter()
    flags = [flag.replace("{version}", program.version) for flag in program.flags]
    process.run(
        [go, "build", "-v", "-o", output, *flags, program.package],
        title=f"Building {program.name} {program.version} from its Go module",
        log=log,
        deadline_s=BUILD_DEADLINE_S,
        cwd=program.folder,
        environment=ENVIRONMENT,
        detail=counter.read,
    )


ENVIRONMENT = {"GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
"""go.mod is the whole truth: no workspace of the operator's, no version chosen anew."""


class _Counter:
    """Turns the lines of `go build -v` into a count."""

    def __init__(self) -> None:
        self._modules = 0
        self._packages = 0

    def read(self, line: str) -> str:
        if line.startswith("go: downloading "):
            self._modules += 1
            return f"{self._modules} modules downloaded"
        self._packages += 1
        return f"{self._packages} packages compiled"


def folder_of(program: Program, module: str) -> Path:
    """Where the module cache keeps the source of a dependency of `program`."""
    go = find(program)
    try:
        answer = subprocess.run(
            [go, "list", "-m", "-f", "{{.Dir}}", module],
            cwd=program.folder,
            env=process.clean_environment() | ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=QUERY_DEADLINE_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise ToolchainError(f"{go} did not say in {QUERY_DEADLINE_S:.0f} s where the module {module} is.") from None
    except subprocess.CalledProcessError as error:
        raise ToolchainError(f"{go} cannot say where the module {module} is: {error.stderr.strip()}") from None
    return Path(answer.stdout.strip())


def find(program: Program) -> Path:
    """The Go compiler. It may be older than go.mod asks for: Go 1.21 and later fetch the toolchain they need."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *USUAL_FOLDERS])
    if found := shutil.which("go", path=path):
        return Path(found)
    raise ToolchainError(
        f"{program.name} is neither on PATH nor to be had ready-made from here, so it has to be built, and Go is not "
        f"installed. Install Go 1.21 or later (https://go.dev/dl, `apt install golang-go`, `brew install go`), or "
        f"{program.name} itself, and run scripts/install again."
    )


def flags(version_variable: str, *tags: str) -> tuple[str, ...]:
    """Flags that link the version into a variable and leave out debug tables, which makes a third of a binary."""
    return (*(["-tags", ",".join(tags)] if tags else []), "-ldflags", f"-s -w -X {version_variable}={{version}}")
