"""Redis databases: add-ons of the organization, each a real Valkey of its own that goes on when apps are deleted."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from local.contract import LaunchError
from local.fly import ids, regions
from local.fly.bodies import Body, Name, problems
from local.fly.errors import ApiError
from local.fly.lifecycle import Lifecycle
from local.fly.names import redis_host
from local.fly.objects import Redis
from local.fly.world import World

log = logging.getLogger(__name__)

PORT = 6379
PROVIDER = "upstash_redis"
GIGABYTE_MB = 1024


@dataclass(frozen=True)
class Plan:
    """`price` is in cents per month."""

    id: str
    name: str
    display_name: str
    max_data_mb: int
    price: int

    @property
    def fixed(self) -> bool:
        return self.id != PAY_AS_YOU_GO


# The one id Fly's own client knows by heart; those of the fixed plans are to be looked up, so ours are our own.
PAY_AS_YOU_GO = "ekQ85Yjkw155ohQ5ALYq0M"
PLANS = {
    plan.id: plan
    for plan in (
        Plan(PAY_AS_YOU_GO, "pay_as_you_go", "Pay-as-you-go", 10 * GIGABYTE_MB, 0),
        Plan("embedded-fixed-250mb", "flyio_fixed_250mb", "Fixed 250MB", 250, 1000),
        Plan("embedded-fixed-1gb", "flyio_fixed_1gb", "Fixed 1GB", GIGABYTE_MB, 2000),
        Plan("embedded-fixed-5gb", "flyio_fixed_5gb", "Fixed 5GB", 5 * GIGABYTE_MB, 10000),
        Plan("embedded-fixed-10gb", "flyio_fixed_10gb", "Fixed 10GB", 10 * GIGABYTE_MB, 20000),
        Plan("embedded-fixed-50gb", "flyio_fixed_50gb", "Fixed 50GB", 50 * GIGABYTE_MB, 40000),
    )
}


class Options(Body):
    eviction: bool | None = None
    auto_upgrade: bool | None = None
    prod_pack: bool | None = None


class Databases:
    """Raises ApiError for what the caller got wrong."""

    def __init__(self, world: World, lifecycle: Lifecycle) -> None:
        self._world = world
        self._lifecycle = lifecycle

    async def resume(self) -> None:
        """Runs every database; one that still runs with the same settings is left alone."""
        for redis in self._world.store.databases:
            try:
                await self._run(redis)
            except ApiError:
                log.exception("the database does not run, and everything else goes on without it")

    def find(self, *, name: str | None = None, id: str | None = None) -> Redis:
        for redis in self._world.store.databases:
            if redis.id == id or (id is None and redis.name == name):
                return redis
        raise ApiError(404, f"Could not find add-on {id or name}")

    async def create(
        self, name: str | None, plan: str | None, region: str | None, read_regions: list[str], options: dict[str, Any]
    ) -> Redis:
        name = _name(name or ids.machine_name())
        if name in self._world.store.databases:
            raise ApiError(422, f"Name {name} has already been taken", "name_taken")
        now = time.time()
        redis = Redis(
            name=name,
            id=ids.opaque_id(),
            organization=self._world.organization.slug,
            plan=_plan(plan or PAY_AS_YOU_GO).id,
            primary_region=regions.known(region or self._world.settings.region),
            read_regions=read_regions,
            options=options,
            metadata={},
            password=secrets.token_hex(16),
            address=self._world.new_address(),
            created_at=now,
            updated_at=now,
        )
        _check(redis)
        self._world.store.databases.put(redis)
        try:
            await self._run(redis)
        except ApiError:
            self._world.store.databases.remove(redis)
            raise
        self._lifecycle.publish_names()
        return redis

    async def update(self, redis: Redis, changes: dict[str, Any], prod_pack: bool | None) -> Redis:
        """`changes` are new values of plan, read_regions, options and metadata; what is missing stays."""
        if prod_pack is not None and "plan" not in changes:
            raise ApiError(422, "prodPack: only together with a change of the plan")
        changed = replace(redis, **changes, updated_at=time.time())
        if prod_pack is not None:
            changed.options = {**changed.options, "prod_pack": prod_pack}
        _plan(changed.plan)
        _check(changed)
        await self._run(changed)
        self._world.store.databases.put(changed)
        return changed

    async def reset_password(self, redis: Redis) -> Redis:
        """The old one ends at once, and with it the connections that used it."""
        changed = replace(redis, password=secrets.token_hex(16), updated_at=time.time())
        await self._run(changed)
        self._world.store.databases.put(changed)
        return changed

    async def delete(self, redis: Redis) -> None:
        await self._lifecycle.platform.stop_redis(redis.name, erase=True)
        self._world.store.databases.remove(redis)
        self._lifecycle.publish_names()

    async def _run(self, redis: Redis) -> None:
        try:
            await self._lifecycle.platform.start_redis(
                redis.name,
                redis.address,
                redis.password,
                eviction=bool(redis.options.get("eviction")),
                max_memory_mb=PLANS[redis.plan].max_data_mb,
            )
        except LaunchError as error:
            raise ApiError(503, f"add-on {redis.name}: {error}") from None


def public_url(redis: Redis) -> str:
    """Private in spite of its name in the API, and with the password in it."""
    return f"redis://default:{redis.password}@{redis_host(redis.name)}:{PORT}"


def _name(text: str) -> str:
    try:
        return TypeAdapter(Name).validate_python(text)
    except ValidationError as error:
        raise ApiError(422, f"Name: {problems(error)}") from None


def _plan(id: str) -> Plan:
    if id not in PLANS:
        raise ApiError(422, f"Could not find add-on plan {id}")
    return PLANS[id]


def _check(redis: Redis) -> None:
    try:
        options = Options.model_validate(redis.options)
    except ValidationError as error:
        raise ApiError(422, f"options: {problems(error)}") from None
    if options.auto_upgrade and not PLANS[redis.plan].fixed:
        raise ApiError(422, "options: auto_upgrade is for fixed plans")
    for region in redis.read_regions:
        regions.known(region)
    if redis.primary_region in redis.read_regions:
        raise ApiError(422, f"readRegions: {redis.primary_region} is the primary region")
