"""What one embedded Fly.io is told when it starts: a file in its state folder, readable only by its owner."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

FILE = "settings.json"


class SettingsError(Exception):
    """The settings cannot be used. The text names the file, the setting and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times are in seconds."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    api_port: int
    """Port of the API on 127.0.0.1: `/v1`, `/graphql` and `/_embedded`."""
    token: str = field(repr=False)
    """The one token, without a scheme word. It belongs to `organization`."""
    network: int
    """The second number of this stack's addresses, 1 to 254: its machines live in 127.<network>.0.0/16."""
    organization: str = "personal"
    hostnames: Mapping[str, int] = field(default_factory=dict)
    """Hostname → loopback port on which Fly Proxy answers for it."""
    proxy_port: int | None = None
    """One more port of Fly Proxy, which takes the hostname from the request's Host header."""
    region: str = "ord"
    """The region nearest to the caller: where an object without a region goes."""
    app_propagation_s: float = 0.3
    """A new app answers 404 for so long, as the real one may."""
    dns_propagation_s: float = 0.0
    """So long after it was published a DNS record becomes visible to certificates."""
    certificate_s: float = 0.5
    """A certificate with the right DNS records becomes active so long after it was asked for."""
    restart_pause_s: float = 1.0
    """Pause before the first automatic restart of a machine; it doubles with each further one."""
    volume_linger_s: float = 60.0
    """A deleted volume is still listed, as pending_destroy, for so long."""
    rate_limits: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.network <= 254:
            raise ValueError(f"network {self.network}: must be 1 to 254")
        if not self.token or " " in self.token:
            raise ValueError("token: must be one word without a scheme like 'Bearer'")


_ADAPTER = TypeAdapter(Settings)


def load(state: Path) -> Settings:
    """The settings in `state/settings.json`. Raises SettingsError."""
    path = state / FILE
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing: this is no state folder of an embedded Fly") from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'settings'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"{path}: {problems}") from None


def save(state: Path, settings: Settings) -> None:
    """Writes `state/settings.json` at once and for its owner only: it holds the token."""
    state.mkdir(parents=True, exist_ok=True)
    fresh = state / f"{FILE}.new"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
        file.write(_ADAPTER.dump_json(settings, indent=2))
    fresh.replace(state / FILE)
