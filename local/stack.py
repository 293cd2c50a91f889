"""One local stack: the embedded Fly, the provider and the Pulumi program, brought up, described, taken down."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from local import background, settings
from local.embedded import EmbeddedFly
from local.ports import claim_network, free_ports, release_network
from local.pulumi_stack import PulumiStack
from local.settings import Settings
from local.state import LocalError, State, write_once

ORGANIZATION = "local"
HOSTNAMES = {"gateway": "gateway.hotdash.test", "langfuse": "langfuse.hotdash.test"}  # .test never resolves (RFC 6761)
OPENAI = "https://api.openai.com/v1"
STAND_INS = {"provider": "offline OpenAI-compatible provider with small real embeddings (no OPENAI_API_KEY is set)"}


@dataclass(frozen=True)
class LocalStack:
    state: State

    @cached_property
    def settings(self) -> Settings:
        """Chosen at the first `up`, kept until `reset`."""
        if not self.state.settings.exists():
            self.state.create()
            settings.save(self.state.folder, _choose_settings(self.state))
        return settings.load(self.state.folder)

    @property
    def pulumi(self) -> PulumiStack:
        return PulumiStack(self.state)

    @property
    def fly(self) -> EmbeddedFly:
        return EmbeddedFly(self.settings)

    @property
    def fly_record(self) -> Path:
        return self.state.folder / "fly.pid.json"

    @property
    def provider_record(self) -> Path:
        return self.state.provider / "pid.json"

    def start_fly(self) -> None:
        if self.fly.status() is None:
            arguments = [sys.executable, "-m", "local.daemon", "--state", str(self.state.folder)]
            background.start(
                arguments,
                record=self.fly_record,
                log=self.state.logs / "fly.log",
                environment=background.closed_environment(),
            )
            self.fly.wait_until_ready()

    def start_provider(self) -> tuple[str, str]:
        """Base URL and key of the provider: OpenAI with the operator's key, else the offline one."""
        if key := os.environ.get("OPENAI_API_KEY"):
            background.stop(self.provider_record)
            return OPENAI, key
        key_file = self.state.provider / "key"
        key = write_once(key_file, f"sk-{secrets.token_hex(24)}")
        port = write_once(self.state.provider / "port", str(free_ports(1)[0]))
        if background.running(self.provider_record) is None:
            background.start(
                [sys.executable, "-m", "local.provider", "--port", port, "--key-file", str(key_file)],
                record=self.provider_record,
                log=self.state.logs / "provider.log",
                environment=background.closed_environment(),
            )
        return f"http://127.0.0.1:{port}/v1", key

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

    def machines(self) -> list[dict[str, Any]]:
        """name, group, state, address, pid, log, and why it cannot run (failure); none while the stack is down."""
        machines: list[dict[str, Any]] = (self.fly.status() or {"machines": []})["machines"]
        return machines

    def describe(self) -> dict[str, Any]:
        """Everything that other programs build on; holds secrets."""
        live = self.fly.status() or {"redis": []}
        outputs = self.pulumi.outputs()
        offline = background.running(self.provider_record) is not None
        return {
            "gateway_url": self.url("gateway"),
            "langfuse_url": self.url("langfuse"),
            "fly_api_url": self.fly.url,
            "fly_token": self.settings.token,
            "fly_proxy_url": f"http://127.0.0.1:{self.settings.proxy_port}",
            "teams": outputs.get("team_keys", {}),
            "machines": self.machines(),
            "redis": live["redis"],
            "database": None,
            "state_folder": str(self.state.folder),
            "stand_ins": STAND_INS if offline else {},
        }

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
        if self.fly.status() is not None:
            self.fly.stop()
            if process := background.running(self.fly_record):
                process.wait(background.STOP_S)
        background.stop(self.fly_record)
        background.stop(self.provider_record)
        if left := self.processes():
            raise LocalError(f"still running after `down`: {', '.join(f'{p.name()} ({p.pid})' for p in left)}")

    def processes(self) -> list[psutil.Process]:
        """What of this stack still runs: told by the state folder in its arguments, or by a listener in its network."""
        folder, network = str(self.state.folder), f"127.{self.settings.network}."
        listening = {c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.ip.startswith(network)}
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if process.pid != os.getpid()
            and (process.pid in listening or any(folder in part for part in process.info["cmdline"] or ()))
        ]

    def wipe(self) -> list[str]:
        """Forgets the stack; names of what it did not make, which stays in its folder. Raises LocalError."""
        if self.state.exists:
            release_network(self.settings.network)
        return self.state.wipe()


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
