"""The machines of one process group, rolled one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions

from components.fly.machine import Machine
from components.fly.readiness import MachineReady
from components.settings import Group


class MachineGroup(pulumi.ComponentResource):
    """`count` machines with one configuration; machine n+1 changes only when machine n is ready.

    So at most one machine of the group is away at a time, and a release that does not become ready stops at
    the first machine, with the others still serving the old one.
    """

    machines: Sequence[Machine]
    ready: Sequence[MachineReady]

    def __init__(
        self,
        name: str,
        *,
        app: Input[str],
        region: str,
        group: Group,
        image: str,
        config: Mapping[str, Any],
        min_secrets_version: Input[int] | None = None,
        readiness_timeout_s: int,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("gateway:machines:MachineGroup", name, None, opts)
        self.machines, self.ready = [], []
        for number in range(1, group.count + 1):
            machine = Machine(
                f"{name}-{number}",
                app=app,
                name=f"{name}-{number}",
                region=region,
                group=name,
                config={**config, "image": image, "guest": _guest(group)},
                min_secrets_version=min_secrets_version,
                opts=ResourceOptions(parent=self, depends_on=self.ready[-1:]),
            )
            ready = MachineReady(
                f"{name}-{number}-ready",
                app=app,
                machine_id=machine.machine_id,
                config_hash=machine.config_hash,
                deadline_s=readiness_timeout_s,
                opts=ResourceOptions(parent=self),
            )
            self.machines.append(machine)
            self.ready.append(ready)
        self.register_outputs({})

    @property
    def summary(self) -> Output[list[dict[str, str]]]:
        """Name and id of each machine, for the stack's outputs."""
        return Output.all(*(Output.all(name=machine.name, id=machine.machine_id) for machine in self.machines)).apply(
            lambda machines: [dict(machine) for machine in machines]
        )


def _guest(group: Group) -> dict[str, Any]:
    return {"cpu_kind": group.cpu_kind, "cpus": group.cpus, "memory_mb": group.memory_mb}
