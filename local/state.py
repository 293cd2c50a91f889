"""The state folder of one local stack: where everything lies, and who may hold it."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEFAULT_FOLDER = ROOT / ".local"


class LocalError(Exception):
    """An expected failure of a local command: the text names the object, the cause and the remedy."""


@dataclass(frozen=True)
class State:
    """Paths of one local stack. Nothing is created by asking for one."""

    folder: Path

    @property
    def settings(self) -> Path:
        """Ports, network and token, chosen once; read by the embedded Fly. Mode 600."""
        return self.folder / "settings.json"

    @property
    def passphrase(self) -> Path:
        """Encrypts the stack's secrets; made once. Mode 600."""
        return self.folder / "passphrase"

    @property
    def stack_file(self) -> Path:
        """The stack's configuration: what Pulumi.<stack>.yaml is to other stacks."""
        return self.folder / "Pulumi.local.yaml"

    @property
    def pulumi_home(self) -> Path:
        return self.folder / "pulumi"

    @property
    def backend(self) -> Path:
        return self.folder / "backend"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def daemon_log(self) -> Path:
        """Requests and events of the embedded Fly, which writes it."""
        return self.folder / "daemon.log"

    @property
    def provider(self) -> Path:
        """The offline provider's folder: its key, its pid."""
        return self.folder / "provider"

    @property
    def exists(self) -> bool:
        return self.settings.exists()

    def create(self) -> None:
        """Makes the folders and the passphrase; may be repeated."""
        for folder in (self.folder, self.pulumi_home, self.backend, self.logs, self.provider):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_once(self.passphrase, secrets.token_urlsafe(32))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Only one command changes a stack at a time."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LocalError(
                    f"{self.folder} is in use by another scripts/local command; wait for it, or end it with Ctrl-C"
                ) from None
            yield


def write_once(path: Path, text: str) -> str:
    """The file's text; writes `text` first when there is no file. Readable by the owner only."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return text
