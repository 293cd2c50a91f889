"""What every resource of Fly has in common: where its Api comes from, how it compares, how it is refused."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CheckFailure, ConfigureRequest, CreateResult, ResourceProvider

from components.fly.api import API_URL, GRAPHQL_URL, Api
from components.fly.errors import FlyError

Props = dict[str, Any]
"""Inputs or outputs of a resource as they cross the wire: numbers are floats, absent means None."""

APP_NAME = r"[a-z0-9][a-z0-9-]{0,62}"
APP_WANTED = "at most 63 lower-case letters, digits and hyphens"
REGION = r"[a-z]{3}"
REGION_WANTED = "a Fly.io region of three letters, for example ord"


class FlyProvider(ResourceProvider):
    """Base of the providers. A subclass stands at the top of its module and keeps no state.

    So Pulumi pickles a reference to the class, never its code: editing it changes no resource, and the state
    holds no token.
    """

    serialize_as_secret_always = False
    api: Api

    def configure(self, req: ConfigureRequest) -> None:
        sys.tracebacklimit = 0  # an expected failure reads as one line
        token = req.config.get("flyToken")
        if not token:
            raise FlyError(
                "the setting flyToken is missing: make a token with `fly tokens create org` and set it with "
                "`pulumi config set --secret flyToken`"
            )
        self.api = _shared_api(
            token, req.config.get("flyApiUrl") or API_URL, req.config.get("flyGraphqlUrl") or GRAPHQL_URL
        )


class AdoptingProvider(FlyProvider):
    """Base of those that adopt what is there.

    A resource that gets another name in the program, without an alias, is one to create, which adopts the object,
    and one to delete, which must not take it away again. `make` and `remove` are a subclass's create and delete.
    """

    def create(self, props: Props) -> CreateResult:
        result = self.make(props)
        self.api.adopted.add((type(self).__name__, result.id))
        return result

    def delete(self, id_: str, props: Props) -> None:
        if (type(self).__name__, id_) not in self.api.adopted:
            self.remove(id_, props)

    def make(self, props: Props) -> CreateResult:
        raise NotImplementedError

    def remove(self, id_: str, props: Props) -> None:
        raise NotImplementedError


@functools.cache
def _shared_api(token: str, url: str, graphql_url: str) -> Api:
    """One per process: rates and shared reads only work when all resources use the same."""
    return Api(token, url, graphql_url)


def changed(olds: Mapping[str, Any], news: Mapping[str, Any]) -> set[str]:
    """Inputs whose value differs from what is there; an unknown value counts as different."""
    return {key for key, value in news.items() if olds.get(key) != value}


def known(*values: object) -> bool:
    return not any(pulumi.contains_unknowns(value) for value in values)


def matching(news: Mapping[str, Any], key: str, pattern: str, wanted: str) -> list[CheckFailure]:
    """The failure of an input that is no text matching `pattern`; none while it is unknown."""
    value = news.get(key)
    if not known(value) or (isinstance(value, str) and re.fullmatch(pattern, value)):
        return []
    return [CheckFailure(key, f"{key} is {value!r}; give {wanted}")]


def whole(value: Any) -> Any:
    """Numbers arrive as floats: 3.0 → 3, everywhere in `value`."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
