"""The queries of Fly's own command-line client, anonymous and named, and how refusals look."""

from __future__ import annotations

import pytest

from tests.local.fly.conftest import Fly, Serve

APP_COMPACT = """query ($appName: String!) {
  appcompact: app(name: $appName) {
    id internalNumericId name hostname deployed status appUrl platformVersion
    organization { id internalNumericId slug paidPlan }
    postgresAppRole: role { name }
  }
}"""
APP_BASIC = """query ($appName: String!) {
  appbasic: app(name: $appName) {
    id name platformVersion organization { id internalNumericId slug rawSlug paidPlan }
  }
}"""
APP_FULL = """query ($appName: String!) {
  app(name: $appName) {
    id internalNumericId name hostname deployed status version appUrl platformVersion
    currentRelease { evaluationId status inProgress version }
    config { definition }
    organization { id slug paidPlan }
    services { description protocol internalPort ports { port handlers } }
    ipAddresses { nodes { id address type createdAt } }
    sharedIpAddress
    imageDetails { registry repository tag digest version }
    machines {
      nodes { id name config state region createdAt app { name } ips { nodes { family kind ip maskSize } } host { id } }
    }
    postgresAppRole: role { name }
    limitedAccessTokens { nodes { id name expiresAt } }
  }
}"""
APPS = """query ($org: ID, $role: String, $after: String) {
  apps(type: "container", first: 2, after: $after, organizationId: $org, role: $role) {
    pageInfo { hasNextPage endCursor }
    nodes { id name deployed hostname platformVersion organization { slug name } currentRelease { createdAt } status }
  }
}"""
ORGANIZATIONS = """query ($admin: Boolean!) {
  organizations(admin: $admin) {
    nodes { id slug rawSlug name type paidPlan billable viewerRole internalNumericId }
  }
}"""
ALLOCATE = """mutation ($input: AllocateIPAddressInput!) {
  allocateIpAddress(input: $input) { ipAddress { id address type region createdAt } app { sharedIpAddress } }
}"""
RELEASE = "mutation ($input: ReleaseIPAddressInput!) { releaseIpAddress(input: $input) { clientMutationId } }"


async def test_the_forms_of_an_app(fly: Fly) -> None:
    await fly.app()
    port = {"port": 443, "handlers": ["tls", "http"]}
    service = {"protocol": "tcp", "internal_port": 4000, "ports": [port]}
    await fly.machine(name="web", config={"image": "known:1", "services": [service]})
    compact = (await fly.graphql(APP_COMPACT, appName="shop"))["data"]["appcompact"]
    assert (compact["id"], compact["hostname"], compact["deployed"]) == ("shop", "shop.fly.dev", True)
    assert compact["platformVersion"] == "machines"
    assert isinstance(compact["internalNumericId"], int)
    assert isinstance(compact["organization"]["internalNumericId"], str), "a number would break Fly's client"
    assert (await fly.graphql(APP_BASIC, appName="shop"))["data"]["appbasic"]["organization"]["rawSlug"] == "acme"
    full = (await fly.graphql(APP_FULL, appName="shop"))["data"]["app"]
    assert full["services"] == [
        {
            "description": "",
            "protocol": "TCP",
            "internalPort": 4000,
            "ports": [{"port": 443, "handlers": ["TLS", "HTTP"]}],
        }
    ]
    machine = full["machines"]["nodes"][0]
    assert (machine["name"], machine["state"], machine["app"]["name"]) == ("web", "started", "shop")
    assert machine["config"]["image"] == "known:1"
    assert machine["ips"]["nodes"][0]["ip"].startswith("fdaa:")


async def test_apps_are_paged(fly: Fly) -> None:
    for name in ("a", "b", "c"):
        await fly.app(name)
    first = (await fly.graphql(APPS))["data"]["apps"]
    assert ([node["name"] for node in first["nodes"]], first["pageInfo"]["hasNextPage"]) == (["a", "b"], True)
    rest = (await fly.graphql(APPS, after=first["pageInfo"]["endCursor"]))["data"]["apps"]
    assert ([node["name"] for node in rest["nodes"]], rest["pageInfo"]["hasNextPage"]) == (["c"], False)
    assert (await fly.graphql(APPS, role="postgres_cluster"))["data"]["apps"]["nodes"] == []
    assert (await fly.graphql(APPS, after=""))["data"]["apps"]["nodes"] == first["nodes"]


