"""Names of the private network: each stands for the started machines it names, healthy or not."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from local.fly.objects import Machine
from local.fly.world import World

LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
Names = dict[str, list[str]]


def private_names(world: World) -> Names:
    """Every private name of the organization and its loopback addresses."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for machine in world.store.machines:
        if machine.state == "started":
            for name in _of_machine(machine, world.config(machine)):
                names[name].append(machine.address)
    for address in world.store.addresses:
        if address.type == "private_v6":
            names[f"{address.app}.flycast"] = [world.flycast_address]
    for redis in world.store.databases:
        names[redis_host(redis.name)] = [redis.address]
    return {name: sorted(names[name]) for name in sorted(names)}


def redis_host(database: str) -> str:
    return f"fly-{database}.upstash.io"


def _of_machine(machine: Machine, config: dict[str, object]) -> Iterator[str]:
    zone = f"{machine.app}.internal"
    yield f"{machine.id}.vm.{zone}"
    dns = config.get("dns")
    if isinstance(dns, dict) and dns.get("skip_registration"):
        return
    yield zone
    yield f"{machine.region}.{zone}"
    metadata = config.get("metadata")
    group = metadata.get("fly_process_group") if isinstance(metadata, dict) else None
    if isinstance(group, str) and LABEL.fullmatch(group):  # anything else is no name, and could write lines of its own
        yield f"{group}.process.{zone}"
