from __future__ import annotations

import ipaddress

import pytest

from tests.local.fly.conftest import Fly


@pytest.mark.parametrize(
    ("kind", "network", "shared"),
    [
        ("v6", "2001:db8::/32", False),
        ("v4", "198.51.100.0/24", False),
        ("shared_v4", "192.0.2.0/24", True),
        ("private_v6", "fdaa::/16", False),
    ],
)
async def test_each_kind_is_known_by_its_form(fly: Fly, kind: str, network: str, shared: bool) -> None:
    app = await fly.app()
    made = (await fly.http.post(f"{app}/ip_assignments", json={"type": kind})).json()
    assert ipaddress.ip_address(made["ip"]) in ipaddress.ip_network(network)
    assert (made["shared"], made["region"]) == (shared, "global")
    assert (await fly.http.get(f"{app}/ip_assignments")).json() == {"ips": [made]}
    assert (await fly.http.delete(f"{app}/ip_assignments/{made['ip']}")).status_code == 204
    assert (await fly.http.get(f"{app}/ip_assignments")).json() == {"ips": []}
    assert (await fly.http.delete(f"{app}/ip_assignments/{made['ip']}")).status_code == 404


async def test_each_request_makes_another_address_except_the_shared_one(fly: Fly) -> None:
    app, other = await fly.app("shop"), await fly.app("other")
    for kind in ("v6", "v6", "shared_v4", "shared_v4"):
        await fly.http.post(f"{app}/ip_assignments", json={"type": kind})
    own = [ip["ip"] for ip in (await fly.http.get(f"{app}/ip_assignments")).json()["ips"]]
    assert len(own) == len(set(own)) == 3
    ips = (await fly.http.get(f"{app}/ip_assignments")).json()["ips"]
    again = (await fly.http.post(f"{app}/ip_assignments", json={"type": "shared_v4"})).json()
    assert again in ips, "the very same one"
    shared = (await fly.http.post(f"{other}/ip_assignments", json={"type": "shared_v4"})).json()["ip"]
    assert shared in own, "it is shared between apps"
    await fly.http.delete(f"{other}/ip_assignments/{shared}")
    assert len((await fly.http.get(f"{app}/ip_assignments")).json()["ips"]) == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"type": "v5"}, 400),
        ({}, 400),
        ({"type": "v6", "region": "moon"}, 400),
        ({"type": "v6", "org_slug": "nobody"}, 404),
        ({"type": "private_v6", "network": "another"}, 422),
        ({"type": "v6", "count": 2}, 400),
    ],
)
async def test_a_wrong_address_is_refused(fly: Fly, body: dict[str, object], status: int) -> None:
    app = await fly.app()
    assert (await fly.http.post(f"{app}/ip_assignments", json=body)).status_code == status
