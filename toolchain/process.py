"""Child processes that take their time: a line of progress, a log that is shown when they fail, no survivors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from toolchain.errors import ToolchainError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
LAST_LINES = 15
"""How much of a failed program's log is shown: enough for a compiler's or resolver's message."""
STOP_TIMEOUT_S = 5.0
QUIET_S = 1.0
REDRAW_S = 0.2
LINE_EVERY_S = 15.0
"""Between two progress lines where the output is no terminal, such as a CI log."""

# What would make Python, pip, uv or Go work on something else than what they are told to. Index, proxy and
# certificate settings stay: they say where the registries are.
_FOREIGN = {
    "CONDA_PREFIX", "GOBIN", "GOFLAGS", "GOWORK", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_USER",
    "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "UV_CONSTRAINT", "UV_EXCLUDE_NEWER", "UV_OVERRIDE",
    "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_TARGET", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__",
}  # fmt: skip


def clean_environment() -> dict[str, str]:
    """The operator's environment without what redirects Python, pip, uv or Go."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN}


def say(text: str) -> None:
    """A line for the person who waits. Standard output is left to what other programs read."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is how


def leave_on_sigterm() -> None:
    """Makes SIGTERM do what Ctrl-C does: end children, remove what is half made."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Progress:
    """One line that says what takes time, and for how long: rewritten on a terminal, repeated now and then elsewhere.

    What is done at once says nothing.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._next = self._began + QUIET_S
        self._shown = False

    def show(self, detail: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (REDRAW_S if self._terminal else LINE_EVERY_S)
        self._shown = True
        self._line(f"{self._title} · {_clock(now - self._began)}" + (f" · {detail}" if detail else ""))

    def done(self, outcome: str) -> None:
        if self._shown:
            self._line(f"{self._title} · {_clock(time.monotonic() - self._began)} · {outcome}")
        if self._shown and self._terminal:
            say("")

    def _line(self, text: str) -> None:
        if self._terminal:
            print(f"\r\033[K{text}", file=sys.stderr, end="", flush=True)  # noqa: T201 - without an end of line
        else:
            say(text)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def run(
    command: Sequence[str | Path],
    *,
    title: str,
    log: Path,
    deadline_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    detail: Callable[[str], str] = lambda line: "",
) -> None:
    """Runs a program to its end, its output in `log`; `detail` turns a line of it into a word of progress.

    Raises ToolchainError with the last lines of the log when the program fails or is not done in time. Whatever
    ends this call, the program and all it started have ended too.
    """
    progress = Progress(title)
    with log.open("ab") as file:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=clean_environment() | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            problem = _follow(child, log, progress, detail, deadline_s)
        except BaseException:
            progress.done("stopped")
            raise
        finally:
            _stop(child)
    if problem:
        progress.done("failed")
        raise ToolchainError(f"{title}: {Path(command[0]).name} {problem}.\n{_tail(log)}\nThe whole log: {log}")
    progress.done("done")


def _follow(
    child: subprocess.Popen[bytes],
    log: Path,
    progress: Progress,
    detail: Callable[[str], str],
    deadline_s: float,
) -> str:
    """What went wrong, in words; empty when nothing did."""
    deadline = time.monotonic() + deadline_s
    word = ""
    with log.open("r", errors="replace") as lines:
        lines.seek(0, os.SEEK_END)
        while True:
            try:
                code = child.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                code = None
            for line in lines:
                word = detail(line.rstrip()) or word
            if code is not None:
                return f"ended with exit code {code}" if code else ""
            if time.monotonic() > deadline:
                return f"was not done after {deadline_s:.0f} s"
            progress.show(word)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ends the child's process group: the child may be gone while compilers it started are not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        except PermissionError:
            break  # macOS: only zombies are left
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").rstrip().splitlines()
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
