"""A whole embedded Fly behind the proxy: every call of the contract, and what Fly's own client looks up."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import GraphQLSchema

from local.ports import claim_network, free_ports, release_network
from local.settings import Settings, save
from tests.contracts.lookups import lookups
from tests.contracts.proxy import Proxy

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-tests"
PASSWORD = "sk-no-answer-has-this"
SETTINGS = Settings(
    api_port=0, token=TOKEN, network=1, organization="acme", app_propagation_s=0, certificate_s=0, rate_limits=False
)
READY_S = 20
ENDED_S = 20
REDIS = "upstash_redis"


@dataclass
class Client:
    """Speaks to the embedded Fly through the proxy, and insists on a status."""

    http: httpx.AsyncClient
    proxy: Proxy

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        query: dict[str, Any] | None = None,
        nonce: str | None = None,
    ) -> Any:
        headers = {} if nonce is None else {"fly-machine-lease-nonce": nonce}
        answer = await self.http.request(method, path, json=body, params=query, headers=headers)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.headers["fly-request-id"]
        assert PASSWORD not in answer.text
        return answer.json() if answer.content else None

    async def ask(self, query: str, **variables: Any) -> Any:
        answer = await self("POST", "/graphql", {"query": query, "variables": variables})
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Client]:
    """A daemon of its own, with real machines and a real Valkey."""
    (port,) = free_ports(1)
    network = claim_network(tmp_path)
    save(tmp_path, replace(SETTINGS, api_port=port, network=network))
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-m", "local.daemon", "--state", tmp_path, cwd=ROOT)
    proxy = Proxy(f"http://127.0.0.1:{port}")
    await proxy.start()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        async with httpx.AsyncClient(base_url=proxy.url, headers=headers, timeout=30, trust_env=False) as http:
            await _ready(http, daemon)
            yield Client(http, proxy)
            await http.post("/_embedded/stop", json={"everything": True})
            await asyncio.wait_for(daemon.wait(), ENDED_S)
    finally:
        if daemon.returncode is None:
            daemon.kill()
            await daemon.wait()
        await proxy.close()
        release_network(network)


async def _ready(http: httpx.AsyncClient, daemon: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(READY_S):
        while daemon.returncode is None:
            try:
                (await http.get("/_embedded/status")).raise_for_status()
            except httpx.TransportError:
                await asyncio.sleep(0.02)  # nothing to wait on: another process opens its port
            else:
                return
    raise AssertionError(f"the embedded Fly ended with {daemon.returncode}")


async def test_every_call_and_every_lookup_keeps_the_contract(fly: Client) -> None:
    app = "/v1/apps/shop"
    await _apps(fly, app)
    await _secrets(fly, f"{app}/secrets")
    await _addresses(fly, f"{app}/ip_assignments")
    await _certificates(fly, f"{app}/certificates")
    volume = await _volumes(fly, f"{app}/volumes")
    machine = await _machine(fly, f"{app}/machines", volume)
    await _parts(fly, machine)
    await _transitions(fly, machine)
    await _redis(fly)
    await fly("DELETE", machine, query={"force": "true"})
    await fly("GET", f"{machine}/wait", query={"state": "destroyed", "timeout": 10})
    await fly("DELETE", app, status=202, query={"force": "true"})

    assert fly.proxy.problems == []
    called = set(fly.proxy.calls)
    assert [str(call) for call in fly.proxy.rest.calls if str(call) not in called] == []
    assert sorted(_root_fields(fly.proxy.graphql.schema) - called) == []


def _root_fields(schema: GraphQLSchema) -> set[str]:
    roots = {"query": schema.query_type, "mutation": schema.mutation_type}
    return {f"{kind} {field}" for kind, root in roots.items() if root is not None for field in root.fields}


async def _apps(fly: Client, app: str) -> None:
    await fly("POST", "/v1/apps", {"name": "shop", "org_slug": "acme"}, query={"wait": "true"}, status=201)
    await fly("GET", app)
    await fly("GET", "/v1/apps", query={"org_slug": "acme"})
    await fly("GET", "/v1/platform/regions")


async def _secrets(fly: Client, secrets: str) -> None:
    version = (await fly("POST", secrets, {"values": {"KEY": PASSWORD, "OLD": PASSWORD}}))["version"]
    await fly("POST", secrets, {"values": {"OLD": None}})
    await fly("POST", f"{secrets}/MORE", {"value": PASSWORD}, status=201)
    await fly("GET", f"{secrets}/MORE", query={"version": version})
    await fly("DELETE", f"{secrets}/MORE")
    assert [secret["name"] for secret in (await fly("GET", secrets, query={"min_version": version}))["secrets"]] == [
        "KEY"
    ]


async def _addresses(fly: Client, addresses: str) -> None:
    made = [await fly("POST", addresses, {"type": kind}) for kind in ("v4", "v6", "shared_v4", "private_v6")]
    assert len((await fly("GET", addresses))["ips"]) == len(made)
    await fly("DELETE", f"{addresses}/{made[0]['ip']}", status=204)


async def _certificates(fly: Client, certificates: str) -> None:
    await fly("POST", f"{certificates}/acme", {"hostname": "api.example.com"}, status=201)
    await fly("POST", f"{certificates}/acme", {"hostname": "*.example.org"}, status=201)
    await fly(
        "PUT", "/_embedded/zone", [{"name": "api.example.com", "type": "CNAME", "value": "shop.fly.dev"}], status=204
    )
    certificate = await fly("POST", f"{certificates}/api.example.com/check")
    assert certificate["status"] == "active"
    await fly("GET", certificates, query={"limit": 1, "filter": "example"})
    await fly("GET", f"{certificates}/%2A.example.org")
    await fly("DELETE", f"{certificates}/%2A.example.org", status=204)


async def _volumes(fly: Client, volumes: str) -> str:
    unset = {"fstype": None, "snapshot_retention": None, "require_unique_zone": None}  # as Fly's own client sends it
    volume = await fly("POST", volumes, {"name": "data", "region": "ord", "size_gb": 1, **unset})
    path = f"{volumes}/{volume['id']}"
    await fly("PUT", path, {"snapshot_retention": 7})
    await fly("PUT", f"{path}/extend", {"size_gb": 2})
    await fly("GET", path)
    spare = await fly(
        "POST", volumes, {"name": "spare", "compute": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}}
    )
    await fly("DELETE", f"{volumes}/{spare['id']}")
    await fly("GET", volumes)
    found: str = volume["id"]
    return found


def configuration(volume: str) -> dict[str, Any]:
    """All that a machine of the program has."""
    (port_inside,) = free_ports(1)
    check = {"type": "tcp", "interval": "15s", "timeout": 2_000_000_000, "grace_period": "1m30s"}
    options = {"idle_timeout": 600, "response": {"headers": {"Server": False, "X-A": "b", "X-B": ["c"]}}}
    return {
        "image": "embedded/python",
        "init": {"exec": ["sleep", "1000"]},
        "env": {"PRIMARY_REGION": "ord"},
        "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512},
        "files": [
            {"guest_path": "/srv/plain.txt", "raw_value": "eA==", "mode": 0o600},
            {"guest_path": "/srv/none.txt", "raw_value": ""},
        ],
        "mounts": [{"volume": volume, "path": "/data"}],
        "services": [
            {
                "protocol": "tcp",
                "internal_port": port_inside,
                "autostop": stop,
                "autostart": True,
                "min_machines_running": 1,
                "concurrency": {"type": "requests", "soft_limit": 10, "hard_limit": 20},
                "ports": [
                    {"port": port, "handlers": ["http"], "force_https": True, "http_options": options},
                    {"port": port + 1, "handlers": ["tls", "http"], "tls_options": {"versions": ["TLSv1.3"]}},
                ],
                "checks": [{**check, "type": "http", "path": "/", "headers": [{"name": "Host", "values": ["a"]}]}],
            }
            for port, stop in ((80, "off"), (82, "stop"), (84, "suspend"), (86, False), (88, True))
        ],
        "checks": {"up": {**check, "port": port_inside, "kind": "informational"}},
        "restart": {"policy": "always"},
        "stop_config": {"signal": "SIGTERM", "timeout": "2s"},
        "metadata": {"fly_platform_version": "v2", "fly_process_group": "web"},
        "metrics": {"port": 9090, "path": "/metrics"},
        "auto_destroy": False,
    }


async def _machine(fly: Client, machines: str, volume: str) -> str:
    """Makes a machine and leaves it running, in its second version."""
    secrets = (await fly("POST", "/v1/apps/shop/secrets", {"values": {"KEY": PASSWORD}}))["version"]
    config = configuration(volume)
    machine = await fly(
        "POST",
        machines,
        {"name": "web-1", "region": "ord", "config": config, "min_secrets_version": secrets, "lease_ttl": 30},
    )
    path = f"{machines}/{machine['id']}"
    await fly("GET", f"{path}/wait", query={"state": "started", "timeout": 10})
    update = {"config": {**config, "env": {"A": "b"}}, "current_version": machine["instance_id"]}
    machine = await fly("POST", path, update, nonce=machine["nonce"])
    await fly(
        "GET", f"{path}/wait", query={"state": ["started", "stopped"], "version": machine["instance_id"], "timeout": 10}
    )
    listed = {"metadata.fly_process_group": "web", "region": "ord", "state": "started", "include_leases": "true"}
    assert len(await fly("GET", machines, query=listed)) == 1
    assert len(await fly("GET", machines, query={"summary": "true", "include_deleted": "true"})) == 1
    await fly("GET", path, query={"include_leases": "true"})
    nonce = (await fly("GET", f"{path}/lease"))["data"]["nonce"]
    await fly("POST", f"{path}/lease", query={"ttl": 13}, nonce=nonce)
    await fly("DELETE", f"{path}/lease", nonce=nonce)
    await fly("POST", f"{path}/lease", {"ttl": 13, "description": "a test"}, status=201)
    await fly("DELETE", f"{path}/lease", nonce=(await fly("GET", f"{path}/lease"))["data"]["nonce"])
    return path


async def _parts(fly: Client, machine: str) -> None:
    await fly("PUT", f"{machine}/metadata", {"metadata": {"a": "1", "b": "2"}}, status=204)
    await fly("PATCH", f"{machine}/metadata", {"metadata": {"b": None}}, status=204)
    await fly("POST", f"{machine}/metadata/c", {"value": "3"}, status=204)
    await fly("GET", f"{machine}/metadata/c")
    await fly("DELETE", f"{machine}/metadata/c", status=204)
    assert (await fly("GET", f"{machine}/metadata"))["a"] == "1"
    assert len(await fly("GET", f"{machine}/versions")) == 2
    ran = await fly("POST", f"{machine}/exec", {"command": ["cat", "/srv/plain.txt"], "timeout": 10})
    assert (ran["exit_code"], ran["stdout"]) == (0, "x")
    assert "sleep" in " ".join(process["command"] for process in await fly("GET", f"{machine}/ps"))


async def _transitions(fly: Client, machine: str) -> None:
    version = (await fly("GET", machine))["instance_id"]

    async def reaches(state: str) -> None:
        await fly("GET", f"{machine}/wait", query={"state": state, "version": version, "timeout": 10})

    await fly("POST", f"{machine}/cordon")
    await fly("POST", f"{machine}/uncordon")
    await fly("POST", f"{machine}/restart", query={"timeout": "1s", "signal": "SIGKILL"})
    await reaches("started")
    await fly("POST", f"{machine}/stop", {"signal": "SIGKILL", "timeout": "1s"})
    await reaches("stopped")
    await fly("POST", f"{machine}/start")
    await reaches("started")
    await fly("POST", f"{machine}/signal", {"signal": "SIGKILL"})
    async with asyncio.timeout(10):
        while True:  # nothing to wait on: the machine is started before and after
            events = await fly("GET", f"{machine}/events", query={"limit": 50})
            if any(
                event["type"] == "exit" and not event["request"]["exit_event"]["requested_stop"] for event in events
            ):
                break
            await asyncio.sleep(0.05)
    await reaches("started")


async def _redis(fly: Client) -> None:
    organization = (await fly.ask("query ($slug: String!) { organization(slug: $slug) { id } }", slug="acme"))[
        "organization"
    ]
    plans = await fly.ask("query ($type: AddOnType!) { addOnPlans(type: $type) { nodes { id } } }", type=REDIS)
    made = {
        "type": REDIS,
        "organizationId": organization["id"],
        "name": "cache",
        "planId": plans["addOnPlans"]["nodes"][0]["id"],
        "primaryRegion": "ord",
        "readRegions": [],
        "options": {"eviction": True},
    }
    fields = (
        "id name publicUrl primaryRegion status errorMessage options metadata readRegions hostname password privateIp "
        "environment ssoLink stats addOnPlanName createdAt updatedAt organization { slug } addOnProvider { name } "
        "addOnPlan { id name displayName pricePerMonth maxDataSize maxCommandsPerSec maxConcurrentConnections "
        "maxDailyBandwidth maxDailyCommands maxRequestSize }"
    )
    created = await fly.ask(
        f"mutation ($input: CreateAddOnInput!) {{ createAddOn(input: $input) {{ addOn {{ {fields} }} }} }}", input=made
    )
    for body in lookups("shop", "acme", organization["id"], "cache").values():
        assert "errors" not in await fly("POST", "/graphql", body)
    await fly.ask(
        f"mutation ($input: UpdateAddOnInput!) {{ updateAddOn(input: $input) {{ addOn {{ {fields} }} }} }}",
        input={
            "addOnId": created["createAddOn"]["addOn"]["id"],
            "planId": made["planId"],
            "options": {},
            "metadata": {},
        },
    )
    await fly.ask(
        "mutation ($input: ResetAddOnPasswordInput!) { resetAddOnPassword(input: $input) { addOn { publicUrl } } }",
        input={"name": "cache"},
    )
    await fly.ask(
        "mutation ($input: DeleteAddOnInput!) { deleteAddOn(input: $input) { deletedAddOnName } }",
        input={"name": "cache", "provider": REDIS},
    )
