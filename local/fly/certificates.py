"""/v1/apps/{app}/certificates: a hostname routes to the app whose certificate for it is active.

No certificate authority is asked: a certificate becomes active as Fly's would, once the DNS records are right.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import AfterValidator

from local.fly import addresses
from local.fly.bodies import Body, number, read
from local.fly.errors import ApiError
from local.fly.objects import App, Certificate
from local.fly.times import rfc3339
from local.fly.world import WORLD, World
from local.fly.zone import Answer, Zone, canonical

routes = web.RouteTableDef()
CERTIFICATES = "/v1/apps/{app}/certificates"
CERTIFICATE = CERTIFICATES + "/{hostname}"
LIFETIME_S = 90 * 24 * 3600
PAGE = 25
LONGEST_PAGE = 500


def _hostname(text: str) -> str:
    if not re.fullmatch(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,}", text.lower()):
        raise ValueError(f"{text!r} is no hostname")
    return canonical(text)


class RequestAcme(Body):
    hostname: Annotated[str, AfterValidator(_hostname)]


@dataclass(frozen=True)
class Validation:
    """What DNS says about a certificate now."""

    answer: Answer
    points_here: bool
    """The hostname resolves to an address of the app."""
    challenge: bool
    """The _acme-challenge CNAME is right: works without pointing here, as behind a CDN."""
    ownership_txt: bool
    owned: bool
    """An address of the app's own, the challenge or the TXT record prove it: a shared IPv4 does not."""

    @property
    def status(self) -> str:
        if not (self.points_here or self.challenge):
            return "pending_validation"
        return "active" if self.owned else "pending_ownership"


