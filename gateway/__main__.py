"""`python -m gateway`: serves the gateway's application on one port, IPv6 and IPv4 alike.

uvicorn's own command line cannot: its `--host ::` refuses IPv4, while on Fly the private network is IPv6 and the
platform itself reaches a machine over IPv4.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import time

import uvicorn  # type: ignore[import-not-found,unused-ignore] # comes with LiteLLM, is not where types are checked

BACKLOG = 2048  # connections that wait while LiteLLM has the processor
# A machine that is told to stop still has its name in the edge's memory (2 s): it goes on taking connections for
# a little longer. Closing at once would reset those that wait to be accepted.
LAME_DUCK_S = 3.0
LAME_DUCK_STEP_S = 0.1
FAILED_START = 3  # uvicorn's own exit code for it


class Server(uvicorn.Server):  # type: ignore[misc,unused-ignore] # as above
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            # A task of LiteLLM that is cancelled this early can swallow it; its end would be waited for forever.
            if not self.started:
                logging.shutdown()
                os._exit(FAILED_START)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        until = time.monotonic() + LAME_DUCK_S
        while time.monotonic() < until and not self.force_exit:  # noqa: ASYNC110 - uvicorn's flag is no event
            await asyncio.sleep(LAME_DUCK_STEP_S)
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """`::` means every address of both families. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway", description="The gateway in front of LiteLLM.")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--drain-s", type=int, required=True, help="seconds that running answers may take once it has to stop"
    )
    arguments = parser.parse_args()

    from gateway.entry import app  # noqa: PLC0415 - imports LiteLLM: not for --help

    config = uvicorn.Config(
        app,
        lifespan="on",  # "auto" takes a start that raised for an application without one, and serves
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=arguments.drain_s,
    )
    try:
        listener = listen(arguments.host, arguments.port)
    except OSError as e:
        raise SystemExit(f"The gateway cannot listen on {arguments.host} port {arguments.port}: {e.strerror}.") from e
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
