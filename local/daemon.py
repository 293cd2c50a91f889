"""One embedded Fly.io: the API, the platform and Fly Proxy on one event loop, `python -m local.daemon --state DIR`.

It is ready when `GET /_embedded/status` answers. SIGTERM and SIGINT end it and leave machines and databases to the
next daemon; `POST /_embedded/stop {"everything": true}` ends those too.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from aiohttp import web

from local.contract import Platform, PlatformEvents
from local.fly.databases import Databases
from local.fly.embedded import STOP
from local.fly.lifecycle import Lifecycle
from local.fly.routing import MachineRoutes
from local.fly.server import make_app
from local.fly.store import Store
from local.fly.world import World
from local.machines.platform import ProcessPlatform
from local.proxy.server import FlyProxy
from local.settings import Settings, SettingsError, load

log = logging.getLogger("local.daemon")

LOOPBACK = "127.0.0.1"
PID_FILE = "daemon.pid"
LOG_FILE = "daemon.log"
LOG_BYTES = 16 * 1024 * 1024  # and as much again in the file before it
STORE_FILE = "fly.sqlite"
# Requests in progress when the daemon ends, such as a wait of 60 s, are cut off after this.
CLOSE_TIMEOUT_S = 0.5

MakePlatform = Callable[[PlatformEvents], Platform]


class AlreadyRunningError(Exception):
    """Another daemon works on this state folder."""


async def run(state: Path, settings: Settings, stop: asyncio.Future[bool]) -> None:
    """Serves until `stop` is set: true ends machines and databases too. Raises OSError when a port is taken."""
    async with _api(state, settings, stop, lambda events: ProcessPlatform(state, events)) as (world, lifecycle):
        proxy = FlyProxy(MachineRoutes(world, lifecycle.platform), region=settings.region)
        await proxy.start()
        try:
            for hostname, port in settings.hostnames.items():
                await proxy.listen(port, hostname)
            if settings.proxy_port is not None:
                await proxy.listen(settings.proxy_port)
            log.info("ready on %s:%d", LOOPBACK, settings.api_port)
            await asyncio.shield(stop)
        finally:
            await proxy.close()


@asynccontextmanager
async def _api(
    state: Path, settings: Settings, stop: asyncio.Future[bool], make_platform: MakePlatform
) -> AsyncIterator[tuple[World, Lifecycle]]:
    store = Store(state / STORE_FILE)
    world = World(settings, store)
    lifecycle = Lifecycle(world, make_platform)
    try:
        app = make_app(world, lifecycle)
        app[STOP] = stop
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_TIMEOUT_S)
        await runner.setup()
        try:
            await Databases(world, lifecycle).resume()
            await lifecycle.resume()
            await web.TCPSite(runner, LOOPBACK, settings.api_port).start()
            yield world, lifecycle
        finally:
            await runner.cleanup()
    finally:
        await lifecycle.close(stop_everything=stop.done() and stop.result())
        store.close()


@contextmanager
def lock(state: Path) -> Iterator[None]:
    """One daemon per state folder; the file holds its process id. Raises AlreadyRunningError."""
    with (state / PID_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunningError(f"process {file.read().strip()} already serves {state}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.daemon", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder with settings.json; everything is kept there")
    state: Path = parser.parse_args().state
    os.umask(0o077)
    try:
        settings = load(state)
        with lock(state):
            handler = RotatingFileHandler(state / LOG_FILE, maxBytes=LOG_BYTES, backupCount=1)
            logging.basicConfig(
                handlers=[handler], level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
            )
            asyncio.run(_until_told(state, settings))
    except (SettingsError, AlreadyRunningError, OSError) as error:
        print(f"embedded Fly: {error}", file=sys.stderr)  # noqa: T201 - for who started it
        return 1
    return 0


async def _until_told(state: Path, settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[bool] = loop.create_future()

    def leave() -> None:
        if not stop.done():
            stop.set_result(False)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    await run(state, settings, stop)


if __name__ == "__main__":
    sys.exit(main())
