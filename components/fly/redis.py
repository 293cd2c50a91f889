"""A Redis database of the organization (Upstash, an add-on of Fly.io); GraphQL is its only API.

Two resources: the database, and its URL, which Fly makes. Apart, a change of plan shows as that change alone, as the
preview still knows the URL; and a database without a URL yet is in the state all the same.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.fly.api import Api
from components.fly.app import PERSONAL
from components.fly.errors import FlyError
from components.fly.normalise import fingerprint
from components.fly.provider import (
    REGION,
    REGION_WANTED,
    AdoptingProvider,
    FlyProvider,
    Props,
    changed,
    known,
    matching,
)

PROVIDER = "upstash_redis"
MADE_S = 120.0  # for its URL to exist
POLL_S = 2.0
OPTIONS = ("eviction", "auto_upgrade")
FIXED = ("name", "organization", "region")

_FIELDS = (
    "id name publicUrl primaryRegion status errorMessage options metadata "
    "addOnPlan { id name displayName } organization { slug }"
)
FIND = f"query ($name: String!, $provider: String!) {{ addOn(name: $name, provider: $provider) {{ {_FIELDS} }} }}"
ORGANIZATION = "query ($slug: String!) { organization(slug: $slug) { id } }"
PLANS = "query ($type: AddOnType!) { addOnPlans(type: $type) { nodes { id name displayName } } }"
CREATE = f"mutation ($input: CreateAddOnInput!) {{ createAddOn(input: $input) {{ addOn {{ {_FIELDS} }} }} }}"
UPDATE = f"mutation ($input: UpdateAddOnInput!) {{ updateAddOn(input: $input) {{ addOn {{ {_FIELDS} }} }} }}"
DELETE = "mutation ($input: DeleteAddOnInput!) { deleteAddOn(input: $input) { deletedAddOnName } }"


class RedisProvider(AdoptingProvider):
    """Keeps one database, known by its name. Replacing it means another password and no data."""

    def check(self, _olds: Props, news: Props) -> CheckResult:
        failures = [
            *matching(news, "name", r"[a-z0-9][a-z0-9-]{0,62}", "lower-case letters, digits and hyphens"),
            *matching(news, "organization", r"[a-z0-9-]+", "the slug `fly orgs list` shows"),
            *matching(news, "region", REGION, REGION_WANTED),
            *matching(news, "plan", r".*\S.*", "the name or id of a plan `fly redis plans` shows"),
            *(
                CheckFailure(key, f"{key} is {news.get(key)!r}; give true or false")
                for key in OPTIONS
                if known(news.get(key)) and not isinstance(news.get(key), bool)
            ),
        ]
        fixed = [news[key] for key in FIXED]
        news["identity"] = fingerprint(fixed) if known(fixed) else pulumi.UNKNOWN
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        keys = changed(olds, news)
        return DiffResult(bool(keys), sorted(keys & {*FIXED}), delete_before_replace=True)

    def make(self, props: Props) -> CreateResult:
        name = props["name"]
        found = find_redis(self.api, name)
        if found is None:
            found = self._create(props)
        _refuse_another(found, props)
        if changed(_inputs(found, props), props) & {"plan", *OPTIONS}:
            self._update(found, props)
        return CreateResult(name, props)

    def read(self, id_: str, props: Props) -> ReadResult:
        if (found := find_redis(self.api, id_)) is None:
            return ReadResult("", {})
        inputs = _inputs(found, props)
        return ReadResult(id_, {**props, **inputs}, inputs)

    def update(self, id_: str, olds: Props, news: Props) -> UpdateResult:
        if changed(olds, news) <= {"__provider"}:
            return UpdateResult(news)
        if (found := find_redis(self.api, id_)) is None:
            raise FlyError(f"the Redis database {id_} is gone: run `pulumi up` again, which makes it anew", status=404)
        self._update(found, news)
        return UpdateResult(news)

    def remove(self, id_: str, _props: Props) -> None:
        try:
            wanted = {"name": id_, "provider": PROVIDER}
            self.api.graphql(DELETE, {"input": wanted}, to=f"delete the Redis database {id_}")
        except FlyError as error:
            if not _is_missing(error):
                raise

    def _create(self, props: Props) -> Props:
        name, slug = props["name"], props["organization"]
        data = self.api.graphql(ORGANIZATION, {"slug": slug}, to=f"read the organization {slug}")
        if not data["organization"]:
            raise FlyError(f"there is no organization {slug}: correct the setting `organization` (`fly orgs list`)")
        wanted = {
            "type": PROVIDER,
            "organizationId": data["organization"]["id"],
            "name": name,
            "planId": self._plan_id(props["plan"]),
            "primaryRegion": props["region"],
            "readRegions": [],
            "options": _options({}, props),
        }

        def look() -> Props | None:
            found = find_redis(self.api, name)
            return found and {"createAddOn": {"addOn": found}}

        made = self.api.graphql(CREATE, {"input": wanted}, to=f"create the Redis database {name}", look=look)
        found: Props = made["createAddOn"]["addOn"]
        return found

    def _update(self, found: Props, props: Props) -> None:
        # Options and metadata are replaced whole, so what others have set goes along.
        wanted = {
            "addOnId": found["id"],
            "planId": self._plan_id(props["plan"]),
            "options": _options(found.get("options") or {}, props),
            "metadata": found.get("metadata"),
        }
        self.api.graphql(UPDATE, {"input": wanted}, to=f"update the Redis database {props['name']}")

    def _plan_id(self, plan: str) -> str:
        data = self.api.graphql(PLANS, {"type": PROVIDER}, to="list the plans of Redis databases")
        plans = data["addOnPlans"]["nodes"]
        for offered in plans:
            if plan in _plan_names(offered):
                found: str = offered["id"]
                return found
        names = ", ".join(repr(offered["displayName"]) for offered in plans)
        raise FlyError(f"there is no Redis plan {plan!r}: give one of {names}")


class RedisUrlProvider(FlyProvider):
    """Reads the URL, password included; waits for it when the database is new."""

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        return DiffResult(bool(changed(olds, news)))

    def create(self, props: Props) -> CreateResult:
        return CreateResult(props["name"], {**props, **self._made(props["name"])})

    def read(self, id_: str, props: Props) -> ReadResult:
        # A password someone has reset is no difference here: it is one of whatever the URL is handed on to.
        found = find_redis(self.api, id_)
        inputs = {"name": props["name"], "identity": props["identity"]}
        return ReadResult(id_, {**props, **_outputs(found)}, inputs) if found else ReadResult("", {})

    def update(self, _id: str, _olds: Props, news: Props) -> UpdateResult:
        return UpdateResult({**news, **self._made(news["name"])})

    def delete(self, _id: str, _props: Props) -> None:
        """The URL goes with its database."""

    def _made(self, name: str) -> Props:
        give_up_at = self.api.clock.now() + MADE_S
        while True:
            found = find_redis(self.api, name)
            if found is None:
                raise FlyError(f"the Redis database {name} is gone: run `pulumi up` again, which makes it anew")
            if found.get("publicUrl"):
                return _outputs(found)
            if found.get("status") == "error" or self.api.clock.now() > give_up_at:
                why = f"; Fly.io says: {found['errorMessage']}" if found.get("errorMessage") else ""
                raise FlyError(
                    f"the Redis database {name} has no URL; its status is {found.get('status')}{why}. "
                    f"Run `pulumi up` again to go on waiting, or `fly redis destroy {name}` to begin anew"
                )
            self.api.clock.sleep(POLL_S)


def find_redis(api: Api, name: str) -> Props | None:
    try:
        data = api.graphql(FIND, {"name": name, "provider": PROVIDER}, to=f"read the Redis database {name}")
    except FlyError as error:
        if _is_missing(error):
            return None
        raise
    found: Props | None = data["addOn"]
    return found


def _is_missing(error: FlyError) -> bool:
    """GraphQL's way to say 404; older answers carry no code."""
    return error.status == 404 or "could not find" in str(error).lower()


