"""Makes the environment this package runs in, then runs it: all that has to work where nothing is installed yet.

Standard library only, like what it imports. `scripts/install` starts it with a Python that is new enough.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> None:
    sys.path.insert(0, str(ROOT))
    from toolchain import process  # noqa: PLC0415 - `python -I` keeps the project off the path until now
    from toolchain.errors import ToolchainError  # noqa: PLC0415

    process.leave_on_sigterm()
    try:
        python = _tools() / "bin" / "python"
    except ToolchainError as error:
        sys.exit(f"scripts/install: {error}")
    except KeyboardInterrupt:
        sys.exit(process.INTERRUPTED)
    os.chdir(ROOT)
    command = [str(python), "-m", "toolchain", "install", *arguments]
    os.execve(python, command, process.clean_environment())  # noqa: S606 - no shell is wanted


def _tools() -> Path:
    from toolchain import environments, process  # noqa: PLC0415 - see above
    from toolchain.errors import ToolchainError  # noqa: PLC0415

    lock = ROOT / "toolchain" / "requirements.txt"
    try:
        return environments.ensure("tools", lock)
    except ToolchainError as error:
        process.say(
            f"{error}\nTrying without uv, for which there may be no wheel here: pip does its work, more slowly."
        )
    with tempfile.TemporaryDirectory() as folder:
        rest = Path(folder, "requirements-without-uv.txt")
        rest.write_text(without_uv(lock.read_text()))
        return environments.ensure("tools", rest)


def without_uv(lock: str) -> str:
    """A lock without the lines of uv: its version, and the hashes below it."""
    return re.sub(r"^uv==.*\n(    .*\n?)*", "", lock, flags=re.MULTILINE)


if __name__ == "__main__":
    main(sys.argv[1:])
