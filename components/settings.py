"""The stack's configuration, read once, checked whole, frozen.

Keys, types and defaults stand in Pulumi.yaml; the rules stand here, because a person who gets one wrong
should read why it matters. All problems are reported together. The two secrets (`flyToken`, `openaiApiKey`)
are checked for their form only: nothing here prints them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

MEMORY_STEP_MB = 256
MEMORY_MB_PER_CPU = {"shared": (256, 2048), "performance": (2048, 8192)}  # Fly's sizes: least and most
CPUS = {"shared": (1, 2, 4, 8), "performance": (1, 2, 4, 8, 16)}
MAX_MACHINES = 20  # more is a typing error: readiness is rolled one machine after another
MAX_SECONDS = 3600  # longer than any provider answers or any machine starts


class SettingsError(Exception):
    """What is wrong with the configuration: one line per setting, each with its remedy."""


def _matching(pattern: str, wanted: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"is {value!r}; give {wanted}" if value else f"is empty; give {wanted}")
        return value

    return AfterValidator(check)


def _hostname(value: str) -> str:
    if value.endswith(".fly.dev"):
        raise ValueError(f"is {value!r}; Fly.io gives no certificate under fly.dev: use a name of your domain")
    return value


def _moving_tag(value: str) -> str:
    if re.search(r":(latest|main|stable)(@|$)", value):
        raise ValueError(f"is {value!r}; that tag moves, so two runs may deploy two programs: give an exact one")
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    host = parts.hostname or ""
    on_loopback = host in ("localhost", "::1") or host.startswith("127.")
    extras = parts.query or parts.fragment or parts.username
    # Plain http beyond this machine would carry the token or the provider's key readably.
    if not host or extras or not (parts.scheme == "https" or (parts.scheme == "http" and on_loopback)):
        raise ValueError(f"is {value!r}; give an https:// URL without user or query (http:// only on loopback)")
    return value.rstrip("/")


def _fly_token(value: SecretStr) -> SecretStr:
    words = value.get_secret_value().split()
    schemes = {"flyv1", "bearer"}
    if not words or words[-1].lower() in schemes:
        raise ValueError("holds no token; set it with `pulumi config set --secret flyToken`")
    if len(words) > 2 or (len(words) == 2 and words[0].lower() not in schemes):
        raise ValueError("is not one token; give what `fly tokens create org` printed, on one line")
    return value


def _one_word(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().split()) != 1:
        raise ValueError("is no usable key; set it with `pulumi config set --secret openaiApiKey`, without spaces")
    return value


def _from_json(value: Any) -> Any:
    """Pulumi hands objects, lists, numbers and booleans over as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        raise ValueError("is not what Pulumi.yaml shows for it; set it in the stack's file") from None


_DNS_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
FlyName = Annotated[str, _matching(_DNS_LABEL, "lower-case letters, digits and dashes, at most 63")]
Region = Annotated[str, _matching(r"[a-z]{3}", "a Fly.io region of three letters, such as ord")]
Hostname = Annotated[
    str,
    AfterValidator(_hostname),
    _matching(rf"(?:{_DNS_LABEL}\.)+[a-z][a-z0-9-]*[a-z0-9]", "a host name alone, such as gateway.example.com"),
]
TeamName = Annotated[
    str,
    _matching(r"[a-z][a-z0-9_]{0,31}", "a lower-case letter, then letters, digits, underscores (up to 32)"),
]
Image = Annotated[
    str,
    AfterValidator(_moving_tag),
    _matching(r"[a-z0-9][a-z0-9._/:-]*:\w[\w.-]{0,127}(@sha256:[0-9a-f]{64})?", "an image with its exact tag"),
]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
JsonValue = BeforeValidator(_from_json)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True)


class Group(_Strict):
    """Machines of one process group: how many, and how large (Fly's guest)."""

    count: int = Field(ge=1, le=MAX_MACHINES)
    cpu_kind: Literal["shared", "performance"]
    cpus: int
    memory_mb: int

    @model_validator(mode="after")
    def _is_a_size_of_fly(self) -> Self:
        if self.cpus not in CPUS[self.cpu_kind]:
            choices = ", ".join(map(str, CPUS[self.cpu_kind]))
            raise ValueError(f"asks for {self.cpus} cpus; a {self.cpu_kind} machine has one of {choices}")
        least, most = (self.cpus * per_cpu for per_cpu in MEMORY_MB_PER_CPU[self.cpu_kind])
        if not least <= self.memory_mb <= most or self.memory_mb % MEMORY_STEP_MB:
            raise ValueError(
                f"asks for memoryMb {self.memory_mb}; a {self.cpu_kind} machine with {self.cpus} cpus has "
                f"{least} to {most} in steps of {MEMORY_STEP_MB}"
            )
        return self


