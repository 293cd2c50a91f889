"""What a machine's health checks say, to whoever asks the API and to Fly Proxy."""

from __future__ import annotations

from dataclasses import replace

from local.contract import Check, Platform
from local.fly.objects import Machine
from local.fly.world import World


def checks(world: World, platform: Platform, machine: Machine) -> list[Check]:
    """Only a started machine has any."""
    found = platform.checks(machine.id) if machine.state == "started" else []
    if found and world.faults.holds("check_fails", *world.names(machine)):
        return [replace(check, status="critical", output="fault on demand: never passes") for check in found]
    return found
