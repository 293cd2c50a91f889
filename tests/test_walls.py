"""Which room may import which; docs/architecture.md says why."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# room → project packages it may import; the longest matching room counts.
WALLS = {
    "components/fly": {"components.fly"},
    "components": {"components"},
    "gateway": {"gateway"},
    "local/fly": {"local.fly", "local.contract", "local.settings"},
    "local/machines": {"local.machines", "local.contract", "toolchain"},
    "local/proxy": {"local.proxy", "local.contract"},
    "local/provider": {"local.provider"},
    "local": {"local", "toolchain"},
    "toolchain": {"toolchain"},
    "__main__.py": {"components"},
}
ROOMS = {"components", "gateway", "local", "toolchain", "scripts", "tests", "bench"}


def sources() -> Iterator[Path]:
    for folder in sorted({Path(room).parts[0] for room in WALLS} - {"__main__.py"}):
        yield from sorted((ROOT / folder).rglob("*.py"))
    yield ROOT / "__main__.py"


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT).as_posix()
    return max((room for room in WALLS if re.match(rf"{re.escape(room)}(/|$)", relative)), key=len)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; the project writes whole names"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_import_crosses_a_wall(path: Path) -> None:
    allowed = WALLS[room_of(path)]
    crossing = [
        name
        for name in imported(path)
        if name.split(".")[0] in ROOMS and not any(name == a or name.startswith(f"{a}.") for a in allowed)
    ]
    assert not crossing, f"{room_of(path)} may import {sorted(allowed)} of this project only"


def test_every_room_of_the_walls_is_described() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    missing = [room for room in WALLS if room != "__main__.py" and f"`{room}/`" not in page]
    assert not missing, "docs/architecture.md says the purpose of every folder"
