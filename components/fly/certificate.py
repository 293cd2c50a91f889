"""A certificate that Fly issues and renews for a hostname, and the DNS records that takes."""

from __future__ import annotations

from typing import Any

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.fly.api import at
from components.fly.provider import APP_NAME, APP_WANTED, AdoptingProvider, Props, changed, matching

HOSTNAME = r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
HOSTNAME_WANTED = "a host name in lower case, for example gateway.example.com"


class CertificateProvider(AdoptingProvider):
    """Keeps one certificate. It stays pending until the DNS records exist: that is a status, never a difference."""

    def check(self, _olds: Props, news: Props) -> CheckResult:
        failures = [
            *matching(news, "app", APP_NAME, APP_WANTED),
            *matching(news, "hostname", HOSTNAME, HOSTNAME_WANTED),
        ]
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        keys = changed(olds, news)
        return DiffResult(bool(keys), sorted(keys & {"app", "hostname"}))

    def make(self, props: Props) -> CreateResult:
        app, hostname = props["app"], props["hostname"]
        found = self._get(app, hostname) or self.api.send_once(
            at("apps", app, "certificates", "acme"),
            to=f"request a certificate for {hostname} on app {app}",
            body={"hostname": hostname},
            look=lambda: self._get(app, hostname),
        )
        return CreateResult(f"{app}/{hostname}", {**props, **_outputs(found)})

    def read(self, id_: str, props: Props) -> ReadResult:
        app, _, hostname = id_.partition("/")
        if (found := self._get(app, hostname)) is None:
            return ReadResult("", {})
        inputs = {"app": app, "hostname": hostname}
        return ReadResult(id_, {**props, **inputs, **_outputs(found)}, inputs)

    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        # Only a provider class that moved gets here: Fly changes nothing of a certificate in place.
        return UpdateResult({**olds, **news})

    def remove(self, id_: str, _props: Props) -> None:
        app, _, hostname = id_.partition("/")
        self.api.delete(
            at("apps", app, "certificates", hostname), to=f"delete the certificate for {hostname} of app {app}"
        )

    def _get(self, app: str, hostname: str) -> Props | None:
        found: Props | None = self.api.get(
            at("apps", app, "certificates", hostname), to=f"read the certificate for {hostname} of app {app}"
        )
        return found


def _outputs(found: Props) -> Props:
    needed = found.get("dns_requirements") or {}
    challenge, ownership = needed.get("acme_challenge") or {}, needed.get("ownership") or {}
    return {
        "status": found.get("status") or "",
        "dns_requirements": {
            "a": needed.get("a") or [],
            "aaaa": needed.get("aaaa") or [],
            "cname": needed.get("cname") or "",
            "acme_challenge": {"name": challenge.get("name") or "", "target": challenge.get("target") or ""},
            "ownership": {
                "name": ownership.get("name") or "",
                "app_value": ownership.get("app_value") or "",
                "org_value": ownership.get("org_value") or "",
            },
        },
    }


class Certificate(Resource, module="fly", name="Certificate"):
    """A certificate for `hostname`, which also makes Fly Proxy route that name to the app."""

    app: Output[str]
    hostname: Output[str]
    status: Output[str]
    """active, pending_validation or pending_ownership, when last looked at."""
    dns_requirements: Output[dict[str, Any]]
    """a, aaaa: addresses; cname: target; acme_challenge: name, target (a CNAME); ownership: name, app_value,
    org_value (a TXT record). Empty where Fly asks for nothing."""

    def __init__(
        self, resource_name: str, /, *, app: Input[str], hostname: Input[str], opts: ResourceOptions | None = None
    ) -> None:
        props = {"app": app, "hostname": hostname, "status": None, "dns_requirements": None}
        super().__init__(CertificateProvider(), resource_name, props, opts)
