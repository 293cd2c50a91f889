"""A machine's configuration as it is sent, and as Fly answers it: defaults filled in, one form for each value."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from local.fly.bodies import Body, Port
from local.fly.times import go_duration, nanoseconds

# Fields of the real configuration that a process cannot have. Refusing them is honest; forgetting them is not.
NOT_HERE = frozenset({"cache_drive", "containers", "processes", "schedule", "size", "spot", "standbys", "statics"})
MEMORY_MB_PER_CPU = {"shared": (256, 2048), "performance": (2048, 8192)}
CPUS = {"shared": (1, 2, 4, 8), "performance": (1, 2, 4, 8, 16)}
MEMORY_STEP_MB = 256
StopSignal = Literal["SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM"]


def _duration(value: Any) -> Any:
    """Raises PydanticCustomError: a duration that is none is a mistake of form, as Fly cannot even read the body."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return value
    try:
        return go_duration(nanoseconds(value))
    except ValueError as error:
        raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from None


Duration = Annotated[str, BeforeValidator(_duration)]


def _autostop(value: Any) -> Any:
    """Answers keep the booleans that older clients know."""
    return {"off": False, "stop": True}.get(value, value) if isinstance(value, str) else value


class Guest(Body):
    cpu_kind: Literal["shared", "performance"] = "shared"
    cpus: int = 1
    memory_mb: int | None = None
    max_memory_mb: int | None = None
    kernel_args: list[str] | None = None
    persist_rootfs: Literal["never", "always", "restart"] | None = None
    host_dedication_id: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Guest:
        low, high = (limit * self.cpus for limit in MEMORY_MB_PER_CPU[self.cpu_kind])
        if self.cpus not in CPUS[self.cpu_kind]:
            raise ValueError(f"{self.cpus} {self.cpu_kind} CPUs: must be one of {CPUS[self.cpu_kind]}")
        self.memory_mb = self.memory_mb or low
        if not low <= self.memory_mb <= high or self.memory_mb % MEMORY_STEP_MB:
            raise ValueError(
                f"memory_mb {self.memory_mb}: {self.cpus} {self.cpu_kind} CPUs take {low} to {high} MB"
                f" in steps of {MEMORY_STEP_MB}"
            )
        return self


class Init(Body):
    exec: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    tty: bool | None = None
    swap_size_mb: int | None = None
    kernel_args: list[str] | None = None


class Header(Body):
    name: str
    values: list[str]


class ServiceCheck(Body):
    type: Literal["http", "tcp"]
    port: Port | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    grace_period: Duration | None = None
    method: str | None = None
    path: str | None = None
    protocol: Literal["http", "https"] | None = None
    headers: list[Header] | None = None
    tls_server_name: str | None = None
    tls_skip_verify: bool | None = None


class Check(ServiceCheck):
    port: Port
    kind: Literal["informational", "readiness"] | None = None


class Concurrency(Body):
    type: Literal["connections", "requests"] = "connections"
    soft_limit: int | None = None
    hard_limit: int | None = None


class HttpResponse(Body):
    headers: dict[str, str | bool | list[str]] | None = None
    pristine: bool | None = None


class HttpOptions(Body):
    compress: bool | None = None
    h2_backend: bool | None = None
    headers_read_timeout: int | None = None
    idle_timeout: int | None = None
    response: HttpResponse | None = None


class TlsOptions(Body):
    alpn: list[str] | None = None
    versions: list[str] | None = None
    default_self_signed: bool | None = None


class ProxyProtoOptions(Body):
    version: str | None = None


class ServicePort(Body):
    port: Port | None = None
    start_port: Port | None = None
    end_port: Port | None = None
    handlers: list[Literal["http", "tls", "pg_tls", "proxy_proto"]] | None = None
    force_https: bool | None = None
    http_options: HttpOptions | None = None
    tls_options: TlsOptions | None = None
    proxy_proto_options: ProxyProtoOptions | None = None

    @model_validator(mode="after")
    def _one_port_or_a_range(self) -> ServicePort:
        whole_range = self.start_port is not None and self.end_port is not None
        part_of_range = self.start_port is not None or self.end_port is not None
        if (self.port is not None) == part_of_range or part_of_range != whole_range:
            raise ValueError("needs either port or start_port and end_port")
        return self


class Service(Body):
    protocol: Literal["tcp", "udp"]
    internal_port: Port
    autostop: Annotated[Literal[False, True, "suspend"], BeforeValidator(_autostop)] = False
    autostart: bool | None = None
    min_machines_running: Annotated[int, Field(ge=0)] | None = None
    concurrency: Concurrency | None = None
    ports: list[ServicePort] | None = None
    checks: list[ServiceCheck] | None = None
    force_instance_key: str | None = None
    force_instance_description: str | None = None


class File(Body):
    guest_path: Annotated[str, Field(pattern=r"^/.*[^/]$")]
    raw_value: str | None = None
    secret_name: str | None = None
    mode: int | None = None

    @model_validator(mode="after")
    def _has_content(self) -> File:
        if (self.raw_value is None) == (self.secret_name is None):
            raise ValueError("needs either raw_value or secret_name")
        try:
            base64.b64decode(self.raw_value or "", validate=True)
        except binascii.Error:
            raise ValueError("raw_value is not base64") from None
        return self


class Mount(Body):
    volume: str
    path: Annotated[str, Field(pattern=r"^/.+")]
    name: str | None = None
    encrypted: bool | None = None
    size_gb: int | None = None
    extend_threshold_percent: int | None = None
    add_size_gb: int | None = None
    size_gb_limit: int | None = None


class Restart(Body):
    policy: Literal["no", "always", "on-failure"] = "on-failure"
    max_retries: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _gives_up(self) -> Restart:
        if self.policy == "on-failure" and self.max_retries is None:
            self.max_retries = 10
        return self


class StopConfig(Body):
    signal: StopSignal | None = None
    timeout: Duration | None = None


class Metrics(Body):
    port: Port
    path: str
    https: bool | None = None


class Rootfs(Body):
    persist: Literal["never", "always", "restart"] | None = None
    size_gb: int | None = None


class Dns(Body):
    skip_registration: bool | None = None


class MachineConfig(Body):
    image: Annotated[str, Field(min_length=1)]
    env: dict[str, str] | None = None
    init: Init = Field(default_factory=Init)
    guest: Guest = Field(default_factory=Guest)
    metadata: dict[str, str] | None = None
    mounts: Annotated[list[Mount], Field(max_length=1)] | None = None
    services: list[Service] | None = None
    checks: dict[str, Check] | None = None
    metrics: Metrics | None = None
    files: list[File] | None = None
    restart: Restart = Field(default_factory=Restart)
    stop_config: StopConfig | None = None
    auto_destroy: bool | None = None
    dns: Dns | None = None
    rootfs: Rootfs | None = None

    @model_validator(mode="before")
    @classmethod
    def _possible_here(cls, sent: Any) -> Any:
        if isinstance(sent, dict):
            wanted = sorted(field for field in NOT_HERE & sent.keys() if sent[field])
            if wanted:
                raise ValueError(f"the embedded Fly does not do {', '.join(wanted)}")
            return {field: value for field, value in sent.items() if field not in NOT_HERE}
        return sent

    def normal(self) -> dict[str, Any]:
        """As Fly answers it."""
        return self.model_dump(mode="json", exclude_none=True)
