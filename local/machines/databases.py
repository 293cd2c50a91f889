"""The Redis databases of the embedded Fly: kept running, as Fly keeps its own."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from local.contract import LaunchError
from local.machines import supervised, valkey
from local.machines.ports import require_free
from local.machines.shim import Launch
from local.machines.supervised import Supervised

log = logging.getLogger(__name__)

# Between the end of a server nobody stopped and its next start: no busy loop when it cannot run at all.
REVIVE_AFTER_S = 1.0


class Databases:
    """Servers by name. Each survives this object and is found again by its folder, `state/redis/NAME`."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._servers: dict[str, Supervised] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}

    async def start(self, name: str, address: str, password: str, *, eviction: bool, max_memory_mb: int) -> int:
        """Leaves a server that runs with the same settings alone, restarts one with other settings."""
        config = valkey.configuration(address, password, eviction=eviction, max_memory_mb=max_memory_mb)
        server = self._servers.get(name) or Supervised.find(self._folder(name))
        if server is not None and (server.ended.done() or server.instance_id != valkey.fingerprint(config)):
            await self._stop(name, server)
            server = None
        logfile = self._state / "logs" / "redis" / f"{name}.log"
        order = valkey.launch(name, self._folder(name), logfile, config)
        if server is None:
            require_free(name, address, [valkey.PORT])
            server = await Supervised.launch(order)
        try:
            await valkey.ready(name, address, password, server)
        except BaseException:
            await self._stop(name, server)
            raise
        if name not in self._keepers:
            self._servers[name] = server
            self._keepers[name] = asyncio.create_task(self._keep(name, order))
        return server.pid

    async def stop(self, name: str, *, erase: bool) -> None:
        server = self._servers.get(name) or Supervised.find(self._folder(name))
        if server is not None:
            await self._stop(name, server)
        if erase:
            await asyncio.to_thread(supervised.remove, self._folder(name))

    async def close(self, *, stop_everything: bool) -> None:
        if stop_everything:
            await asyncio.gather(*(self._stop(name, server) for name, server in list(self._servers.items())))
            return
        for name, server in list(self._servers.items()):
            await self._let_go(name)
            await server.release()

    def _folder(self, name: str) -> Path:
        return self._state / "redis" / name

    async def _keep(self, name: str, order: Launch) -> None:
        while True:
            end = await asyncio.shield(self._servers[name].ended)
            log.warning("Redis %s ended with exit code %d: starting it again", name, end["exit_code"])
            await asyncio.sleep(REVIVE_AFTER_S)
            try:
                self._servers[name] = await Supervised.launch(order)
            except LaunchError as error:
                log.error("Redis %s: %s", name, error)  # noqa: TRY400 - its text is the whole message

    async def _stop(self, name: str, server: Supervised) -> None:
        await self._let_go(name)
        await server.stop("SIGTERM", valkey.STOP_TIMEOUT_S)
        (self._folder(name) / "run.json").unlink(missing_ok=True)

    async def _let_go(self, name: str) -> None:
        self._servers.pop(name, None)
        keeper = self._keepers.pop(name, None)
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
