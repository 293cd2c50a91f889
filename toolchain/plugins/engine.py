"""How a plugin hears of its engine's end. No gRPC here: not every plugin needs it, and it takes 0.1 s to import."""

from __future__ import annotations

import os
import signal
import sys
import threading


def ended() -> threading.Event:
    """An event that is set when this process has to go.

    The engine interrupts plugins at the end of each operation. And it holds their standard input open while it
    lives, without ever writing to it: end of file there means that it died.
    """
    event = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: event.set())
    threading.Thread(target=_wait_for_end_of_input, args=(event,), daemon=True).start()
    return event


def _wait_for_end_of_input(event: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    event.set()
