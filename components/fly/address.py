"""An address of an app: how the world, or the organization's private network, reaches its services."""

from __future__ import annotations

from typing import Any

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.fly.api import Api, at
from components.fly.provider import APP_NAME, APP_WANTED, AdoptingProvider, Props, changed, matching

KINDS = ("v6", "shared_v4", "private_v6")


class AddressProvider(AdoptingProvider):
    """Keeps one address of each kind. Fly's own creation makes another one each time, so this looks first."""

    def check(self, _olds: Props, news: Props) -> CheckResult:
        failures = [
            *matching(news, "app", APP_NAME, APP_WANTED),
            *matching(news, "kind", "|".join(KINDS), " or ".join(KINDS)),
        ]
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        keys = changed(olds, news)
        return DiffResult(bool(keys), sorted(keys & {"app", "kind"}))

    def make(self, props: Props) -> CreateResult:
        app, kind = props["app"], props["kind"]

        def look() -> Props | None:
            return next((found for found in _addresses(self.api, app) if kind_of(found) == kind), None)

        found = look() or self.api.send_once(
            at("apps", app, "ip_assignments"),
            to=f"allocate a {kind} address for app {app}",
            body={"type": kind},
            look=look,
            repeat=False,  # two would both stay
        )
        return CreateResult(f"{app}/{found['ip']}", {**props, "address": found["ip"]})

    def read(self, id_: str, props: Props) -> ReadResult:
        app, _, address = id_.partition("/")
        found = self.api.get_shared(at("apps", app, "ip_assignments"), to=f"list addresses of app {app}")
        live = next((entry for entry in (found or {}).get("ips") or [] if entry["ip"] == address), None)
        if live is None:
            return ReadResult("", {})
        inputs = {"app": app, "kind": kind_of(live)}
        return ReadResult(id_, {**props, **inputs, "address": address}, inputs)

    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        # Only a provider class that moved gets here: Fly changes nothing of an address in place.
        return UpdateResult({**olds, **news})

    def remove(self, id_: str, _props: Props) -> None:
        app, _, address = id_.partition("/")
        self.api.delete(at("apps", app, "ip_assignments", address), to=f"release the address {address} of app {app}")


def kind_of(found: Props) -> str:
    """Fly's list names no type: it follows from the address."""
    address: str = found["ip"]
    if address.startswith("fdaa:"):
        return "private_v6"
    if ":" in address:
        return "v6"
    return "shared_v4" if found.get("shared") else "v4"


def _addresses(api: Api, app: str) -> list[Any]:
    found = api.get(at("apps", app, "ip_assignments"), to=f"list addresses of app {app}")
    return (found or {}).get("ips") or []


class Address(Resource, module="fly", name="Address"):
    """The app's address of one kind: v6, shared_v4 (both public), or private_v6 (Flycast)."""

    app: Output[str]
    kind: Output[str]
    address: Output[str]

    def __init__(
        self, resource_name: str, /, *, app: Input[str], kind: Input[str], opts: ResourceOptions | None = None
    ) -> None:
        super().__init__(AddressProvider(), resource_name, {"app": app, "kind": kind, "address": None}, opts)
