"""From a machine's configuration to what the shim is told to run: pure, apart from looking at the host's folders."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.contract import LaunchError, MachineSpec
from local.machines.images import Image
from local.machines.names import GUEST_FOLDER, GUEST_LINK
from local.machines.root import Bind, File, Folder, Link, Root, RootError, host_root
from local.machines.shim import Launch

# Output kept per machine: as much again stands in the file before it, `<log>.1`.
LOG_BYTES = 16 * 1024 * 1024
# Fly's smallest machine, and what a machine without `guest` gets.
DEFAULT_MEMORY_MB = 256
DEFAULT_GROUP = "app"
# Fly's ways to run several programs in one machine.
ONE_PROCESS_ONLY = ("containers", "processes")
ANY_ADDRESS = "::"


def process_group(spec: MachineSpec) -> str:
    """The machine's group as a part of file names: whoever sets metadata must not choose where its log lies."""
    metadata = spec.config.get("metadata") or {}
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(metadata.get("fly_process_group") or DEFAULT_GROUP))


def machine_launch(spec: MachineSpec, image: Image, folder: Path, log: Path, volumes: Path) -> Launch:
    """Raises LaunchError when the configuration asks for something that cannot be."""
    for part in ONE_PROCESS_ONLY:
        if spec.config.get(part):
            raise LaunchError(f"machine {spec.machine_id}: `{part}` is not part of the embedded Fly: use init and env")
    return {
        "name": spec.machine_id,
        "instance_id": spec.instance_id,
        "folder": str(folder),
        "log": str(log),
        "log_bytes": LOG_BYTES,
        "uid": image.uid,
        "root": _root(spec, image, folder, volumes).steps(),
        "argv": [_own_address(word, spec.address) for word in command(spec.config, image)],
        "env": environment(spec, image),
        "cwd": image.workdir,
    }


def command(config: Mapping[str, Any], image: Image) -> list[str]:
    """`init.exec` replaces everything; `entrypoint` and `cmd` replace the image's. A new entrypoint drops no cmd."""
    init = config.get("init") or {}
    if init.get("exec"):
        return list(init["exec"])
    words = [*(init.get("entrypoint") or image.entrypoint), *(init.get("cmd") or image.cmd)]
    if not words:
        raise LaunchError(f"image {config['image']!r} has no command of its own: set init.exec or init.cmd")
    return words


def environment(spec: MachineSpec, image: Image) -> dict[str, str]:
    """The whole environment: nothing else reaches the machine. Secrets win over `env`, Fly's variables over both."""
    guest = spec.config.get("guest") or {}
    env = {
        "HOME": "/root" if image.uid == 0 else "/",
        **image.env,
        **(spec.config.get("env") or {}),
        **spec.secrets,
        "FLY_APP_NAME": spec.app,
        "FLY_MACHINE_ID": spec.machine_id,
        "FLY_ALLOC_ID": spec.machine_id,
        "FLY_MACHINE_VERSION": spec.instance_id,
        "FLY_REGION": spec.region,
        "FLY_PRIVATE_IP": spec.address,
        "FLY_IMAGE_REF": spec.config["image"],
        "FLY_PROCESS_GROUP": process_group(spec),
        "FLY_VM_MEMORY_MB": str(guest.get("memory_mb") or DEFAULT_MEMORY_MB),
    }
    return {name: _own_address(str(value), spec.address) for name, value in env.items()}


def _own_address(word: str, address: str) -> str:
    """Linux has one IPv6 loopback address: "all addresses" becomes the machine's own."""
    return address if word == ANY_ADDRESS else word


def _root(spec: MachineSpec, image: Image, folder: Path, volumes: Path) -> Root:
    try:
        root = host_root(image.uid)
        for path, node in image.root.items():
            root.put(path, node)
        root.put(image.workdir, Folder()) if image.workdir != "/" else None
        root.put("/etc/hostname", File(f"{spec.machine_id}\n".encode()))
        root.put(GUEST_FOLDER, Bind(folder / "names"))
        root.put("/etc/hosts", Link(GUEST_LINK))
        for entry in spec.config.get("files") or []:
            root.put(entry["guest_path"], _file(entry, spec.secrets))
        for mount in spec.config.get("mounts") or []:
            host = volumes / mount["volume"]
            host.mkdir(parents=True, exist_ok=True)
            root.put(mount["path"], Bind(host, writable=True))
    except RootError as error:
        raise LaunchError(f"machine {spec.machine_id}: {error}") from None
    return root


def _file(entry: Mapping[str, Any], secrets: Mapping[str, str]) -> File:
    name = entry.get("secret_name")
    text = entry.get("raw_value")
    place = f"file {entry['guest_path']}"
    if name:
        if name not in secrets:
            raise LaunchError(f"{place}: the app has no secret {name}. Set it, then update the machine.")
        text = secrets[name]
    if text is None:
        raise LaunchError(f"{place}: needs raw_value or secret_name")
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error:
        origin = f"secret {name}" if name else "raw_value"
        raise LaunchError(f"{place}: {origin} is not base64") from None
    return File(content, int(entry.get("mode") or 0o644))