async def test_the_organization(fly: Fly) -> None:
    nodes = (await fly.graphql(ORGANIZATIONS, admin=False))["data"]["organizations"]["nodes"]
    assert [node["slug"] for node in nodes] == ["acme"]
    by_id = "query ($id: ID) {organization(id: $id) {slug}}"
    assert (await fly.graphql(by_id, id=nodes[0]["id"]))["data"]["organization"] == {"slug": "acme"}
    other = await fly.graphql('{organization(slug: "somebody-else") {id}}')
    assert other["data"] == {"organization": None}
    assert other["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_regions_and_provider(fly: Fly) -> None:
    region = "code name latitude longitude gatewayAvailable requiresPaidPlan deprecated"
    platform = (await fly.graphql(f"{{platform {{requestRegion regions {{{region}}}}}}}"))["data"]["platform"]
    assert platform["requestRegion"] == "ord"
    assert "ord" in [region["code"] for region in platform["regions"]]
    query = "query GetAddOnProvider($name: String!) {addOnProvider(name: $name) {id name excludedRegions {code}}}"
    provider = (await fly.graphql(query, name="upstash_redis"))["data"]["addOnProvider"]
    assert provider["excludedRegions"] == []
    assert "errors" in await fly.graphql(query, name="tigris")


async def test_addresses_as_the_client_asks_for_them(fly: Fly) -> None:
    app = await fly.app()
    for kind in ("v6", "shared_v4", "private_v6"):
        answer = await fly.graphql(ALLOCATE, input={"appId": "shop", "type": kind, "region": ""})
        assert answer["data"]["allocateIpAddress"]["ipAddress"]["type"] == kind
    full = (await fly.graphql(APP_FULL, appName="shop"))["data"]["app"]
    assert [node["type"] for node in full["ipAddresses"]["nodes"]] == ["v6", "private_v6"], "the shared one is apart"
    assert full["sharedIpAddress"] == "192.0.2.1"
    assert len((await fly.http.get(f"{app}/ip_assignments")).json()["ips"]) == 3
    assert "shop.flycast" in fly.platform.names
    ip = full["ipAddresses"]["nodes"][1]["address"]
    assert "errors" not in await fly.graphql(RELEASE, input={"appId": "shop", "ip": ip})
    assert "shop.flycast" not in fly.platform.names
    assert "errors" in await fly.graphql(RELEASE, input={"appId": "shop", "ip": ip})


@pytest.mark.parametrize("name", ["free", "gateway"])
async def test_an_app_that_is_not_ours_is_not_found(fly: Fly, name: str) -> None:
    answer = await fly.graphql(APP_BASIC, appName=name)
    assert answer["data"] == {"appbasic": None}
    assert "Could not find App" in answer["errors"][0]["message"]


async def test_a_new_app_spreads_here_too(serve: Serve) -> None:
    fly = await serve(app_propagation_s=1000)
    await fly.app()
    assert (await fly.graphql(APP_BASIC, appName="shop"))["data"] == {"appbasic": None}
    assert (await fly.graphql(APPS))["data"]["apps"]["nodes"] == []


@pytest.mark.parametrize(
    "query", ["{", "{nothing}", "{app(name: 1) {id}}", "mutation {deleteApp(appId: 1) {organization {id}}}"]
)
async def test_a_wrong_query_is_an_error_with_status_200(fly: Fly, query: str) -> None:
    answer = await fly.graphql(query)
    assert answer["errors"][0]["message"]


async def test_a_mistake_of_ours_shows_nothing_of_the_inside(fly: Fly, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(fly.world, "app", broken)
    answer = await fly.graphql(APP_BASIC, appName="shop")
    assert "mistake" in answer["errors"][0]["message"]
    assert "inside" not in str(answer)
