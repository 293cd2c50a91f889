"""What the API keeps. Times are seconds since the epoch; nothing here is in the shape of an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal[
    "created",
    "starting",
    "started",
    "stopping",
    "stopped",
    "restarting",
    "replacing",
    "failed",
    "destroying",
    "destroyed",
]
Source = Literal["user", "flyd"]
IpType = Literal["v4", "v6", "shared_v4", "private_v6"]


@dataclass
class Secret:
    value: str = field(repr=False)
    digest: str
    created_at: float
    updated_at: float


@dataclass
class App:
    name: str
    id: str
    organization: str
    network: str
    created_at: float
    salt: str = field(repr=False)
    """Makes the digests of this app's secrets useless to anybody who guesses values."""
    secrets_version: int = 0
    secrets: dict[str, Secret] = field(default_factory=dict)


@dataclass
class Event:
    id: str
    type: str
    status: str
    source: Source
    at: float
    request: dict[str, Any] | None = None


@dataclass
class Lease:
    nonce: str = field(repr=False)
    owner: str
    description: str
    expires_at: float


@dataclass
class Machine:
    id: str
    app: str
    name: str
    region: str
    address: str
    """127.x.y.z, for life."""
    instance_id: str
    """The current version; its configuration is the MachineVersion of that id."""
    created_at: float
    updated_at: float
    state: State = "created"
    launch: bool = True
    """Whether the machine is to run once the transition it is in has ended."""
    cordoned: bool = False
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """The app's secrets as they were when this version was made."""
    events: list[Event] = field(default_factory=list)
    """Newest first."""
    lease: Lease | None = None
    restarts: int = 0
    """Automatic restarts since the machine was last started on purpose or had run steadily."""
    started_at: float | None = None
    failure: str | None = None
    """Why the last start failed."""


@dataclass
class MachineVersion:
    id: str
    machine: str
    created_at: float
    config: dict[str, Any]


@dataclass
class Volume:
    id: str
    app: str
    name: str
    region: str
    size_gb: int
    encrypted: bool
    fstype: str
    snapshot_retention: int
    auto_backup_enabled: bool
    created_at: float
    attached_machine: str | None = None
    deleted_at: float | None = None


@dataclass
class Address:
    """One address of an app; the shared IPv4 is the same for several apps."""

    ip: str
    app: str
    type: IpType
    region: str
    created_at: float
    service_name: str | None = None


@dataclass
class Certificate:
    hostname: str
    app: str
    created_at: float
    updated_at: float


@dataclass
class DnsRecord:
    """A record somebody published in the embedded zone."""

    name: str
    type: str
    value: str
    published_at: float


@dataclass
class Redis:
    name: str
    id: str
    organization: str
    plan: str
    primary_region: str
    read_regions: list[str]
    options: dict[str, Any]
    metadata: dict[str, Any]
    password: str = field(repr=False)
    address: str
    created_at: float
    updated_at: float
