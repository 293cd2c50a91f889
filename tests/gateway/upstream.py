"""A tiny server that stands where a group's machine would: says who it is and what it received.

`python -m tests.gateway.upstream NAME ADDRESS PORT`. Any POST is answered with JSON about itself, after
`x-delay-ms`; `/busy` is answered while one waits. `/stream` sends one event, then waits for `/release` before it
sends the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys

from aiohttp import web

MOST_BODY_BYTES = 64 * 1024 * 1024


def app(name: str) -> web.Application:
    released = asyncio.Event()
    received = asyncio.Event()

    async def echo(request: web.Request) -> web.Response:
        body = await request.read()
        received.set()
        await asyncio.sleep(float(request.headers.get("x-delay-ms", "0")) / 1000)
        return web.json_response(
            {
                "upstream": name,
                "path": request.path_qs,
                "headers": dict(request.headers),
                "bytes": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
            },
            headers={"server": "tiny", "x-powered-by": "tests"},
        )

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await released.wait()
        await response.write(b"data: 2\n\n")
        return response

    async def release(_request: web.Request) -> web.Response:
        released.set()
        return web.Response()

    async def busy(_request: web.Request) -> web.Response:
        await received.wait()
        return web.Response()

    async def ready(_request: web.Request) -> web.Response:
        return web.Response()

    application = web.Application(client_max_size=MOST_BODY_BYTES)
    application.router.add_get("/ready", ready)
    application.router.add_get("/busy", busy)
    application.router.add_get("/stream", stream)
    application.router.add_post("/release", release)
    application.router.add_post("/{path:.*}", echo)
    return application


if __name__ == "__main__":
    web.run_app(app(sys.argv[1]), host=sys.argv[2], port=int(sys.argv[3]), print=None, access_log=None)
