"""`pulumi-resource-pulumi-python`: Pulumi's own provider for dynamic resources, with an end.

Left alone, that one serves on when its engine was killed, and with it whatever operation it was in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from toolchain.plugins import engine, groups


def main(arguments: Sequence[str]) -> None:
    """`SCRIPT [arguments of the engine]`: Pulumi's script, which starts the provider in the program's environment."""
    ended = engine.ended()
    running = groups.Groups()
    # Its output is the engine's to read: first the port, then what providers print.
    provider = running.start(arguments, cwd=None, env=os.environ)

    def stop() -> None:
        ended.wait()
        running.stop()

    threading.Thread(target=stop, daemon=True).start()
    code = running.wait(provider)
    os._exit(0 if ended.is_set() else code)
