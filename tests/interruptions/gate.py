"""A gate on loopback between the program and Fly. It names every call, and interrupts one of them when told to.

with running(upstream) as gate:
    gate.arm(call, "after", kill)      # kill() is called when Fly has carried the call out; then the line breaks
    ...                                # a run through gate.url
gate.calls                             # what passed, in order of arrival
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from yarl import URL

from tests.interruptions.calls import Call, Side, name_of, parsed

LARGEST_BODY = 16 * 1024 * 1024
START_S = 10
PASSED_ON = ("authorization", "content-type", "fly-machine-lease-nonce")
LEASE_S = 5  # the program asks for a minute, which every other case would wait for; one case keeps it


@dataclass
class Trap:
    call: Call
    side: Side
    kill: Callable[[], None]


class Gate:
    def __init__(self, upstream: str) -> None:
        self.calls: list[Call] = []
        self.machines: dict[str, str] = {}
        self.short_leases = True
        self.url = ""
        self._upstream = upstream
        self._counts: Counter[str] = Counter()
        self._trap: Trap | None = None

    def begin(self) -> None:
        """Counts a new run. Interrupts nothing."""
        self.calls, self._counts, self._trap = [], Counter(), None

    def arm(self, call: Call, side: Side, kill: Callable[[], None]) -> None:
        self.begin()
        self._trap = Trap(call, side, kill)

    @property
    def sprung(self) -> bool:
        """Whether the armed call has come."""
        return self._trap is None

    async def start(self) -> None:
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        self._client = ClientSession(timeout=ClientTimeout(total=None, sock_connect=START_S))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _pass(self, request: web.Request) -> web.Response:
        sent = await request.read()
        body, path = parsed(sent), request.raw_path.partition("?")[0]
        name = name_of(request.method, path, body, self.machines)
        self._counts[name] += 1
        call = Call(name, self._counts[name])
        self.calls.append(call)
        trap = self._trap if self._trap and self._trap.call == call else None
        if trap:
            self._trap = None
            if trap.side == "before":
                return await self._interrupt(request, trap)
        if self.short_leases and request.method == "POST" and path.endswith("/lease"):
            sent = sent.replace(b'"ttl":60', f'"ttl":{LEASE_S}'.encode())
        try:
            async with self._client.request(
                request.method,
                URL(self._upstream + request.raw_path, encoded=True),
                data=sent or None,
                headers={name: text for name, text in request.headers.items() if name.lower() in PASSED_ON},
            ) as answer:
                data = await answer.read()
        except (ClientError, OSError):
            return _broken_off(request)
        self._learn(path, data)
        if trap:
            return await self._interrupt(request, trap)
        headers = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
        return web.Response(status=answer.status, body=data, headers=headers)

    async def _interrupt(self, request: web.Request, trap: Trap) -> web.Response:
        await asyncio.to_thread(trap.kill)
        return _broken_off(request)

    def _learn(self, path: str, data: bytes) -> None:
        if "/machines" in path:
            answer = parsed(data)
            for found in answer if isinstance(answer, list) else [answer]:
                if isinstance(found, dict) and "instance_id" in found:
                    self.machines[found["id"]] = found["name"]


def _broken_off(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@contextmanager
def running(upstream: str) -> Iterator[Gate]:
    """A Gate in a thread of its own."""
    gate, loop = Gate(upstream), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gate", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(gate.start(), loop).result(START_S)
        yield gate
    finally:
        asyncio.run_coroutine_threadsafe(gate.close(), loop).result(START_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S)
        loop.close()
