"""Everything the program and the embedded Fly say to each other in a stack's whole life, held against the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.proxy import Proxy, validating
from tests.end_to_end.local import DEFAULTS, Local, prepared

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("bad-input")]


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with prepared(tmp_path_factory.mktemp("held")) as stack:
        yield stack


@pytest.fixture
def proxy(stack: Local) -> Iterator[Proxy]:
    with validating(stack.status()["fly_api_url"]) as proxy:
        stack.configure("flyApiUrl", proxy.url)
        stack.configure("flyGraphqlUrl", proxy.url)
        yield proxy


def test_a_whole_life_keeps_to_the_contract(stack: Local, proxy: Proxy) -> None:
    groups, redis = DEFAULTS["groups"], DEFAULTS["cacheRedis"]
    stack.pulumi("up", "--yes", "--skip-preview")
    stack.configure("groups", groups | {"edge": groups["edge"] | {"memoryMb": 512}})
    stack.configure("cacheRedis", redis | {"plan": "Fixed 250MB"})
    stack.configure("teams", {"only": {"requestsPerMinute": 1, "tokensPerMinute": 1, "usdPerDay": 1}})
    stack.pulumi("up", "--yes", "--skip-preview")
    stack.pulumi("refresh", "--yes")
    stack.pulumi("destroy", "--yes", "--skip-preview")
    assert proxy.problems == []
    assert sum(proxy.calls.values()) > 50, "the stack really spoke through the proxy"
