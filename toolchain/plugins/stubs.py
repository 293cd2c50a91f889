"""Import this first in a plugin's process: the engine's messages and stubs without the SDK around them.

`import pulumi` takes a quarter of a second, three times in an update, for things no plugin uses. The three packages
on the way to the generated modules are therefore entered without running their `__init__`.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _enter(name: str, folder: Path) -> None:
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


_spec = importlib.util.find_spec("pulumi")
if _spec is None or _spec.origin is None:
    raise ImportError("The Pulumi SDK is not installed beside the plugins. Run scripts/install again.")
_folder = Path(_spec.origin).parent
_enter("pulumi", _folder)
_enter("pulumi.runtime", _folder / "runtime")
_enter("pulumi.runtime.proto", _folder / "runtime" / "proto")
