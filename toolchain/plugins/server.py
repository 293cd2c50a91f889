"""A plugin's gRPC server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from toolchain.plugins import engine

THREADS = 64
"""Operations at once. The engine asks for four per core; a Command holds its thread for as long as it runs."""
MESSAGE_LIMIT = 400 * 1024 * 1024
"""The engine's own limit, in bytes."""


def serve(register: Callable[[grpc.Server], None], stop: Callable[[], None]) -> None:
    """Serves until the engine ends this process or is gone, then calls `stop` and leaves."""
    ended = engine.ended()
    options = [("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT)]
    server = grpc.server(ThreadPoolExecutor(THREADS), options=options)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)  # noqa: T201 - the protocol: the first line of a plugin is its port

    ended.wait()
    stop()
    server.stop(grace=None)
    sys.stdout.flush()
    # Not `sys.exit`: that waits for threads, and one may hold a call whose engine is gone.
    os._exit(0)
