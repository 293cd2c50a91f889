"""Secrets of an app, in named sets.

Fly never gives a value back. So the values live in the resource's properties, encrypted in the state, and the
digests Fly returns tell whether someone has changed or removed one in the meantime.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.fly.api import at
from components.fly.claims import Claims
from components.fly.errors import FlyError
from components.fly.provider import APP_NAME, APP_WANTED, FlyProvider, Props, changed, known, matching

_claims = Claims()


class SecretsProvider(FlyProvider):
    """Keeps the secrets named in `values`, all in one request, and touches no other.

    Removing a name unsets it. Setting reaches running machines only when they are updated: pass `version` on as
    their `min_secrets_version`.
    """

    def check(self, _olds: Props, news: Props) -> CheckResult:
        return CheckResult(news, [*matching(news, "app", APP_NAME, APP_WANTED), *_value_failures(news), *_taken(news)])

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        keys = changed(olds, news)
        # A name someone edited is no longer among the values; when the program drops it too, it is still ours to unset.
        left_over = olds["digests"].keys() - news["values"].keys() if isinstance(news["values"], dict) else set()
        return DiffResult(bool(keys or left_over), sorted(keys & {"app", "set"}))

    def create(self, props: Props) -> CreateResult:
        return CreateResult(f"{props['app']}/{props['set']}", {**props, **self._set(props, unset=set())})

    def read(self, id_: str, props: Props) -> ReadResult:
        app = id_.partition("/")[0]
        found = self.api.get_shared(at("apps", app, "secrets"), to=f"list secrets of app {app}")
        if found is None:
            return ReadResult("", {})
        live = _digests(found)
        recorded = props["digests"]
        # A value someone else has set is not known. Leaving it out shows it in the preview, and sets it again.
        untouched = {name: value for name, value in props["values"].items() if live.get(name) == recorded.get(name)}
        inputs = {"app": app, "set": props["set"], "values": untouched}
        digests = {name: live[name] for name in recorded if name in live}
        return ReadResult(id_, {**props, **inputs, "digests": digests}, inputs)

    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        return UpdateResult({**news, **self._set(news, unset=_owned(olds) - {*news["values"]})})

    def delete(self, id_: str, props: Props) -> None:
        unset = _owned(props)
        try:
            if unset:
                self._send(id_.partition("/")[0], dict.fromkeys(unset))
        except FlyError as error:
            if error.status != 404:
                raise

    def _set(self, props: Props, *, unset: set[str]) -> Props:
        app = props["app"]
        answer = self._send(app, {**props["values"], **dict.fromkeys(unset)})
        digests = _digests(answer)
        if not digests.keys() >= props["values"].keys():
            digests = _digests(self.api.get(at("apps", app, "secrets"), to=f"list secrets of app {app}") or {})
        return {
            "digests": {name: digests[name] for name in props["values"] if name in digests},
            "version": answer["version"],
        }

    def _send(self, app: str, values: Mapping[str, str | None]) -> Props:
        answer: Props = self.api.send(
            "POST",
            at("apps", app, "secrets"),
            to=f"set the secrets {', '.join(sorted(values))} of app {app}",
            body={"values": values},
            hidden=[value for value in values.values() if value],
        )
        return answer


def _owned(props: Props) -> set[str]:
    """Names that are this set's to unset: those another set of the program has taken over are not."""
    names = {*props["values"], *props["digests"]}
    return {name for name in names if not _claims.is_of_another(props["app"], name, props["set"])}


def _digests(answer: Props) -> dict[str, str]:
    return {entry["name"]: entry.get("digest") or "" for entry in answer.get("secrets") or []}


def _value_failures(news: Props) -> list[CheckFailure]:
    values = news.get("values")
    if not isinstance(values, dict):
        return []
    return [
        *(
            CheckFailure("values", f"{name!r} is no name of an environment variable: give letters, digits and _")
            for name in values
            if not (name.isascii() and name.isidentifier())
        ),
        *(
            CheckFailure("values", f"{name} is not text, or empty: a secret needs a value")
            for name, value in values.items()
            if known(value) and not (isinstance(value, str) and value)
        ),
    ]


def _taken(news: Props) -> list[CheckFailure]:
    if not known(news["app"]) or not isinstance(news.get("values"), dict):
        return []
    owners = {name: _claims.claim(news["app"], name, news["set"]) for name in news["values"]}
    return [
        CheckFailure(
            "values",
            f"{name} of app {news['app']} is already set by the Secrets {owner!r}: two owners would undo each other, "
            "so remove it from one",
        )
        for name, owner in owners.items()
        if owner
    ]


class Secrets(Resource, module="fly", name="Secrets"):
    """A named set of an app's secrets: name → value. `version` is what machines wait for to see them."""

    app: Output[str]
    digests: Output[dict[str, str]]
    """Fly's opaque digest of each value."""
    version: Output[int]

    def __init__(
        self,
        resource_name: str,
        /,
        *,
        app: Input[str],
        values: Mapping[str, Input[str]],
        opts: ResourceOptions | None = None,
    ) -> None:
        props = {
            "app": app,
            "set": resource_name,
            "values": {name: Output.secret(value) for name, value in values.items()},
            "digests": None,
            "version": None,
        }
        secret = ResourceOptions(additional_secret_outputs=["values"])
        super().__init__(SecretsProvider(), resource_name, props, pulumi.ResourceOptions.merge(secret, opts))