def _options(live: Props, props: Props) -> Props:
    """Fly reads an absent option as false, and its own client sends no other."""
    merged = {**live, **{key: props[key] for key in OPTIONS}}
    return {key: value for key, value in merged.items() if value}


def _plan_names(plan: Props) -> set[str | None]:
    return {plan["id"], plan.get("name"), plan.get("displayName")}


def _inputs(found: Props, props: Props) -> Props:
    """What is there, in the words of the program where both mean the same."""
    plan, options = found.get("addOnPlan") or {}, found.get("options") or {}
    slug = (found.get("organization") or {}).get("slug")
    return {
        "name": found["name"],
        "organization": PERSONAL if props["organization"] == PERSONAL else slug or props["organization"],
        "region": found.get("primaryRegion") or props["region"],
        "plan": props["plan"] if not plan or props["plan"] in _plan_names(plan) else plan["displayName"],
        **{key: bool(options.get(key)) for key in OPTIONS},
        "identity": props["identity"],
    }


def _outputs(found: Props) -> Props:
    url = found.get("publicUrl") or ""
    return {"url": url, "host": urlsplit(url).hostname or ""}


def _refuse_another(found: Props, props: Props) -> None:
    live = _inputs(found, props)
    for key in ("organization", "region"):
        if live[key] != props[key]:
            raise FlyError(
                f"a Redis database {props['name']} exists with {key} {live[key]}, not {props[key]}, and that cannot be "
                f"changed: choose another name, or destroy it with `fly redis destroy {props['name']}`"
            )


class Redis(Resource, module="fly", name="Redis"):
    """A Redis database of an organization, by its slug. `plan` is a display name or an id of `fly redis plans`."""

    name: Output[str]
    identity: Output[str]
    url: Output[str]
    """With the password, hence secret; reachable only on the organization's private network."""
    host: Output[str]

    def __init__(
        self,
        resource_name: str,
        /,
        *,
        name: Input[str],
        organization: Input[str],
        region: Input[str],
        plan: Input[str],
        eviction: Input[bool],
        auto_upgrade: Input[bool] = False,
        opts: ResourceOptions | None = None,
    ) -> None:
        props: dict[str, Any] = {
            "name": name,
            "organization": organization,
            "region": region,
            "plan": plan,
            "eviction": eviction,
            "auto_upgrade": auto_upgrade,
            "identity": None,
        }
        super().__init__(RedisProvider(), resource_name, props, opts)
        found = RedisUrl(
            f"{resource_name}-url", name=self.name, identity=self.identity, opts=ResourceOptions(parent=self)
        )
        self.url, self.host = found.url, found.host


class RedisUrl(Resource, module="fly", name="RedisUrl"):
    """The URL of a database; `identity` changes when the database is replaced."""

    url: Output[str]
    host: Output[str]

    def __init__(
        self, resource_name: str, /, *, name: Input[str], identity: Input[str], opts: ResourceOptions | None = None
    ) -> None:
        props: dict[str, Any] = {"name": name, "identity": identity, "url": None, "host": None}
        secret = ResourceOptions(additional_secret_outputs=["url"])
        super().__init__(RedisUrlProvider(), resource_name, props, ResourceOptions.merge(secret, opts))
