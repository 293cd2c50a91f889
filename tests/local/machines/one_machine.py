"""A program of its own: runs one machine in the state folder given, prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from local.contract import LaunchError, MachineSpec
from local.machines import names
from local.machines.images import embedded_python
from local.machines.launch import machine_launch
from local.machines.supervised import Supervised

CONFIG = {
    "image": "embedded/python",
    "init": {"exec": ["sh", "-c", "id -u; exec sleep 1000"]},
    "files": [{"guest_path": "/etc/own/file", "raw_value": "b3du", "mode": 0o600}],
    "mounts": [{"volume": "vol_1", "path": "/data"}],
}


async def main(state: Path) -> dict[str, object]:
    folder, log = state / "machines" / "m1", state / "logs" / "m1.log"
    names.publish(folder / "names", "127.0.0.1 localhost\n")
    spec = MachineSpec("shop", "m1", "v1", "web-1", "ord", "127.250.0.1", CONFIG)
    try:
        running = await Supervised.launch(machine_launch(spec, embedded_python(), folder, log, state / "volumes"))
    except LaunchError as error:
        return {"error": str(error)}
    command = ["sh", "-c", "cat /etc/own/file; touch /data/kept; id -u"]
    inside = await running.execute({"argv": command, "env": {"PATH": "/usr/bin:/bin"}, "cwd": "/"}, "", 10)
    end = await running.stop("SIGTERM", 10)
    return {"log": log.read_text().split()[1:], "inside": asdict(inside), "end": end}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
