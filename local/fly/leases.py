"""Leases: one client at a time may change a machine. Decided here, kept in the machine."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from local.fly import ids
from local.fly.errors import ApiError
from local.fly.objects import Lease, Machine
from local.fly.times import rfc3339

NONCE_HEADER = "fly-machine-lease-nonce"
# Where a client names none. Fly does not say its figure.
DEFAULT_TTL_S = 30
# Fly names no limit either: what a 32-bit number of seconds holds, which its own client would send.
LONGEST_TTL_S = 2**31 - 1
Ttl = Annotated[int, Field(ge=1, le=LONGEST_TTL_S)]


def current(machine: Machine, now: float) -> Lease | None:
    """The lease that holds now, if one does."""
    return machine.lease if machine.lease is not None and machine.lease.expires_at > now else None


def check(machine: Machine, nonce: str | None, now: float) -> None:
    """Raises ApiError 409 when somebody else holds the machine, or when the caller's own lease has run out."""
    lease = current(machine, now)
    if lease is None:
        if nonce:
            raise ApiError(409, f"machine {machine.id} has no lease with this nonce any more")
    elif nonce != lease.nonce:
        raise ApiError(
            409,
            f"machine {machine.id}: the lease is held by {lease.owner}, expires at {rfc3339(lease.expires_at)}",
        )


def take(machine: Machine, nonce: str | None, now: float, *, owner: str, description: str, ttl_s: int) -> bool:
    """Takes the lease or lengthens one's own: true for a new one. Raises ApiError 409 when somebody else has it."""
    lease = current(machine, now)
    if lease is None:
        machine.lease = Lease(ids.lease_nonce(), owner, description, now + ttl_s)
        return True
    check(machine, nonce, now)
    lease.expires_at = now + ttl_s
    return False


def release(machine: Machine, nonce: str | None, now: float) -> None:
    """Raises ApiError: 404 without a lease, 409 when it is another one."""
    held(machine, now)
    check(machine, nonce, now)
    machine.lease = None


def held(machine: Machine, now: float) -> Lease:
    """Raises ApiError 404 without a lease."""
    lease = current(machine, now)
    if lease is None:
        raise ApiError(404, f"machine {machine.id} has no lease")
    return lease


def view(lease: Lease, machine: Machine) -> dict[str, Any]:
    """As Fly's server sends it: wrapped, unlike its description."""
    data = {**stripped(lease), "nonce": lease.nonce, "version": machine.instance_id}
    return {"status": "success", "data": data}


def stripped(lease: Lease) -> dict[str, Any]:
    """Without what would let the reader use it."""
    return {"expires_at": int(lease.expires_at), "owner": lease.owner, "description": lease.description}
