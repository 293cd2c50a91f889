"""/graphql: what Fly has no REST for, and what its own command-line client asks here although there is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import graphql
from aiohttp import web
from pydantic import Field

from local.fly import addresses
from local.fly.apps import visible
from local.fly.bodies import Body, read
from local.fly.databases import PLANS, PROVIDER, Databases
from local.fly.errors import ApiError
from local.fly.graphql_nodes import Node, Nodes, connection, plan_node, provider_node, region_node
from local.fly.lifecycle import LIFECYCLE, Lifecycle
from local.fly.objects import App, Redis
from local.fly.regions import REGIONS
from local.fly.world import WORLD, World

log = logging.getLogger(__name__)
routes = web.RouteTableDef()
Info = graphql.GraphQLResolveInfo
SCHEMA = graphql.build_schema(Path(__file__).with_name("schema.graphql").read_text())


class Query(Body):
    query: str
    variables: dict[str, Any] = Field(default_factory=dict)
    operationName: str | None = None  # noqa: N815 - the protocol's own name


@routes.post("/graphql")
async def answer(request: web.Request) -> web.Response:
    """Errors of a query come with status 200 too, as Fly's do."""
    body = await read(request, Query)
    root = Resolvers(request.app[WORLD], request.app[DATABASES], request.app[LIFECYCLE]).root()
    result = await graphql.graphql(
        SCHEMA, body.query, root, variable_values=body.variables, operation_name=body.operationName
    )
    shown: dict[str, Any] = {"data": result.data}
    if result.errors:
        shown["errors"] = [_error(error) for error in result.errors]
    return web.json_response(shown)


