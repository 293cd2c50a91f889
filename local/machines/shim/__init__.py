"""One small supervisor per machine, so that machines outlive the daemon that started them.

The daemon starts `python -m local.machines.shim` in a session of its own, with an empty environment, and hands it one
`Launch` as JSON on standard input: secrets never stand in an argument or an environment. The shim makes the machine's
namespaces, starts the main process, keeps its log, and writes down how it ended.

Files in the machine's folder, each written whole and then renamed:
- `run.json`: a `Run`, from the start until the daemon has reported the end;
- `exit.json`: an `End`, once the main process has ended and its log is complete.

Everything in this package is the standard library only: it starts in a few dozen milliseconds and stays small.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Step = (
    tuple[Literal["dir"], str, int]
    | tuple[Literal["link"], str, str]
    | tuple[Literal["file"], str, str, int]
    | tuple[Literal["bind"], str, str, bool]
)
"""How the root is assembled, in order: ("dir", path, mode), ("link", path, target), ("file", path, base64, mode),
("bind", path, host path, writable). Paths are the guest's."""


class Launch(TypedDict):
    """What to run, and in what surroundings."""

    name: str
    instance_id: str
    folder: str
    log: str
    log_bytes: int
    uid: int
    root: list[Step]
    argv: list[str]
    env: dict[str, str]
    cwd: str


class Run(TypedDict):
    """A machine that was started: process ids with the identities that tell them from later processes."""

    instance_id: str
    shim: int
    shim_identity: str
    main: int
    main_identity: str


class End(TypedDict):
    """How the main process ended; `signal` is None unless a signal ended it."""

    instance_id: str
    exit_code: int
    signal: int | None


class Entry(TypedDict):
    """A command to run inside a running machine."""

    argv: list[str]
    env: dict[str, str]
    cwd: str


class Report(TypedDict, total=False):
    """The shim's one line to the daemon: the machine runs, or why it does not."""

    main: int
    error: str
    errno: int
    step: str