class Groups(_Strict):
    """The process groups of the app, from the client inwards."""

    edge: Group
    gateway: Group


class Images(_Strict):
    """The image of each process group."""

    edge: Image
    gateway: Image

    @property
    def unpinned(self) -> list[str]:
        """Groups whose program could change under its tag."""
        return [group for group, image in self if "@sha256:" not in image]


class Team(_Strict):
    """What one team may use. `models` left out means all of them."""

    requests_per_minute: int = Field(ge=1)
    tokens_per_minute: int = Field(ge=1)
    usd_per_day: float = Field(gt=0)
    models: tuple[str, ...] | None = Field(default=None, min_length=1)


class Model(_Strict):
    """A model clients may ask for, and who answers. Times are seconds."""

    name: Annotated[str, _matching(r"[A-Za-z0-9][\w.:/-]{0,127}", "a name without spaces")]
    upstream: Annotated[str, _matching(r"openai/\S+", "openai/<model>: openaiApiKey is the only key set up")]
    mode: Literal["chat", "embedding"]
    timeout: Seconds
    stream_timeout: Seconds | None = None
    fallback: str | None = None


class RedisDatabase(_Strict):
    name: FlyName
    plan: str = Field(min_length=1)


class Settings(_Strict):
    """Everything the program decides by; Pulumi.yaml says what each key means."""

    fly_token: Annotated[SecretStr, AfterValidator(_fly_token)] = Field(exclude=True)
    openai_api_key: Annotated[SecretStr, AfterValidator(_one_word)] = Field(exclude=True)
    organization: FlyName
    app: FlyName
    region: Region
    gateway_hostname: Hostname
    langfuse_hostname: Hostname
    groups: Annotated[Groups, JsonValue]
    images: Annotated[Images, JsonValue]
    require_pinned_images: bool
    protect: bool
    cache_redis: Annotated[RedisDatabase, JsonValue]
    models: Annotated[tuple[Model, ...], JsonValue, Field(min_length=1)]
    teams: Annotated[dict[TeamName, Team], JsonValue, Field(min_length=1)]
    openai_base_url: BaseUrl
    fly_api_url: BaseUrl
    fly_graphql_url: BaseUrl
    readiness_timeout_seconds: int = Field(ge=10, le=MAX_SECONDS)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [model.name for model in self.models]
        problems = [f"models names {name} twice" for name in sorted({n for n in names if names.count(n) > 1})]
        if self.gateway_hostname == self.langfuse_hostname:
            problems.append("langfuseHostname equals gatewayHostname; the edge routes by name, so they must differ")
        for model in self.models:
            if model.fallback is not None and model.fallback not in set(names) - {model.name}:
                problems.append(f"models.{model.name}.fallback is {model.fallback!r}; name another model of the list")
        for team, limits in self.teams.items():
            unknown = sorted(set(limits.models or ()) - set(names))
            problems += [f"teams.{team}.models holds {name!r}, which `models` does not list" for name in unknown]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def fly_hostname(self) -> str:
        """The name Fly gives the app; it answers before any DNS record is made."""
        return f"{self.app}.fly.dev"


KEYS = [to_camel(name) for name in Settings.model_fields]
"""Every configuration key of the program, as Pulumi.yaml spells it."""


def parse(raw: Mapping[str, str]) -> Settings:
    """Checks raw configuration values by key; raises SettingsError naming every problem."""
    problems = [_unknown(key) for key in raw if key not in KEYS]
    try:
        settings = Settings.model_validate({key: value for key, value in raw.items() if key in KEYS})
    except ValidationError as error:
        problems += [line for detail in error.errors() for line in _lines(detail["loc"], detail["msg"], raw)]
    else:
        if not problems:
            return settings
    # Outside the handler, so that no traceback can show what pydantic was given.
    count = f"{len(problems)} setting{'s' if len(problems) > 1 else ''}"
    raise SettingsError(f"{count} of this stack cannot be used:" + "".join(f"\n  - {line}" for line in problems))


def _unknown(key: str) -> str:
    meant = get_close_matches(key, KEYS, n=1)
    return f"{key} is no setting of this program" + (f"; did you mean {meant[0]}?" if meant else "; remove it")


def _lines(location: tuple[int | str, ...], message: str, raw: Mapping[str, str]) -> list[str]:
    path = ".".join(str(part) for part in location if part != "[key]")
    text = message.removeprefix("Value error, ")
    if not path:
        return text.splitlines()
    if len(location) == 1 and location[0] not in raw:
        return [f"{path} is missing; set it with `pulumi config set {path}`"]
    return [f"{path} {text if text.startswith(('is ', 'asks ', 'holds ')) else f'is wrong: {text}'}"]
