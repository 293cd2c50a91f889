"""One local stack: the embedded Fly, the provider and the Pulumi program, brought up, described, taken down."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from local import background, embedded, settings
from local.embedded import EmbeddedFly
from local.ports import claim_network, free_ports, release_network
from local.pulumi_stack import PulumiStack
from local.settings import Settings
from local.state import LocalError, State, write_once

ORGANIZATION = "local"
HOSTNAMES = {"gateway": "gateway.hotdash.test", "langfuse": "langfuse.hotdash.test"}  # .test never resolves (RFC 6761)
OPENAI = "https://api.openai.com/v1"
PROVIDER = "local.provider"
PROVIDER_START_S = 30  # it loads its embeddings first
STAND_INS = {"provider": "offline OpenAI-compatible provider with small real embeddings (no OPENAI_API_KEY is set)"}


class BrokenSettingsError(LocalError):
    """The stack's settings cannot be read: nothing of it can be started."""


@dataclass(frozen=True)
class LocalStack:
    state: State

    @cached_property
    def settings(self) -> Settings:
        """Chosen at the first `up`, kept until `reset`. Raises BrokenSettingsError."""
        if not self.state.settings.exists():
            self.state.create()
            settings.save(self.state.folder, _choose_settings(self.state))
        try:
            return settings.load(self.state.folder)
        except settings.SettingsError as error:
            raise BrokenSettingsError(f"{error}. Mend it, or forget the stack with `scripts/local reset`") from None

    @property
    def pulumi(self) -> PulumiStack:
        return PulumiStack(self.state)

    @property
    def fly(self) -> EmbeddedFly:
        return EmbeddedFly(self.state.folder, self.settings)

    @property
    def provider_key(self) -> Path:
        return self.state.provider / "key"

    @property
    def provider_log(self) -> Path:
        return self.state.logs / "provider.log"

    def provider_process(self) -> psutil.Process | None:
        return background.find(PROVIDER, "--key-file", str(self.provider_key))

    def start_fly(self) -> None:
        try:
            self.fly.start(self.state.logs / "fly.log")
        except background.EndedAtOnceError as error:
            raise background.EndedAtOnceError(
                f"{error}. Where a port is taken, end the program that has it, or write another one into "
                f"{self.state.settings}"
            ) from None

    def start_provider(self) -> tuple[str, str]:
        """Base URL and key of the provider: OpenAI with the operator's key, else the offline one."""
        if key := os.environ.get("OPENAI_API_KEY"):
            self.stop_provider()
            return OPENAI, key
        key = write_once(self.provider_key, f"sk-{secrets.token_hex(24)}")
        port_file = self.state.provider / "port"
        port = int(write_once(port_file, str(free_ports(1)[0])))
        said = background.Log(self.provider_log)
        process = self.provider_process() or background.start(
            PROVIDER,
            ["--port", str(port), "--key-file", str(self.provider_key)],
            said=said,
            environment=background.closed_environment(),
        )
        try:
            background.wait_until(
                lambda: background.listens(process, port),
                process,
                what="the offline provider",
                said=said,
                timeout_s=PROVIDER_START_S,
            )
        except background.EndedAtOnceError as error:
            raise LocalError(f"{error} Where its port is taken, remove {port_file} for another one") from None
        return f"http://127.0.0.1:{port}/v1", key

    def stop_provider(self) -> None:
        if process := self.provider_process():
            background.stop([process])

    def configure(self, openai_base_url: str, openai_api_key: str) -> None:
        configuration = {
            "organization": ORGANIZATION,
            "gatewayHostname": HOSTNAMES["gateway"],
            "langfuseHostname": HOSTNAMES["langfuse"],
            "flyApiUrl": self.fly.url,
            "flyGraphqlUrl": self.fly.url,
            "openaiBaseUrl": openai_base_url,
        }
        self.pulumi.prepare(configuration, {"flyToken": self.settings.token, "openaiApiKey": openai_api_key})

    def publish_dns(self) -> None:
        self.fly.publish_dns(self.pulumi.outputs()["dns_records"])

    def url(self, hostname: str) -> str:
        """Where a hostname of the stack answers on this machine."""
        return f"http://127.0.0.1:{self.settings.hostnames[HOSTNAMES[hostname]]}"

    def team_keys(self) -> dict[str, str]:
        """Team → key; none before the first `up` and after a `destroy`, when Pulumi has a word for "unknown" there."""
        keys = self.pulumi.outputs().get("team_keys")
        return keys if isinstance(keys, dict) else {}

    def machines(self) -> list[dict[str, Any]]:
        """name, group, state, address, pid, log, and why it cannot run (failure); none while the stack is down."""
        machines: list[dict[str, Any]] = (self.fly.status() or {"machines": []})["machines"]
        return machines

    def describe(self) -> dict[str, Any]:
        """Everything that other programs build on; holds secrets."""
        live = self.fly.status()
        return {
            "gateway_url": self.url("gateway"),
            "langfuse_url": self.url("langfuse"),
            "fly_api_url": self.fly.url,
            "fly_token": self.settings.token,
            "fly_proxy_url": f"http://127.0.0.1:{self.settings.proxy_port}",
            "teams": self.team_keys(),
            "machines": live["machines"] if live else [],
            "redis": live["redis"] if live else [],
            "database": None,
            "state_folder": str(self.state.folder),
            "stand_ins": STAND_INS if live and self._offline else {},
            "problems": list(self._problems(running=live is not None)),
        }

    def _problems(self, *, running: bool) -> Iterator[str]:
        """What should run and does not, each with a remedy."""
        if not running and (process := self.fly.process()):
            yield f"the embedded Fly.io (process {process.pid}) starts or ends just now; look again in a moment"
        elif not running and (left := background.supervised(self.state.folder)):
            yield (
                f"the embedded Fly.io does not run, but what it started does: {named(left)}. "
                "`scripts/local up` starts it again, `scripts/local down` ends everything"
            )
        if running and self._offline and not self.provider_process():
            said = background.Log(self.provider_log, begin=0).last_line()
            yield (
                f"the offline provider does not run, so no model answers (it said last: {said or 'nothing'}). "
                "`scripts/local up` starts it again"
            )

    @property
    def _offline(self) -> bool:
        """Whether the stack asks the offline provider, as its configuration has it."""
        return self.pulumi.configuration().get("openaiBaseUrl") not in (None, OPENAI)

    def environment(self) -> dict[str, str]:
        """What points pulumi, curl and Fly's own client at this stack."""
        return {
            **self.pulumi.variables,
            "PATH": f"{self.pulumi.path}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "FLY_API_BASE_URL": self.fly.url,
            "FLY_FLAPS_BASE_URL": self.fly.url,
            "FLY_UIEX_BASE_URL": self.fly.url,
            "FLY_API_TOKEN": self.settings.token,
            "FLY_CONFIG_DIR": str(self.state.folder / "fly-client"),
            "FLY_SEND_METRICS": "0",
            "FLY_NO_UPDATE_CHECK": "1",
            "FLY_TRACE_COLLECTOR_URL": "127.0.0.1",  # Fly's client sends its token there otherwise
            "GATEWAY_URL": self.url("gateway"),
        }

    def down(self) -> None:
        """Ends every process of the stack; what it knows stays."""
        if self.fly.process() or background.supervised(self.state.folder):
            self.start_fly()  # one that died, too: the next one finds its machines and ends them in good order
            self.fly.stop()
        self.stop_provider()
        if left := self.processes():
            pids = " ".join(str(process.pid) for process in left)
            raise LocalError(f"still running after `down`: {named(left)}. End what is left with `kill {pids}`")

    def reset(self) -> list[str]:
        """`down`, also where the embedded Fly cannot run any more, then `wipe`."""
        try:
            self.down()
        except (BrokenSettingsError, background.EndedAtOnceError):
            self.kill()
        return self.wipe()

    def kill(self) -> None:
        """Ends every process of the stack without the embedded Fly's help: for what nobody needs any more."""
        background.stop(self.own_programs())  # first: it would start databases again
        background.stop(background.supervised(self.state.folder))

    def processes(self) -> list[psutil.Process]:
        """What of this stack still runs: its programs, machines, databases, and who listens in its network."""
        network = f"127.{self.settings.network}."
        listening = {
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and connection.pid
            and connection.laddr
            and connection.laddr.ip.startswith(network)
        }
        found = [*self.own_programs(), *background.supervised(self.state.folder)]
        for pid in listening - {os.getpid()}:
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return list({process.pid: process for process in found if background.alive(process)}.values())

    def own_programs(self) -> list[psutil.Process]:
        daemon = background.find(embedded.MODULE, "--state", str(self.state.folder))
        return [process for process in (daemon, self.provider_process()) if process]

    def wipe(self) -> list[str]:
        """Forgets the stack; names of what it did not make, which stays in its folder. Raises LocalError."""
        with suppress(BrokenSettingsError):  # the claim of a folder that is gone is free
            if self.state.exists:
                release_network(self.settings.network)
        return self.state.wipe()


def named(processes: Sequence[psutil.Process]) -> str:
    names = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            names.append(f"{process.name()} ({process.pid})")
    return ", ".join(names)


def _choose_settings(state: State) -> Settings:
    gateway, langfuse, api, proxy = free_ports(4)
    return Settings(
        api_port=api,
        proxy_port=proxy,
        hostnames={HOSTNAMES["gateway"]: gateway, HOSTNAMES["langfuse"]: langfuse},
        organization=ORGANIZATION,
        network=claim_network(state.folder),
        token=secrets.token_urlsafe(32),
    )
