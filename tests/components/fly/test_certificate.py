from __future__ import annotations

import httpx
import pytest

from components.fly.certificate import CertificateProvider
from components.fly.errors import FlyError
from tests.components.fly.fake_fly import FakeFly
from tests.components.fly.managed import InvalidError, Make, Managed

HOST = {"app": "gw", "hostname": "gateway.example.com"}
POST = "POST /apps/gw/certificates/acme"


@pytest.fixture
def certificate(provider: Make, fly: FakeFly) -> Managed:
    fly.add_app()
    return Managed(provider(CertificateProvider))


def test_a_certificate_lives_and_dies(fly: FakeFly, certificate: Managed) -> None:
    assert certificate.up(**HOST) == "create"
    needed = certificate.outputs["dns_requirements"]
    assert needed["acme_challenge"]["name"] == "_acme-challenge.gateway.example.com"
    assert needed["ownership"] == {
        "name": "_fly-ownership.gateway.example.com",
        "app_value": "app-abc",
        "org_value": "",
    }
    assert certificate.refresh()
    certificate.destroy()
    assert fly.apps["gw"].certificates == {}
    assert fly.count(POST) == 1, "Let's Encrypt counts requests"


def test_a_status_is_no_difference(fly: FakeFly, certificate: Managed) -> None:
    certificate.up(**HOST)
    fly.apps["gw"].certificates["gateway.example.com"] |= {"status": "active", "configured": True}
    assert certificate.refresh()
    assert certificate.outputs["status"] == "active"
    assert certificate.up(**HOST) == "same"


def test_a_certificate_that_is_there_is_adopted(fly: FakeFly, provider: Make, certificate: Managed) -> None:
    certificate.up(**HOST)
    Managed(provider(CertificateProvider)).up(**HOST)
    assert fly.count(POST) == 1


def test_an_unclear_request_is_looked_up(fly: FakeFly, certificate: Managed) -> None:
    fly.fail(POST, httpx.RemoteProtocolError("closed"), happened=True)
    certificate.up(**HOST)
    assert fly.count(POST) == 1


def test_fly_s_refusal_is_shown(fly: FakeFly, certificate: Managed) -> None:
    fly.fail(POST, httpx.Response(422, json={"error": "hostname is on another app"}))
    with pytest.raises(FlyError, match=r"certificate for gateway.example.com on app gw.*hostname is on another app"):
        certificate.up(**HOST)


def test_a_removed_certificate_is_made_again(fly: FakeFly, certificate: Managed) -> None:
    certificate.up(**HOST)
    fly.apps["gw"].certificates.clear()
    assert not certificate.refresh()
    assert certificate.up(**HOST) == "create"


def test_a_wildcard_travels_quoted(fly: FakeFly, certificate: Managed) -> None:
    certificate.up(app="gw", hostname="*.example.com")
    assert certificate.refresh()
    assert "GET /apps/gw/certificates/%2A.example.com" in fly.requests


@pytest.mark.parametrize("hostname", ["https://x.example.com", "X.example.com", "gateway", "a..b.com", ""])
def test_a_hostname_that_is_none_is_refused(certificate: Managed, hostname: str) -> None:
    with pytest.raises(InvalidError, match="give a host name in lower case"):
        certificate.up(app="gw", hostname=hostname)
