"""`python -m local.provider`: starts the offline OpenAI-compatible provider on loopback."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from local.provider import faults
from local.provider.server import Provider

KEY_VARIABLE = "PROVIDER_KEY"
GRACE_S = 5.0  # how long answers may take to finish after a request to stop

_ABOUT = """\
An OpenAI-compatible provider that needs no network: chat (streaming, tools, structured answers),
embeddings with real meaning, models. Answers are deterministic and say which model gave them.
It listens on 127.0.0.1 only.

The key it accepts comes from --key-file or from the environment variable PROVIDER_KEY, never from
an argument.
"""


async def serve(key: str, port: int) -> None:
    runner = Provider(key).runner()
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=GRACE_S)
    await site.start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logging.info("listening on http://127.0.0.1:%s/v1", runner.addresses[0][1])
    await stop.wait()
    await runner.cleanup()


def read_key(key_file: Path | None) -> str:
    """Raises SystemExit with a sentence when there is no key."""
    if key_file is None:
        key = os.environ.get(KEY_VARIABLE, "")
        where = f"the environment variable {KEY_VARIABLE}"
    else:
        where = str(key_file)
        try:
            key = key_file.read_text()
        except OSError as e:
            raise SystemExit(f"The provider's key cannot be read from {key_file}: {e.strerror}.") from e
    if not key.strip():
        raise SystemExit(f"The provider has no key: {where} is empty. Put the key there, or name a --key-file.")
    return key.strip()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m local.provider",
        description=_ABOUT,
        epilog=faults.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 chooses a free one and prints it")
    parser.add_argument("--key-file", type=Path, help="file that holds the key clients must send")
    arguments = parser.parse_args()
    key = read_key(arguments.key_file)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    try:
        asyncio.run(serve(key, arguments.port))
    except OSError as e:
        raise SystemExit(f"The provider cannot listen on 127.0.0.1:{arguments.port}: {e.strerror}.") from e


if __name__ == "__main__":
    main()
