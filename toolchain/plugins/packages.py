"""What is installed in a virtual environment, read from its files: ten times faster than asking its pip."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Plugin:
    """A resource plugin that a package needs at run time."""

    name: str
    version: str
    server: str = ""


def plugins(environment: Path) -> list[Plugin]:
    """From the `pulumi-plugin.json` that a Pulumi package carries beside its code."""
    found = []
    for path in sorted(_site_packages(environment).glob("*/pulumi-plugin.json")):
        content = json.loads(path.read_text())
        if content.get("resource"):
            found.append(Plugin(content["name"], content["version"], content.get("server", "")))
    return found


def installed(environment: Path, *, transitive: bool) -> list[tuple[str, str]]:
    """Names and versions of the distributions; without `transitive` only those that no other one requires."""
    found = {_normal(each.name): each for each in metadata.distributions(path=[str(_site_packages(environment))])}
    required = {_normal(name) for each in found.values() for name in _requirements(each)}
    return sorted((each.name, each.version) for name, each in found.items() if transitive or name not in required)


def _requirements(distribution: metadata.Distribution) -> Iterator[str]:
    for requirement in distribution.requires or []:
        if "extra ==" not in requirement:
            yield re.split(r"[\s;\[<>=!~(@]", requirement, maxsplit=1)[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python3*/site-packages"), environment / "lib")
