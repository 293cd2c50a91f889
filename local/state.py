"""The state folder of one local stack: where everything lies, and who may hold it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import settings

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_FOLDER = ROOT / ".local"

# Both keeps git from taking the folder, which holds secrets, and tells that the folder is a stack's.
MARKER = ".gitignore"
MARK = "# A local stack of hotdash-llm-gateway; `scripts/local reset` removes it.\n*\n"
# Everything that a stack makes in its folder, and all that `reset` removes. The marker goes last: a reset that was
# cut off can be repeated.
MADE = (
    "Pulumi.local.yaml",
    "Pulumi.local.yaml.new",
    "backend",
    "daemon.log",
    "daemon.log.1",
    "daemon.pid",
    "fly-client",
    "fly.pid.json",  # of a stack made when pids were still recorded here
    "fly.sqlite",
    "fly.sqlite-shm",
    "fly.sqlite-wal",
    "init",
    "logs",
    "machines",
    "passphrase",
    "passphrase.new",
    "provider",
    "pulumi",
    "redis",
    "secrets.json",
    "secrets.json.new",
    "volumes",
    "settings.json.new",
    "settings.json",
    "lock",
    f"{MARKER}.new",
    MARKER,
)


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

    def machine_logs(self) -> dict[str, list[Path]]:
        """Process group → logs of its machines, oldest first; also of machines that are gone."""
        groups: dict[str, list[Path]] = {}
        for path in sorted(self.logs.glob("*/*-*.log"), key=lambda path: path.stat().st_mtime):
            groups.setdefault(path.name.rpartition("-")[0], []).append(path)  # GROUP-ID.log, an id has no dash
        return groups

    @property
    def exists(self) -> bool:
        return self.settings.exists()

    @property
    def is_ours(self) -> bool:
        """Whether a stack made this folder, perhaps only in part. False where there is none."""
        try:
            return (self.folder / MARKER).read_text() == MARK
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
            return self._has_settings

    @property
    def _has_settings(self) -> bool:
        """A file of that name alone proves nothing: other programs have one too."""
        try:
            settings.load(self.folder)
        except (settings.SettingsError, NotADirectoryError):
            return False
        return True

    def check(self) -> None:
        """Raises LocalError when the folder cannot be, or is not, a stack's own. It need not exist."""
        for folder, what in ((Path.home().resolve(), "your home folder"), (ROOT, "the checkout")):
            if folder.is_relative_to(self.folder):
                raise LocalError(f"{self.folder} is {what} or holds it: name a folder of the stack's own with --state")
        if self.folder.exists() and not self.folder.is_dir():
            raise LocalError(f"{self.folder} is no folder: name another one with --state")
        if self.folder.exists() and not self.is_ours and any(self.folder.iterdir()):
            raise LocalError(
                f"{self.folder} holds files and is not a local stack's: name a new or empty folder with --state"
            )

    def claim(self) -> None:
        """Makes the folder, or takes an empty one, for its owner only. Raises LocalError; may be repeated."""
        self.check()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            write_once(self.folder / MARKER, MARK)
        except OSError as error:
            raise LocalError(
                f"{self.folder} cannot be a stack's folder ({error.strerror}): name another one with --state"
            ) from None

    def create(self) -> None:
        """Makes the folders and the passphrase; may be repeated."""
        self.claim()
        for folder in (self.pulumi_home, self.backend, self.logs, self.provider):
            folder.mkdir(mode=0o700, exist_ok=True)
        write_once(self.passphrase, secrets.token_urlsafe(32))

    def wipe(self) -> list[str]:
        """Removes what a stack made, then the folder when nothing else is in it; the names of what else there is.

        Raises LocalError: something cannot be removed.
        """
        try:
            for name in MADE:
                _remove(self.folder / name)
            kept = sorted(path.name for path in self.folder.iterdir())
            if not kept:
                self.folder.rmdir()
        except FileNotFoundError:  # the folder itself
            return []
        except OSError as error:
            raise LocalError(
                f"{error.filename} cannot be removed: {error.strerror}. Mend that, then run `scripts/local reset` again"
            ) from None
        return kept

    @contextmanager
    def held(self) -> Iterator[None]:
        """Only one command changes a stack at a time."""
        self.claim()
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LocalError(
                    f"{self.folder} is in use by another scripts/local command; wait for it, or end it with Ctrl-C"
                ) from None
            yield


def write_once(path: Path, text: str) -> str:
    """The file's text; writes `text` first when there is no file. Whole or not at all; for its owner only."""
    fresh = _write_new(path, text)
    try:
        os.link(fresh, path)
    except FileExistsError:
        return path.read_text()
    finally:
        fresh.unlink()
    return text


def write_private(path: Path, text: str) -> None:
    """Replaces the file, whole or not at all; for its owner only."""
    _write_new(path, text).replace(path)


def _write_new(path: Path, text: str) -> Path:
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # of a writer that died
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return fresh


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
