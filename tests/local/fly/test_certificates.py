from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.local.fly.conftest import Fly, Serve

HOST = "gateway.example.com"


async def requested(fly: Fly, *kinds: str) -> dict[str, Any]:
    """A certificate of an app with addresses of these kinds."""
    app = await fly.app()
    for kind in kinds:
        assert (await fly.http.post(f"{app}/ip_assignments", json={"type": kind})).status_code == 200
    answer = await fly.http.post(f"{app}/certificates/acme", json={"hostname": HOST})
    assert answer.status_code == 201, answer.text
    detail: dict[str, Any] = answer.json()
    return detail


async def publish(fly: Fly, *records: tuple[str, str, str]) -> None:
    body = [{"name": name, "type": kind, "value": value} for name, kind, value in records]
    answer = await fly.http.put("/_embedded/zone", json=body)
    assert answer.status_code == 204, answer.text


async def status(fly: Fly) -> str:
    detail: dict[str, str] = (await fly.http.get(f"/v1/apps/shop/certificates/{HOST}")).json()
    return detail["status"]


async def test_a_certificate_is_pending_and_says_what_dns_needs(fly: Fly) -> None:
    made = await requested(fly, "v6", "shared_v4", "private_v6")
    assert (made["status"], made["configured"], made["acme_requested"]) == ("pending_validation", False, True)
    needed = made["dns_requirements"]
    assert needed["a"] == ["192.0.2.1"]
    assert [address.startswith("2001:db8:") for address in needed["aaaa"]] == [True]
    assert needed["cname"] == "shop.fly.dev"
    assert needed["acme_challenge"]["name"] == f"_acme-challenge.{HOST}"
    assert needed["ownership"]["name"] == f"_fly-ownership.{HOST}"
    assert (await fly.http.get(f"/v1/apps/shop/certificates/{HOST}")).json() == made


async def test_the_records_that_make_it_active(fly: Fly) -> None:
    needed = (await requested(fly, "v6", "shared_v4"))["dns_requirements"]
    challenge, ownership = needed["acme_challenge"], needed["ownership"]
    a, aaaa = (HOST, "A", needed["a"][0]), (HOST, "AAAA", needed["aaaa"][0])
    for records, expected in [
        ([], "pending_validation"),
        ([(HOST, "A", "203.0.113.9")], "pending_validation"),
        ([a], "pending_ownership"),
        ([a, (ownership["name"], "TXT", "app-of-another")], "pending_ownership"),
        ([a, (ownership["name"], "TXT", ownership["app_value"])], "active"),
        ([a, (ownership["name"], "TXT", f'"{ownership["org_value"]}"')], "active"),
        ([(ownership["name"], "TXT", ownership["app_value"])], "pending_validation"),
        ([aaaa], "active"),
        ([(f"{HOST}.", "AAAA", needed["aaaa"][0])], "active"),
        ([(HOST, "CNAME", "shop.fly.dev.")], "active"),
        ([(HOST, "CNAME", "edge.example.com"), ("edge.example.com", "CNAME", "Shop.fly.dev")], "active"),
        ([(HOST, "CNAME", "other.fly.dev")], "pending_validation"),
        ([(HOST, "CNAME", HOST)], "pending_validation"),
        ([(challenge["name"], "CNAME", challenge["target"])], "active"),
        ([(challenge["name"], "CNAME", "elsewhere.flydns.net")], "pending_validation"),
    ]:
        await publish(fly, *records)
        assert await status(fly) == expected, records


async def test_a_name_that_points_to_an_app_without_addresses_points_nowhere(fly: Fly) -> None:
    await requested(fly)
    await publish(fly, (HOST, "CNAME", "shop.fly.dev"))
    assert await status(fly) == "pending_validation"


