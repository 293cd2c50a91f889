"""Objects as GraphQL shows them: dictionaries whose callables are only asked for what a query selects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from local.fly import addresses, apps, databases, ids, machine_view, regions
from local.fly.errors import ApiError
from local.fly.names import redis_host
from local.fly.objects import Address, App, Machine, Redis
from local.fly.organizations import PERSONAL, Organization
from local.fly.regions import REGIONS, Region
from local.fly.times import rfc3339
from local.fly.world import World

T = TypeVar("T")
Node = dict[str, Any]
PAGE = 200


def connection(items: Iterable[T], node: Callable[[T], Node], first: int | None, after: str | None) -> Node:
    """One page; a cursor is the position of the last item before it."""
    found = list(items)
    if after and not after.isdigit():
        raise ApiError(400, f"after: {after!r} is no cursor")
    start = int(after or 0)
    end = min(len(found), start + (PAGE if first is None else first))
    return {
        "nodes": [node(item) for item in found[start:end]],
        "totalCount": len(found),
        "pageInfo": {
            "hasNextPage": end < len(found),
            "hasPreviousPage": start > 0,
            "startCursor": str(start),
            "endCursor": str(end),
        },
    }


class Nodes:
    def __init__(self, world: World) -> None:
        self._world = world

    def organization(self, organization: Organization | None = None) -> Node:
        world, own = self._world, organization or self._world.organization

        def add_ons(_: Any, type: str | None = None, first: int | None = None, after: str | None = None) -> Node:
            return self.add_ons(type, first, after)

        def apps_of(_: Any, first: int | None = None, after: str | None = None) -> Node:
            return connection(apps.visible(world), self.app, first, after)

        return {
            "id": own.id,
            "internalNumericId": str(own.numeric_id),
            "slug": own.slug,
            "rawSlug": own.slug,
            "name": own.name,
            "type": "PERSONAL" if own.slug == PERSONAL else "SHARED",
            "viewerRole": "admin",
            "paidPlan": True,
            "billable": True,
            "billingStatus": "CURRENT",
            "provisionsBetaExtensions": False,
            "agreedToProviderTos": True,
            "addOns": add_ons,
            "apps": apps_of,
            "limitedAccessTokens": {"nodes": []},
        }

    def app(self, app: App) -> Node:
        world = self._world

        def machines(_: Any, active: bool | None = None, first: int | None = None, after: str | None = None) -> Node:
            return connection(world.machines(app.name), self.machine, first, after)

        def ip_addresses(_: Any, first: int | None = None, after: str | None = None) -> Node:
            """Without the shared one, which has a field of its own."""
            own = [address for address in addresses.of_app(world, app) if address.type != "shared_v4"]
            return connection(own, self.address, first, after)

        def shared_address(_: Any) -> str | None:
            return next((a.ip for a in addresses.of_app(world, app) if a.type == "shared_v4"), None)

        def secrets(_: Any) -> list[Node]:
            return [
                {"name": name, "digest": secret.digest, "createdAt": rfc3339(secret.created_at)}
                for name, secret in app.secrets.items()
            ]

        def image_details(_: Any) -> Node | None:
            """Only with a digest: nothing here resolves tags."""
            images = (machine_view.image_ref(world.config(m)["image"]) for m in world.machines(app.name))
            return next((image for image in images if "digest" in image), None)

        status = apps.status(world, app)
        return {
            "id": app.name,
            "internalId": app.id,
            "internalNumericId": ids.numeric_id(app.id),
            "name": app.name,
            "hostname": f"{app.name}.fly.dev",
            "appUrl": f"https://{app.name}.fly.dev",
            "cnameTarget": f"{app.name}.fly.dev",
            "createdAt": rfc3339(app.created_at),
            "network": app.network,
            "deployed": status == "deployed",
            "status": status,
            "version": 0,
            "platformVersion": "machines",
            "organization": lambda _: self.organization(),
            "config": {"definition": {}},
            "imageDetails": image_details,
            "services": lambda _: _services(world, app),
            "ipAddresses": ip_addresses,
            "sharedIpAddress": shared_address,
            "egressIpAddresses": {"nodes": []},
            "machines": machines,
            "secrets": secrets,
            "addOns": {"nodes": [], "totalCount": 0, "pageInfo": {"hasNextPage": False, "hasPreviousPage": False}},
            "limitedAccessTokens": {"nodes": []},
        }

    def machine(self, machine: Machine) -> Node:
        return {
            "id": machine.id,
            "name": machine.name,
            "state": machine.state,
            "region": machine.region,
            "config": self._world.config(machine),
            "createdAt": rfc3339(machine.created_at),
            "app": lambda _: self.app(self._world.store.apps[machine.app]),
            "ips": {
                "nodes": [{"family": "v6", "kind": "privatenet", "ip": ids.private_ip(machine.id), "maskSize": 112}]
            },
            "egressIpAddresses": {"nodes": []},
            "host": {"id": "embedded"},
        }

    def address(self, address: Address) -> Node:
        return {
            "id": f"ip_{ids.derived(f'{address.app} {address.ip}', 16)}",
            "address": address.ip,
            "type": address.type,
            "region": address.region,
            "serviceName": address.service_name,
            "createdAt": rfc3339(address.created_at),
        }

    def add_ons(self, type: str | None, first: int | None, after: str | None) -> Node:
        """Redis is the only kind there is here."""
        found = list(self._world.store.databases) if type in (None, databases.PROVIDER) else []
        return connection(found, self.redis, first, after)

    def redis(self, redis: Redis) -> Node:
        plan = databases.PLANS[redis.plan]
        ready = not self._world.faults.holds("redis_creating", redis.name)
        return {
            "id": redis.id,
            "name": redis.name,
            "status": "ready" if ready else "creating",
            "hostname": redis_host(redis.name) if ready else None,
            "password": redis.password if ready else None,
            "privateIp": ids.private_ip(redis.id) if ready else None,
            "publicUrl": databases.public_url(redis) if ready else None,
            "primaryRegion": redis.primary_region,
            "readRegions": redis.read_regions,
            "options": redis.options,
            "metadata": redis.metadata,
            "environment": {},
            "addOnPlan": plan_node(plan),
            "addOnPlanName": plan.display_name,
            "addOnProvider": provider_node(),
            "organization": lambda _: self.organization(),
            "createdAt": rfc3339(redis.created_at),
            "updatedAt": rfc3339(redis.updated_at),
        }


def plan_node(plan: databases.Plan) -> Node:
    size = plan.max_data_mb
    return {
        "id": plan.id,
        "name": plan.name,
        "displayName": plan.display_name,
        "description": "",
        "maxDataSize": f"{size} MB" if size < databases.GIGABYTE_MB else f"{size // databases.GIGABYTE_MB} GB",
        "pricePerMonth": plan.price,
    }


def provider_node() -> Node:
    return {
        "id": databases.PROVIDER,
        "name": databases.PROVIDER,
        "displayName": "Upstash for Redis",
        "resourceName": "Redis database",
        "regions": [region_node(region) for region in REGIONS.values()],
        "excludedRegions": [],
        "asyncProvisioning": False,
        "autoProvision": True,
        "beta": False,
        "detectPlatform": False,
        "internal": False,
        "selectName": True,
        "selectRegion": True,
        "selectReplicaRegions": True,
    }


def region_node(region: Region) -> Node:
    view = regions.view(region)
    return {
        **view,
        "gatewayAvailable": view["gateway_available"],
        "requiresPaidPlan": view["requires_paid_plan"],
    }


def _services(world: World, app: App) -> list[Node]:
    """Those of all machines, each once."""
    found: list[Node] = []
    for machine in world.machines(app.name):
        for service in world.config(machine).get("services", []):
            node = {
                "description": "",
                "protocol": service["protocol"].upper(),
                "internalPort": service["internal_port"],
                "ports": [
                    {
                        "port": port.get("port", port.get("start_port")),
                        "handlers": [handler.upper() for handler in port.get("handlers", [])],
                    }
                    for port in service.get("ports", [])
                ],
            }
            if node not in found:
                found.append(node)
    return found
