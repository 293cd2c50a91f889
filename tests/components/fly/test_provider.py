"""What Pulumi keeps of a provider, and where a provider gets its Api from."""

from __future__ import annotations

import base64
import sys

import httpx
import pytest
from pulumi.dynamic import Config, ConfigureRequest
from pulumi.dynamic.dynamic import serialize_provider

from components.fly.address import AddressProvider
from components.fly.app import AppProvider
from components.fly.certificate import CertificateProvider
from components.fly.errors import FlyError
from components.fly.machine import MachineProvider
from components.fly.provider import AdoptingProvider, FlyProvider
from components.fly.readiness import MachineReadyProvider
from components.fly.redis import RedisProvider, RedisUrlProvider
from components.fly.secret import SecretsProvider
from components.fly.volume import VolumeProvider

PROVIDERS = [
    AddressProvider,
    AppProvider,
    CertificateProvider,
    MachineProvider,
    MachineReadyProvider,
    RedisProvider,
    RedisUrlProvider,
    SecretsProvider,
    VolumeProvider,
]


def configured(cls: type[FlyProvider], **config: str) -> FlyProvider:
    provider = cls()
    raw = {f"hotdash-llm-gateway:{key}": value for key, value in config.items()}
    provider.configure(ConfigureRequest(Config(raw, "hotdash-llm-gateway")))
    return provider


@pytest.fixture(autouse=True)
def tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)


def test_every_provider_is_listed_here() -> None:
    assert {*PROVIDERS} == {*FlyProvider.__subclasses__(), *AdoptingProvider.__subclasses__()} - {AdoptingProvider}


@pytest.mark.parametrize("cls", PROVIDERS)
def test_a_provider_is_pickled_as_a_name(cls: type[FlyProvider]) -> None:
    pickled = base64.b64decode(serialize_provider(cls()))
    assert len(pickled) < 128, "more means code or a captured value, and an update of every resource per edit"
    assert cls.__module__.encode() in pickled
    assert not cls.serialize_as_secret_always


def test_all_providers_of_a_process_share_one_api(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(httpx.Client, "send", lambda *_args, **_kwargs: asked.append("!"))
    apis = {configured(cls, flyToken="fm2_x", flyApiUrl="http://127.0.0.1:1").api for cls in PROVIDERS}
    assert len(apis) == 1, "rates and shared lists count per process"
    assert asked == [], "configuring reaches nothing"


def test_an_expected_failure_reads_as_one_line() -> None:
    configured(AppProvider, flyToken="fm2_x")
    assert sys.tracebacklimit == 0


@pytest.mark.parametrize("config", [{}, {"flyToken": ""}])
def test_a_missing_token_says_how_to_set_it(config: dict[str, str]) -> None:
    with pytest.raises(FlyError, match=r"flyToken is missing.*pulumi config set --secret flyToken"):
        configured(AppProvider, **config)