async def test_check_shows_what_dns_says(fly: Fly) -> None:
    needed = (await requested(fly, "v6"))["dns_requirements"]
    await publish(fly, (HOST, "CNAME", "shop.fly.dev"))
    checked = (await fly.http.post(f"/v1/apps/shop/certificates/{HOST}/check")).json()
    assert checked["status"] == "active"
    assert checked["configured"] is True
    assert checked["certificates"][0]["issued"]
    assert checked["dns_records"]["cname"] == ["shop.fly.dev"]
    assert checked["dns_records"]["resolved_addresses"] == needed["aaaa"]


async def test_dns_and_issuing_take_their_time(serve: Serve) -> None:
    fly = await serve(dns_propagation_s=0.15, certificate_s=0)
    needed = (await requested(fly, "v6"))["dns_requirements"]
    await publish(fly, (HOST, "AAAA", needed["aaaa"][0]))
    assert await status(fly) == "pending_validation"
    await asyncio.sleep(0.16)
    assert await status(fly) == "active"
    await publish(fly, (HOST, "AAAA", needed["aaaa"][0]), (HOST, "TXT", "new"))
    assert await status(fly) == "active", "what was published before keeps its age"

    slow = await serve(certificate_s=1000)
    assert await status(slow) == "pending_validation"


async def test_a_hostname_belongs_to_one_app(fly: Fly) -> None:
    await requested(fly, "v6")
    other = await fly.app("other")
    for app in ("/v1/apps/shop", other):
        answer = await fly.http.post(f"{app}/certificates/acme", json={"hostname": HOST.upper()})
        assert answer.status_code == 422
        assert "shop" in answer.json()["error"]
    assert (await fly.http.get(f"{other}/certificates/{HOST}")).status_code == 404
    assert (await fly.http.delete(f"/v1/apps/shop/certificates/{HOST}")).status_code == 204
    assert (await fly.http.delete(f"/v1/apps/shop/certificates/{HOST}")).status_code == 404
    assert (await fly.http.post(f"{other}/certificates/acme", json={"hostname": HOST})).status_code == 201


@pytest.mark.parametrize("hostname", ["", "localhost", "a b.example.com", "-a.example.com", "http://example.com"])
async def test_what_is_no_hostname_is_refused(fly: Fly, hostname: str) -> None:
    app = await fly.app()
    assert (await fly.http.post(f"{app}/certificates/acme", json={"hostname": hostname})).status_code == 422


async def test_the_list_is_paged_and_can_be_filtered(fly: Fly) -> None:
    app = await fly.app()
    names = [f"{letter}.example.com" for letter in "abc"]
    for name in names:
        await fly.http.post(f"{app}/certificates/acme", json={"hostname": name})
    page = (await fly.http.get(f"{app}/certificates", params={"limit": 2})).json()
    assert ([c["hostname"] for c in page["certificates"]], page["total_count"]) == (names[:2], 3)
    rest = (await fly.http.get(f"{app}/certificates", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert ([c["hostname"] for c in rest["certificates"]], rest["next_cursor"]) == (names[2:], "")
    found = (await fly.http.get(f"{app}/certificates", params={"filter": "b.ex"})).json()
    assert [c["hostname"] for c in found["certificates"]] == ["b.example.com"]
    assert found["certificates"][0]["status"] == "pending_validation"
    assert (await fly.http.get(f"{app}/certificates", params={"limit": 501})).status_code == 400


async def test_a_certificate_of_ones_own_is_said_to_be_impossible(fly: Fly) -> None:
    app = await fly.app()
    body = {"hostname": HOST, "fullchain": "x", "private_key": "y"}
    assert (await fly.http.post(f"{app}/certificates/custom", json=body)).status_code == 501


@pytest.mark.parametrize("body", [{"name": "a"}, [{"name": "a", "type": "MX", "value": "b"}], [{"name": "a"}]])
async def test_a_wrong_zone_is_refused_and_the_old_one_stays(fly: Fly, body: object) -> None:
    await publish(fly, (HOST, "A", "192.0.2.1"))
    assert (await fly.http.put("/_embedded/zone", json=body)).status_code == 400
    assert (await fly.http.get("/_embedded/zone")).json() == [{"name": HOST, "type": "A", "value": "192.0.2.1"}]