def _error(error: graphql.GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    if cause is None or isinstance(cause, graphql.GraphQLError):
        return dict(error.formatted)
    if isinstance(cause, ApiError):
        code = {403: "UNAUTHORIZED", 404: "NOT_FOUND"}.get(cause.status, "UNPROCESSABLE")
        return {"message": str(cause), "path": error.path, "extensions": {"code": code}}
    log.error("graphql: a resolver broke off", exc_info=cause)
    return {"message": "the embedded Fly made a mistake, see its log", "path": error.path}


class Resolvers:
    """One method per field of Query and Mutation. Arguments keep the names of the schema."""

    def __init__(self, world: World, databases: Databases, lifecycle: Lifecycle) -> None:
        self._world = world
        self._databases = databases
        self._lifecycle = lifecycle
        self._nodes = Nodes(world)

    def root(self) -> dict[str, Any]:
        return {
            "addOn": self.add_on,
            "addOnPlans": self.add_on_plans,
            "addOnProvider": self.add_on_provider,
            "addOns": self.add_ons,
            "app": self.app,
            "appNameAvailable": self.app_name_available,
            "apps": self.apps,
            "latestImageDetails": self.latest_image_details,
            "nearestRegion": self.nearest_region,
            "organization": self.organization,
            "organizations": self.organizations,
            "personalOrganization": self.organization,
            "platform": self.platform,
            "viewer": {"id": "embedded", "name": "Embedded", "email": "embedded@localhost"},
            "allocateIpAddress": self.allocate_ip_address,
            "releaseIpAddress": self.release_ip_address,
            "createAddOn": self.create_add_on,
            "updateAddOn": self.update_add_on,
            "deleteAddOn": self.delete_add_on,
            "resetAddOnPassword": self.reset_add_on_password,
        }

    def organization(self, _: Info, id: str | None = None, name: str | None = None, slug: str | None = None) -> Node:
        own = self._world.organization
        for sent, fits in ((id, id == own.id), (name, name == own.name), (slug, own.is_called(slug or ""))):
            if sent is not None and not fits:
                raise ApiError(404, f"Could not find Organization {sent}")
        return self._nodes.organization()

    def organizations(self, _: Info, **page: Any) -> Node:
        return connection([self._world.organization], self._nodes.organization, page.get("first"), page.get("after"))

    def app(self, _: Info, name: str | None = None, internalId: str | None = None) -> Node:  # noqa: N803 - schema
        for app in self._world.store.apps:
            if app.id == internalId:
                name = app.name
        return self._nodes.app(self._app(name or ""))

    def apps(self, _: Info, **wanted: Any) -> Node:
        if wanted.get("organizationId") not in (None, self._world.organization.id):
            raise ApiError(404, f"Could not find Organization {wanted['organizationId']}")
        found = [] if wanted.get("role") else visible(self._world)  # no app here has a role, such as a database's
        return connection(found, self._nodes.app, wanted.get("first"), wanted.get("after"))

    def app_name_available(self, _: Info, name: str) -> bool:
        return name not in self._world.store.apps and not self._world.is_somebody_elses(name)

    def platform(self, _: Info) -> Node:
        return {"requestRegion": self._world.settings.region, "regions": list(map(region_node, REGIONS.values()))}

    def latest_image_details(self, _: Info, image: str, **__: Any) -> Node:
        """Fly's own client goes on without when it reads these two words."""
        raise ApiError(404, f"Unknown repository {image}: the embedded Fly asks no registry")

    def nearest_region(self, _: Info, **__: Any) -> Node:
        return region_node(REGIONS[self._world.settings.region])

    def allocate_ip_address(self, _: Info, input: dict[str, Any]) -> Node:
        app = self._app(input["appId"])
        self._own_organization(input.get("organizationId"))
        address = addresses.assign(self._world, app, input["type"], input.get("region"), input.get("serviceName"))
        self._lifecycle.publish_names()
        return self._payload(input, app=self._nodes.app(app), ipAddress=self._nodes.address(address))

    def release_ip_address(self, _: Info, input: dict[str, Any]) -> Node:
        if not input.get("appId") or not input.get("ip"):
            raise ApiError(422, "releaseIpAddress: needs appId and ip")
        app = self._app(input["appId"])
        addresses.release(self._world, app, input["ip"])
        self._lifecycle.publish_names()
        return self._payload(input, app=self._nodes.app(app))

    def add_on(self, _: Info, id: str | None = None, name: str | None = None, provider: str | None = None) -> Node:
        return self._nodes.redis(self._redis(id, name, provider))

    def add_ons(self, _: Info, **wanted: Any) -> Node:
        return self._nodes.add_ons(wanted.get("type"), wanted.get("first"), wanted.get("after"))

    def add_on_plans(self, _: Info, **wanted: Any) -> Node:
        plans = PLANS.values() if wanted.get("type") in (None, PROVIDER) else []
        return connection(plans, plan_node, wanted.get("first"), wanted.get("after"))

    def add_on_provider(self, _: Info, name: str) -> Node:
        _only_redis(name)
        return provider_node()

    async def create_add_on(self, _: Info, input: dict[str, Any]) -> Node:
        _only_redis(input["type"])
        if not input.get("organizationId"):
            raise ApiError(422, "createAddOn: needs organizationId")
        self._own_organization(input["organizationId"])
        redis = await self._databases.create(
            input.get("name"),
            input.get("planId"),
            input.get("primaryRegion"),
            input.get("readRegions") or [],
            input.get("options") or {},
        )
        return self._payload(input, addOn=self._nodes.redis(redis))

    async def update_add_on(self, _: Info, input: dict[str, Any]) -> Node:
        redis = self._redis(input.get("addOnId"), input.get("name"), input.get("provider"))
        fields = {"plan": "planId", "read_regions": "readRegions", "options": "options", "metadata": "metadata"}
        changes = {field: input[sent] for field, sent in fields.items() if input.get(sent) is not None}
        changed = await self._databases.update(redis, changes, input.get("prodPack"))
        return self._payload(input, addOn=self._nodes.redis(changed))

    async def delete_add_on(self, _: Info, input: dict[str, Any]) -> Node:
        redis = self._redis(input.get("addOnId"), input.get("name"), input.get("provider"))
        await self._databases.delete(redis)
        return self._payload(input, deletedAddOnName=redis.name)

    async def reset_add_on_password(self, _: Info, input: dict[str, Any]) -> Node:
        redis = self._redis(None, input["name"], None)
        changed = await self._databases.reset_password(redis)
        return self._payload(input, addOn=self._nodes.redis(changed))

    def _app(self, name: str) -> App:
        """Somebody else's app does not show over GraphQL."""
        try:
            return self._world.app(name)
        except ApiError:
            raise ApiError(404, f"Could not find App {name!r}") from None

    def _redis(self, id: str | None, name: str | None, provider: str | None) -> Redis:
        _only_redis(provider or PROVIDER)
        return self._databases.find(id=id, name=name)

    def _own_organization(self, id: str | None) -> None:
        if id not in (None, self._world.organization.id):
            raise ApiError(404, f"Could not find Organization {id}")

    @staticmethod
    def _payload(input: dict[str, Any], **fields: Any) -> Node:
        return {"clientMutationId": input.get("clientMutationId"), **fields}


def _only_redis(kind: str) -> None:
    if kind != PROVIDER:
        raise ApiError(422, f"the embedded Fly has no add-ons of the kind {kind}, only {PROVIDER}")


DATABASES = web.AppKey("databases", Databases)
