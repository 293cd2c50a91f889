"""Two gateway machines behind the edge, one killed under load."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.end_to_end.local import CHAT, DEFAULTS, Local

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("stack")]

CLIENTS = 6
REQUESTS = 120
KILL_AFTER = 30
GONE_WITHIN_S = 10


@pytest.fixture
def two_machines(local: Local) -> Iterator[Local]:
    groups, teams = DEFAULTS["groups"], DEFAULTS["teams"]
    local.configure("groups", groups | {"gateway": groups["gateway"] | {"count": 2}})
    local.configure("teams", teams | {"admin": teams["admin"] | {"requestsPerMinute": 100_000}})
    try:
        local.pulumi("up", "--yes", "--skip-preview")
        yield local
    finally:
        local.configure("groups", None)
        local.configure("teams", None)
        local.pulumi("up", "--yes", "--skip-preview")


BROKEN = 0


async def ask(http: httpx.AsyncClient, key: str) -> int:
    """The answer's status; BROKEN when the connection ended before the answer did."""
    try:
        answer = await http.post("/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, json=CHAT)
    except httpx.TransportError:
        return BROKEN
    return answer.status_code


async def test_a_killed_machine_costs_no_request_beyond_those_in_its_hands(two_machines: Local) -> None:
    key = two_machines.status()["teams"]["admin"]
    victim, survivor = two_machines.machines("gateway")
    answered: Counter[int] = Counter()
    failed_after_kill = 0
    killed = asyncio.Event()

    async def client(http: httpx.AsyncClient, share: int) -> None:
        nonlocal failed_after_kill
        for _ in range(share):
            began_after = killed.is_set()
            status = await ask(http, key)
            answered[status] += 1
            if began_after and status != httpx.codes.OK:
                failed_after_kill += 1
            if answered.total() == KILL_AFTER:
                process = psutil.Process(victim["pid"])
                process.kill()
                # Until the kernel has closed its socket, the dying machine still takes requests into its hands.
                await asyncio.to_thread(process.wait, GONE_WITHIN_S)
                killed.set()

    async with httpx.AsyncClient(base_url=two_machines.gateway_url, timeout=60) as http:
        await asyncio.gather(*(client(http, REQUESTS // CLIENTS) for _ in range(CLIENTS)))

    assert killed.is_set()
    assert failed_after_kill == 0, "the edge goes to the other machine"
    assert answered[200] >= REQUESTS - CLIENTS, f"at most one request per client was in its hands: {answered}"
    assert survivor["pid"] in [machine["pid"] for machine in two_machines.machines("gateway")]
