"""WebSockets through Fly Proxy: one to the client, one to the machine, messages passed on as they are."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from local.contract import Backend
from local.proxy.forward import BrokenError, RefusedError, url_of
from local.proxy.headers import Arrival, to_machine

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


def wants_websocket(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def forward_websocket(
    session: aiohttp.ClientSession, request: web.BaseRequest, backend: Backend, arrival: Arrival
) -> web.StreamResponse:
    """Raises RefusedError or BrokenError before the client's handshake is answered."""
    headers = to_machine(request.headers, arrival)
    offered = ",".join(headers.popall("Sec-WebSocket-Protocol", []))
    protocols = [name.strip() for name in offered.split(",") if name]
    for name in ("Key", "Version", "Extensions"):  # each of the two connections has its own
        headers.popall(f"Sec-WebSocket-{name}", None)
    try:
        machine = await session.ws_connect(
            url_of(request, backend),
            headers=headers,
            protocols=protocols,
            autoping=False,
            autoclose=False,
            max_msg_size=0,
        )
    except aiohttp.WSServerHandshakeError as error:
        # aiohttp keeps no body of a refused handshake.
        return web.Response(status=error.status, headers={"Fly-Request-Id": arrival.request_id})
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise RefusedError(str(error)) from None
    except aiohttp.ClientError as error:
        raise BrokenError(f"broke off the WebSocket handshake: {error}") from None
    async with machine:
        client = web.WebSocketResponse(
            protocols=[machine.protocol] if machine.protocol else (), autoping=False, autoclose=False, max_msg_size=0
        )
        client.headers.update({"Fly-Request-Id": arrival.request_id})
        await client.prepare(request)
        await _join(client, machine)
    return client


async def _join(client: Socket, machine: Socket) -> None:
    """Passes messages both ways until one side closes."""
    ways = [asyncio.create_task(_pass_on(client, machine)), asyncio.create_task(_pass_on(machine, client))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pass_on(source: Socket, target: Socket) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.PING:
            await target.ping(message.data)
        elif message.type is aiohttp.WSMsgType.PONG:
            await target.pong(message.data)
    await target.close(code=source.close_code or aiohttp.WSCloseCode.GOING_AWAY)
