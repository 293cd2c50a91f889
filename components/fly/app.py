"""An app: the name that machines, secrets, addresses and certificates belong to."""

from __future__ import annotations

from typing import Any

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.fly.api import Api, at
from components.fly.errors import FlyError
from components.fly.provider import APP_NAME, APP_WANTED, AdoptingProvider, Props, changed, known, matching

PERSONAL = "personal"  # Fly's alias for an account's own organization, whose real slug is another
READABLE_S = 60.0  # a new app answers 401 or 404 for a while
POLL_S = 1.0
NOT_YET = (401, 404)


class AppProvider(AdoptingProvider):
    """Keeps one app. Names are global to Fly.io: creating adopts an app of the same organization."""

    def check(self, _olds: Props, news: Props) -> CheckResult:
        failures = [
            *matching(news, "app", APP_NAME, APP_WANTED),
            *matching(news, "organization", r"[a-z0-9-]+", "the slug `fly orgs list` shows"),
        ]
        if known(news["app"]):
            news["hostname"] = f"{news['app']}.fly.dev"
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        keys = changed(olds, news)
        return DiffResult(bool(keys), sorted(keys & {"app", "organization", "network"}), delete_before_replace=True)

    def make(self, props: Props) -> CreateResult:
        app = props["app"]
        found = get_app(self.api, app)
        if found is None:
            self.api.send_once(
                "/apps",
                to=f"create app {app}",
                body=_creation(props),
                look=lambda: get_app(self.api, app),
            )
            found = self._wait_until_readable(app)
        _refuse_another(found, props)
        return CreateResult(app, props)

    def read(self, id_: str, props: Props) -> ReadResult:
        if (found := get_app(self.api, id_)) is None:
            return ReadResult("", {})
        live = {**props, "organization": _organization(found, props)}
        return ReadResult(id_, live, _inputs(live))

    def update(self, _id: str, _olds: Props, news: Props) -> UpdateResult:
        # Only a provider class that moved gets here: Fly changes nothing of an app in place.
        return UpdateResult(news)

    def remove(self, id_: str, _props: Props) -> None:
        self.api.delete(at("apps", id_), to=f"delete app {id_}", params={"force": "true"})

    def _wait_until_readable(self, app: str) -> Props:
        give_up_at = self.api.clock.now() + READABLE_S
        while True:
            try:
                if (found := get_app(self.api, app)) is not None:
                    return found
            except FlyError as error:
                if error.status not in NOT_YET or self.api.clock.now() > give_up_at:
                    raise
            if self.api.clock.now() > give_up_at:
                raise FlyError(
                    f"app {app} was created, but Fly.io does not show it after {READABLE_S:.0f} s: "
                    "run `pulumi up` again"
                )
            self.api.clock.sleep(POLL_S)


def get_app(api: Api, app: str) -> Props | None:
    """Fly's app object; None when the name is free. Raises for a name of another organization."""
    try:
        found: Props | None = api.get(at("apps", app), to=f"read app {app}")
    except FlyError as error:
        if error.status == 403:
            raise FlyError(
                f"the app name {app} belongs to another organization (names are global to Fly.io), or flyToken is not "
                f"a token of its organization: choose another name in the setting `app`, or check flyToken. "
                f"{error.said}",
                status=403,
            ) from None
        raise
    return found


def _creation(props: Props) -> dict[str, Any]:
    body = {"name": props["app"], "org_slug": props["organization"]}
    return body | ({"network": props["network"]} if props.get("network") else {})


def _organization(found: Props, props: Props) -> str:
    live: str = (found.get("organization") or {}).get("slug") or props["organization"]
    return PERSONAL if props["organization"] == PERSONAL else live


def _refuse_another(found: Props, props: Props) -> None:
    if (live := _organization(found, props)) != props["organization"]:
        raise FlyError(
            f"the app {props['app']} exists in organization {live}, not in {props['organization']}: "
            "choose another name in the setting `app`, or the organization it is in"
        )
    network, wanted = found.get("network"), props.get("network")
    if wanted and network and network != wanted:
        raise FlyError(
            f"the app {props['app']} exists on network {network}, not on {wanted}; a network cannot be changed: "
            "choose another app name, or delete the app"
        )


def _inputs(props: Props) -> Props:
    return {key: props[key] for key in ("app", "organization", "network", "hostname") if props.get(key) is not None}


class App(Resource, module="fly", name="App"):
    """A Fly.io app of an organization, by its slug. `network` is a private network of its own; immutable."""

    app: Output[str]
    organization: Output[str]
    network: Output[str | None]
    hostname: Output[str]
    """`<app>.fly.dev`."""

    def __init__(
        self,
        resource_name: str,
        /,
        *,
        app: Input[str],
        organization: Input[str],
        network: Input[str] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        props = {"app": app, "organization": organization, "network": network, "hostname": None}
        super().__init__(AppProvider(), resource_name, props, opts)