@routes.get(CERTIFICATES)
async def list_certificates(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    part = request.query.get("filter", "")
    found = [c for c in world.store.certificates if c.app == app.name and part in c.hostname]
    limit = number(request, "limit", PAGE, 1, LONGEST_PAGE)
    first = number(request, "cursor", 0, 0, len(found)) if request.query.get("cursor") else 0
    page = found[first : first + limit]
    more = str(first + limit) if first + limit < len(found) else ""
    summaries = [_summary(world, app, certificate) for certificate in page]
    return web.json_response({"certificates": summaries, "next_cursor": more, "total_count": len(found)})


@routes.post(CERTIFICATES + "/acme")
async def create(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    body = await read(request, RequestAcme)
    if (other := world.store.certificates.get(body.hostname)) is not None:
        raise ApiError(422, f"hostname {body.hostname} already has a certificate on app {other.app}")
    now = time.time()
    certificate = Certificate(body.hostname, app.name, now, now)
    world.store.certificates.put(certificate)
    return web.json_response(_detail(world, app, certificate), status=201)


@routes.post(CERTIFICATES + "/custom")
async def upload(request: web.Request) -> web.Response:
    raise ApiError(501, "the embedded Fly takes no certificates of your own: it serves plain HTTP")


@routes.get(CERTIFICATE)
async def get(request: web.Request) -> web.Response:
    return web.json_response(_detail(request.app[WORLD], *_named(request)))


@routes.post(CERTIFICATE + "/check")
async def check(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    app, certificate = _named(request)
    certificate.updated_at = time.time()
    world.store.certificates.put(certificate)
    answer = validate(world, app, certificate).answer
    zone = visible_zone(world)
    records = {
        "a": answer.a,
        "aaaa": answer.aaaa,
        "cname": answer.cname,
        "resolved_addresses": [*answer.a, *answer.aaaa],
        "acme_challenge_cname": next(iter(zone.values(f"_acme-challenge.{_base(certificate)}", "CNAME")), ""),
        "ownership_txt": next(iter(zone.values(f"_fly-ownership.{_base(certificate)}", "TXT")), ""),
    }
    return web.json_response({**_detail(world, app, certificate), "dns_records": records})


@routes.delete(CERTIFICATE)
async def delete(request: web.Request) -> web.Response:
    _, certificate = _named(request)
    request.app[WORLD].store.certificates.remove(certificate)
    return web.Response(status=204)


def active_app(world: World, hostname: str) -> str | None:
    """The app a hostname routes to by an active certificate, its own or a wildcard's."""
    name = canonical(hostname)
    for candidate in (name, f"*.{name.partition('.')[2]}"):
        certificate = world.store.certificates.get(candidate)
        if certificate is not None:
            app = world.store.apps[certificate.app]
            return app.name if _status(world, app, certificate) == "active" else None
    return None


def visible_zone(world: World) -> Zone:
    limit = time.time() - world.settings.dns_propagation_s
    public: dict[str, list[str]] = {}
    for address in world.store.addresses:
        if address.type != "private_v6":
            public.setdefault(address.app, []).append(address.ip)
    return Zone((record for record in world.store.zone if record.published_at <= limit), public)


def validate(world: World, app: App, certificate: Certificate) -> Validation:
    zone = visible_zone(world)
    answer = zone.resolve(certificate.hostname)
    own = {address.ip: address.type for address in addresses.of_app(world, app)}
    needed = _requirements(world, app, certificate)
    challenge = needed["acme_challenge"]
    challenged = any(canonical(value) == challenge["target"] for value in zone.values(challenge["name"], "CNAME"))
    ownership = needed["ownership"]
    texts = {value.strip('"') for value in zone.values(ownership["name"], "TXT")}
    proven = bool(texts & {ownership["app_value"], ownership["org_value"]})
    resolved = [own[ip] for ip in (*answer.a, *answer.aaaa) if ip in own]
    return Validation(
        answer=answer,
        points_here=bool(resolved),
        challenge=challenged,
        ownership_txt=proven,
        owned=proven or challenged or any(kind != "shared_v4" for kind in resolved),
    )


def _status(world: World, app: App, certificate: Certificate) -> str:
    """Issuing takes its time even where everything is right already."""
    status = validate(world, app, certificate).status
    issued = time.time() >= certificate.created_at + world.settings.certificate_s
    issued = issued and not world.faults.holds("certificate_stuck", certificate.hostname)
    return "pending_validation" if status == "active" and not issued else status


def _named(request: web.Request) -> tuple[App, Certificate]:
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    hostname = canonical(request.match_info["hostname"])
    certificate = world.store.certificates.get(hostname)
    if certificate is None or certificate.app != app.name:
        raise ApiError(404, f"app {app.name} has no certificate for {hostname}")
    return app, certificate


def _base(certificate: Certificate) -> str:
    """DNS names about a wildcard are those of the domain below it."""
    return certificate.hostname.removeprefix("*.")


def _requirements(world: World, app: App, certificate: Certificate) -> dict[str, Any]:
    own = [address for address in addresses.of_app(world, app) if address.type != "private_v6"]
    base = _base(certificate)
    return {
        "a": [address.ip for address in own if ":" not in address.ip],
        "aaaa": [address.ip for address in own if ":" in address.ip],
        "cname": f"{app.name}.fly.dev",
        "acme_challenge": {"name": f"_acme-challenge.{base}", "target": f"{base}.{app.id}.flydns.net"},
        "ownership": {
            "name": f"_fly-ownership.{base}",
            "app_value": f"app-{app.id}",
            "org_value": f"org-{world.organization.id}",
        },
    }


def _detail(world: World, app: App, certificate: Certificate) -> dict[str, Any]:
    validation = validate(world, app, certificate)
    status = _status(world, app, certificate)
    issued = []
    if status == "active":
        issued = [
            {"type": kind, "expires_at": rfc3339(certificate.created_at + LIFETIME_S), "certificate_authority": "none"}
            for kind in ("ecdsa", "rsa")
        ]
    return {
        "hostname": certificate.hostname,
        "configured": validation.points_here,
        "acme_requested": True,
        "status": status,
        "dns_provider": "embedded",
        "certificates": [
            {
                "source": "fly",
                "status": status,
                "created_at": rfc3339(certificate.created_at),
                "expires_at": rfc3339(certificate.created_at + LIFETIME_S),
                "issuer": "embedded Fly: no certificate exists",
                "issued": issued,
            }
        ],
        "validation": {
            "dns_configured": validation.challenge,
            "alpn_configured": validation.points_here,
            "http_configured": validation.points_here,
            "ownership_txt_configured": validation.ownership_txt,
        },
        "dns_requirements": _requirements(world, app, certificate),
        "validation_errors": [],
    }


def _summary(world: World, app: App, certificate: Certificate) -> dict[str, Any]:
    validation = validate(world, app, certificate)
    status = _status(world, app, certificate)
    return {
        "hostname": certificate.hostname,
        "status": status,
        "dns_provider": "embedded",
        "configured": validation.points_here,
        "acme_requested": True,
        "acme_dns_configured": validation.challenge,
        "acme_alpn_configured": validation.points_here,
        "acme_http_configured": validation.points_here,
        "ownership_txt_configured": validation.ownership_txt,
        "has_custom_certificate": False,
        "has_fly_certificate": status == "active",
        "created_at": rfc3339(certificate.created_at),
        "updated_at": rfc3339(certificate.updated_at),
    }
