"""How a plugin lives: it prints its port, serves the engine, and is gone as soon as the engine is."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

THREADS = 64
"""Operations at once. The engine asks for four per core; a Command holds its thread for as long as it runs."""
MESSAGE_LIMIT = 400 * 1024 * 1024
"""The engine's own limit, in bytes."""


def serve(register: Callable[[grpc.Server], None], stop: Callable[[], None]) -> None:
    """Serves until the engine ends this process or is gone, then calls `stop` and leaves.

    The engine interrupts plugins at the end of each operation, holds their standard input open while it lives,
    and never writes to it: end of file there means that it died.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=_wait_for_end_of_input, args=(ended,), daemon=True).start()

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


def _wait_for_end_of_input(ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    ended.set()
