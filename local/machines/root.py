"""What a machine's root looks like: decided here as a tree, carried out by the shim as a list of steps.

Most of the tree shows the host's folders read-only. A folder of the host is made anew, entry by entry, only where a
guest path leads through it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from local.machines.shim import Step

# Linux gives up on a path after as many symbolic links.
LINKS_FOLLOWED = 40


class RootError(Exception):
    """A guest path that cannot be made. The text is for the user."""


@dataclass
class Folder:
    entries: dict[str, Node] = field(default_factory=dict)
    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class File:
    content: bytes = field(repr=False)
    mode: int = 0o644


@dataclass(frozen=True)
class Bind:
    """A file or folder of the host, seen at a guest path."""

    host: Path
    writable: bool = False


Node = Folder | Link | File | Bind


class Root:
    """A tree of nodes by guest path. Paths are absolute; links are followed as the machine would."""

    def __init__(self) -> None:
        self._top = Folder()

    def put(self, path: str, node: Node) -> None:
        """Places `node`, in place of what stood there. Raises RootError for a path that cannot be."""
        if not path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise RootError(f"guest path {path!r}: must be absolute and without '..'")
        parent, name = self._folder_of(path)
        if isinstance(node, Folder) and isinstance(parent.entries.get(name), Folder | Bind):
            return  # a folder is there already, with what it holds
        parent.entries[name] = node

    def steps(self) -> list[Step]:
        return list(_steps("", self._top))

    def _folder_of(self, path: str) -> tuple[Folder, str]:
        parts = list(PurePosixPath(path).parts[1:])
        if not parts:
            raise RootError(f"guest path {path!r}: the root itself cannot be replaced")
        folder, here, links = self._top, PurePosixPath("/"), 0
        while len(parts) > 1:
            name = parts.pop(0)
            node = folder.entries.setdefault(name, Folder())
            if isinstance(node, Link):
                links += 1
                if links > LINKS_FOLLOWED:
                    raise RootError(f"guest path {path!r}: too many symbolic links")
                target = os.path.normpath(here / node.target)
                parts = [*PurePosixPath(target).parts[1:], *parts]
                folder, here = self._top, PurePosixPath("/")
                continue
            if isinstance(node, Bind) and node.host.is_dir():
                node = folder.entries[name] = _copy_of(node)
            if not isinstance(node, Folder):
                raise RootError(f"guest path {path!r}: {here / name} is a file")
            folder, here = node, here / name
        return folder, parts[0]


def _copy_of(bind: Bind) -> Folder:
    """The same folder, made anew: its entries one by one."""
    if bind.writable:
        raise RootError(f"guest path inside the volume {bind.host}: a volume cannot hold files of the machine")
    folder = Folder()
    for entry in os.scandir(bind.host):
        path = Path(entry.path)
        folder.entries[entry.name] = Link(str(path.readlink())) if entry.is_symlink() else Bind(path)
    return folder


def _steps(path: str, folder: Folder) -> Iterator[Step]:
    for name, node in folder.entries.items():
        place = f"{path}/{name}"
        if isinstance(node, Folder):
            yield ("dir", place, node.mode)
            yield from _steps(place, node)
        elif isinstance(node, Link):
            yield ("link", place, node.target)
        elif isinstance(node, File):
            yield ("file", place, base64.b64encode(node.content).decode(), node.mode)
        else:
            yield ("bind", place, str(node.host), node.writable)


# Programs and libraries, and what they read to work at all. Nothing of the host's /home, /root, /var, /run, /tmp.
HOST_FOLDERS = ("/usr", "/nix", "/sys")
HOST_USR_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
HOST_ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "gai.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "os-release",
    "pki",
    "protocols",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)
HOST_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
OWN_FOLDERS = {"/root": 0o700, "/home": 0o755, "/run": 0o755, "/tmp": 0o1777, "/var": 0o755, "/var/tmp": 0o1777}  # noqa: S108 - the guest's


def host_root(uid: int) -> Root:
    """The root every machine starts from: what Linux programs expect, without anything of the operator's."""
    root = Root()
    for path, mode in OWN_FOLDERS.items():
        root.put(path, Folder(mode=mode))
    root.put("/var/run", Link("/run"))
    for path in (*HOST_FOLDERS, *HOST_USR_LINKS):
        _show(root, Path(path))
    for name in HOST_ETC:
        _show(root, Path("/etc", name))
    root.put("/etc/passwd", File(_passwd(uid)))
    root.put("/etc/group", File(b"root:x:0:\nnogroup:x:65534:\n"))
    # Without this the C library takes only the first address of a name.
    root.put("/etc/host.conf", File(b"multi on\n"))
    # The host's own file may send every name to a daemon that is not there.
    root.put("/etc/nsswitch.conf", File(b"passwd: files\ngroup: files\nhosts: files dns\n"))
    root.put("/etc/resolv.conf", File(_content("/etc/resolv.conf")))
    for name in HOST_DEVICES:
        root.put(f"/dev/{name}", Bind(Path("/dev", name), writable=True))
    for name, target in DEVICE_LINKS.items():
        root.put(f"/dev/{name}", Link(target))
    root.put("/dev/shm", Folder(mode=0o1777))  # noqa: S108 - the guest's
    return root


def _show(root: Root, host: Path) -> None:
    """The same path in the machine as on the host, if the host has it."""
    if host.is_symlink():
        root.put(str(host), Link(str(host.readlink())))
    elif host.exists():
        root.put(str(host), Bind(host))


def _content(path: str) -> bytes:
    """The host may keep the file behind a link into folders the machine does not see."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _passwd(uid: int) -> bytes:
    users = ["root:x:0:0:root:/root:/bin/sh", "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin"]
    if uid not in (0, 65534):
        users.insert(1, f"app:x:{uid}:{uid}:app:/:/bin/sh")
    return "".join(user + "\n" for user in users).encode()
