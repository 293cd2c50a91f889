"""A volume: disk on one host of one region, for one machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.fly.api import at
from components.fly.claims import Claims
from components.fly.errors import FlyError
from components.fly.provider import (
    APP_NAME,
    APP_WANTED,
    REGION,
    REGION_WANTED,
    AdoptingProvider,
    Props,
    changed,
    known,
    matching,
    whole,
)

LARGEST_GB = 500
RETENTION_DAYS = (1, 60)
GONE = ("scheduling_destroy", "fork_cleanup", "waiting_for_detach", "pending_destroy", "destroying", "destroyed")
ADOPTED_WITHIN = timedelta(hours=1)  # an interrupted run is repeated soon; what is older may hold somebody's data

_claims = Claims()


class VolumeProvider(AdoptingProvider):
    """Keeps one volume, known by its id.

    Fly lets several volumes of an app have one name, and a volume carries no label of ours. So that the volume of
    an interrupted run can be told, a program uses a name once per app (checked), and `create` adopts a volume only if
    it has this name, region and size, is attached to nothing and is less than ADOPTED_WITHIN old. An older one that
    fits is not touched and not doubled: the error names it.
    """

    def check(self, olds: Props, news: Props) -> CheckResult:
        failures = [
            *matching(news, "app", APP_NAME, APP_WANTED),
            *matching(news, "name", r"[a-z0-9_]{1,30}", "at most 30 lower-case letters, digits and underscores"),
            *matching(news, "region", REGION, REGION_WANTED),
            *_between(news, "size_gb", 1, LARGEST_GB),
            *_between(news, "snapshot_retention", *RETENTION_DAYS),
            *_shrinking(olds, news),
        ]
        if id_ := olds.get("volume_id"):
            news["volume_id"] = id_  # as `read` found it: an update keeps it, and its preview then knows it
        return CheckResult(news, failures or _taken(news))

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        keys = changed(olds, news)
        return DiffResult(bool(keys), sorted(keys & {"app", "name", "region"}))

    def make(self, props: Props) -> CreateResult:
        volume = self._left_behind(props) or self.api.send_once(
            at("apps", props["app"], "volumes"),
            to=f"create volume {props['name']} of app {props['app']}",
            body=_creation(props),
            look=lambda: self._left_behind(props),
            repeat=False,  # two would both stay, and both cost
        )
        return CreateResult(volume["id"], {**props, "volume_id": volume["id"]})

    def read(self, id_: str, props: Props) -> ReadResult:
        volumes = self.api.get_shared(at("apps", props["app"], "volumes"), to=f"list volumes of app {props['app']}")
        found = next((one for one in volumes or [] if one["id"] == id_ and one["state"] not in GONE), None)
        if found is None:
            return ReadResult("", {})
        live = {key: found.get(key, props.get(key)) for key in ("name", "region", "size_gb", "snapshot_retention")}
        inputs = {key: props[key] for key in ("resource", "app", "compute") if props.get(key) is not None} | live
        inputs["volume_id"] = id_
        return ReadResult(id_, {**props, **inputs}, inputs)

    def update(self, id_: str, olds: Props, news: Props) -> UpdateResult:
        path, to = at("apps", news["app"], "volumes", id_), f"volume {news['name']} ({id_}) of app {news['app']}"
        size_gb = int(news["size_gb"])
        if size_gb > olds["size_gb"]:
            self.api.send("PUT", f"{path}/extend", to=f"extend {to} to {size_gb} GB", body={"size_gb": size_gb})
        if olds.get("snapshot_retention") != news["snapshot_retention"]:
            body = {"snapshot_retention": int(news["snapshot_retention"])}
            self.api.send("PUT", path, to=f"change the snapshot retention of {to}", body=body)
        return UpdateResult({**news, "volume_id": id_})

    def remove(self, id_: str, props: Props) -> None:
        app = props["app"]
        self.api.delete(at("apps", app, "volumes", id_), to=f"delete volume {props['name']} ({id_}) of app {app}")

    def _left_behind(self, props: Props) -> Props | None:
        """The volume an interrupted run of this program has made; refuses to guess about older ones."""
        app, name, region = props["app"], props["name"], props["region"]
        volumes: list[Props] = self.api.get(at("apps", app, "volumes"), to=f"list volumes of app {app}") or []
        for found in volumes:
            if found["state"] in GONE or found.get("attached_machine_id") or found.get("attached_alloc_id"):
                continue
            if (found["name"], found["region"]) != (name, region):
                continue
            age = datetime.now(UTC) - datetime.fromisoformat(found["created_at"])
            if age < ADOPTED_WITHIN and found["size_gb"] == props["size_gb"]:
                return found
            raise FlyError(
                f"app {app} already has a volume {name} in {region} that no machine uses: {found['id']}, "
                f"{found['size_gb']} GB, made {found['created_at']}. It may hold data, so it is neither taken "
                f"nor doubled. Delete it with `fly volumes destroy {found['id']}`, or give this volume another name"
            )
        return None


def _creation(props: Props) -> dict[str, Any]:
    body = {key: props[key] for key in ("name", "region", "size_gb", "snapshot_retention", "compute") if props.get(key)}
    return {**whole(body), "encrypted": True}


def _between(news: Props, key: str, least: int, most: int) -> list[CheckFailure]:
    value = news.get(key)
    if not known(value) or (isinstance(value, float | int) and least <= value <= most and value == int(value)):
        return []
    return [CheckFailure(key, f"{key} is {value!r}; give a whole number from {least} to {most}")]


def _shrinking(olds: Props, news: Props) -> list[CheckFailure]:
    before, after = olds.get("size_gb"), news.get("size_gb")
    if not isinstance(before, float | int) or not isinstance(after, float | int) or after >= before:
        return []
    if any(olds.get(key) != news.get(key) for key in ("app", "name", "region")):
        return []  # another volume is made, of any size
    return [
        CheckFailure(
            "size_gb",
            f"size_gb is {after:.0f}, and the volume {news['name']} has {before:.0f} GB: volumes never shrink. Make a "
            "smaller one under another name and move the data",
        )
    ]


def _taken(news: Props) -> list[CheckFailure]:
    if not known(news["app"], news["name"]):
        return []
    owner = _claims.claim(news["app"], news["name"], news["resource"])
    if owner is None:
        return []
    why = (
        f"the volume name {news['name']} of app {news['app']} is already used by {owner!r}; give each a name of its own"
    )
    return [CheckFailure("name", why)]


class Volume(Resource, module="fly", name="Volume"):
    """A volume of an app. Grows in place and never shrinks.

    `compute` is the guest (cpu_kind, cpus, memory_mb) of the machine to come: Fly picks a host with room for it.
    """

    name: Output[str]
    region: Output[str]
    size_gb: Output[int]
    volume_id: Output[str]

    def __init__(
        self,
        resource_name: str,
        /,
        *,
        app: Input[str],
        name: Input[str],
        region: Input[str],
        size_gb: Input[int],
        snapshot_retention: Input[int] = 5,
        compute: Input[dict[str, Any]] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        props: dict[str, Any] = {
            "resource": resource_name,
            "app": app,
            "name": name,
            "region": region,
            "size_gb": size_gb,
            "snapshot_retention": snapshot_retention,
            "compute": compute,
            "volume_id": None,
        }
        super().__init__(VolumeProvider(), resource_name, props, opts)
