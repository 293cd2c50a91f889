"""Faults on demand, carried out: one middleware between the rates and the functions behind."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from local.fly import ids, leases
from local.fly.answers import REQUEST_ID, REQUEST_ID_HEADER, answer, refusal
from local.fly.faults import Call, Fault
from local.fly.objects import Lease
from local.fly.world import WORLD

log = logging.getLogger(__name__)

EMBEDDED = "/_embedded/"
TEXT = "fault on demand"
ANOTHER_CLIENT = "another-client"
PAGE = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
NOT_ANSWERED = 499  # only for the log: as web servers write it when the connection went first
# Closing with this resets the connection: no data is kept back for the other side.
NO_LINGER = struct.pack("ii", 1, 0)

Response = web.StreamResponse


class InapplicableError(Exception):
    """The call is not one that this fault can happen to; it waits for the next."""


@web.middleware
async def faulty(request: web.Request, handler: Handler) -> Response:
    if request.path.startswith(EMBEDDED):
        return await handler(request)
    world = request.app[WORLD]
    call = await world.calls.begin(request)
    faults = world.faults.of_call(call)
    response = await _carried_out(request, handler, call, faults)
    call.status = response.status if isinstance(response, web.Response) and not isinstance(response, Cut) else None
    return response


async def _carried_out(request: web.Request, handler: Handler, call: Call, faults: list[Fault]) -> Response:
    """A fault that ends the call leaves the others for the next one."""
    waiting = [*(f for f in faults if f.moment == "before"), *(f for f in faults if f.moment == "after")]
    response: Response | None = None
    while waiting:
        fault = waiting.pop(0)
        if fault.moment == "after" and response is None:
            response = await answer(request, handler)
        try:
            changed = await EFFECTS[fault.rule.kind](request, handler, fault, response)
        except InapplicableError:
            fault.release()
            continue
        call.faults.append(fault.rule.kind)
        log.info(
            "%s: fault %d, %s %s call %d", request[REQUEST_ID], fault.id, fault.rule.kind, fault.moment, call.number
        )
        if changed is not None and (fault.moment == "before" or isinstance(changed, Cut)):
            for other in waiting:
                other.release()
            return changed
        response = response if changed is None else changed
    return await answer(request, handler) if response is None else response


class Cut(web.Response):
    """Stands for an answer that was not, or not wholly, sent: there is nobody to send it to."""


async def refuse(request: web.Request, *_: Any) -> Response:
    await request.read()  # bytes left unread would make a reset of it
    if request.transport is not None:
        request.transport.close()
    return Cut(status=NOT_ANSWERED)


async def reset(request: web.Request, *_: Any) -> Response:
    await request.read()
    if request.transport is not None:
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        request.transport.abort()
    return Cut(status=NOT_ANSWERED)


async def truncate(request: web.Request, _: Handler, __: Fault, response: Response | None) -> Response:
    """Half of the body, or of the head where there is no body."""
    if not isinstance(response, web.Response):
        raise InapplicableError
    body = response.body if isinstance(response.body, bytes) else b""
    head = f"HTTP/1.1 {response.status} {response.reason}\r\n"
    if body:
        head += f"Content-Type: {response.content_type}\r\nContent-Length: {len(body)}\r\n"
        head += f"{REQUEST_ID_HEADER}: {request[REQUEST_ID]}\r\n\r\n"
    if request.transport is not None:
        request.transport.write(head.encode() + body[: len(body) // 2])
        request.transport.close()
    return Cut(status=NOT_ANSWERED)


async def crash(*_: Any) -> Response:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


async def error(_: web.Request, __: Handler, fault: Fault, *___: Any) -> Response:
    return refusal(fault.rule.status or 500, TEXT)


async def timeout(*_: Any) -> Response:
    return refusal(408, f"{TEXT}: request timed out")


async def rate_limit(_: web.Request, __: Handler, fault: Fault, *___: Any) -> Response:
    response = refusal(429, f"{TEXT}: rate limit exceeded")
    if fault.rule.seconds is not None:
        response.headers["Retry-After"] = f"{fault.rule.seconds:.0f}"
    return response


async def html(_: web.Request, __: Handler, fault: Fault, *___: Any) -> Response:
    return web.Response(status=fault.rule.status or 200, text=PAGE, content_type="text/html")


async def delay(_: web.Request, __: Handler, fault: Fault, *___: Any) -> None:
    await asyncio.sleep(fault.rule.seconds or 0)


async def insufficient_capacity(request: web.Request, *_: Any) -> Response:
    region = (await _body(request)).get("region") or request.app[WORLD].settings.region
    return refusal(422, f"{TEXT}: region {region} has no capacity for this machine", "insufficient_capacity")


async def slow_secrets(request: web.Request, *_: Any) -> Response:
    wanted = (await _body(request)).get("min_secrets_version")
    if wanted is None:
        raise InapplicableError
    return refusal(412, f"{TEXT}: secrets of app {request.match_info['app']} are not yet at version {wanted}")


async def lease_held(request: web.Request, _: Handler, fault: Fault, *__: Any) -> None:
    world = request.app[WORLD]
    machine = world.store.machines.get(request.match_info.get("machine", ""))
    if machine is None or leases.current(machine, time.time()) is not None:
        raise InapplicableError
    ttl_s = leases.DEFAULT_TTL_S if fault.rule.seconds is None else fault.rule.seconds
    machine.lease = Lease(ids.lease_nonce(), ANOTHER_CLIENT, TEXT, time.time() + ttl_s)
    world.store.machines.put(machine)


async def name_taken(request: web.Request, *_: Any) -> None:
    world, name = request.app[WORLD], (await _body(request)).get("name")
    if not isinstance(name, str) or name in world.store.apps:
        raise InapplicableError
    world.faults.taken.add(name)


async def made_meanwhile(request: web.Request, handler: Handler, *_: Any) -> None:
    if (await answer(request, handler)).status >= 400:
        raise InapplicableError


async def _body(request: web.Request) -> dict[str, Any]:
    """Empty for what is no object: the function behind says so."""
    try:
        sent = json.loads(await request.read() or b"{}")
    except ValueError:
        return {}
    return sent if isinstance(sent, dict) else {}


# What is returned takes the place of the answer; before the call is carried out, it ends it.
Effect = Callable[[web.Request, Handler, Fault, Response | None], Awaitable[Response | None]]
EFFECTS: dict[str, Effect] = {
    effect.__name__: effect
    for effect in (
        refuse,
        reset,
        truncate,
        crash,
        error,
        timeout,
        rate_limit,
        html,
        delay,
        insufficient_capacity,
        slow_secrets,
        lease_held,
        name_taken,
        made_meanwhile,
    )
}
