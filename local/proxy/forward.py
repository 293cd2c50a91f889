"""One HTTP request to one machine: both bodies as they come, nothing kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web
from yarl import URL

from local.contract import Backend
from local.proxy.headers import Arrival, to_client, to_machine

# Loopback answers at once or not at all; a machine with a full backlog does not.
CONNECT_TIMEOUT_S = 5.0


class RefusedError(Exception):
    """The machine did not take the connection: nothing of the request was sent."""


class BrokenError(Exception):
    """The machine took the request and gave no answer."""


def open_session(max_header_bytes: int) -> aiohttp.ClientSession:
    """No connection to a machine is used twice: a kept one may be closing just when a request is put on it, and that
    request could not be repeated. Opening one on loopback costs a fraction of a millisecond."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        auto_decompress=False,
        max_line_size=max_header_bytes,
        max_field_size=max_header_bytes,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )


async def forward(
    session: aiohttp.ClientSession, request: web.BaseRequest, backend: Backend, arrival: Arrival
) -> web.StreamResponse:
    """Raises RefusedError or BrokenError while the client has seen nothing; later it cuts the client off."""
    response: web.StreamResponse | None = None
    try:
        async with (
            asyncio.timeout(backend.idle_timeout_s) as idle,
            session.request(
                request.method,
                url_of(request, backend),
                headers=to_machine(request.headers, arrival),
                data=_body(request, lambda: _extend(idle, backend)) if request.can_read_body else None,
                allow_redirects=False,
            ) as answer,
        ):
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=to_client(answer.headers, arrival.request_id)
            )
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                _extend(idle, backend)
                await response.write(chunk)
            await response.write_eof()
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise RefusedError(f"{backend.address}:{backend.internal_port}: {error}") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        if response is None:
            nothing_moved = f"nothing moved for {backend.idle_timeout_s:g} s"
            raise BrokenError(nothing_moved if isinstance(error, TimeoutError) else f"broke off: {error}") from None
        # Half an answer must not look like a whole one.
        if request.transport is not None:
            request.transport.abort()
    return response


def url_of(request: web.BaseRequest, backend: Backend) -> URL:
    """The request's path and query exactly as they came."""
    return URL(f"http://{backend.address}:{backend.internal_port}{request.rel_url.raw_path_qs}", encoded=True)


async def _body(request: web.BaseRequest, moved: Callable[[], None]) -> AsyncIterator[bytes]:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async for chunk in request.content.iter_any():
        moved()
        yield chunk


def _extend(idle: asyncio.Timeout, backend: Backend) -> None:
    idle.reschedule(asyncio.get_running_loop().time() + backend.idle_timeout_s)
