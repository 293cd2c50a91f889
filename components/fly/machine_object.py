"""Between a machine resource's properties and Fly's machine object: pure, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from components.fly import files
from components.fly.normalise import Config, canonical, fingerprint, observed, should_run
from components.fly.provider import Props, known, whole

GONE = ("destroying", "destroyed")
HALTED = ("stopped", "stopping", "suspended", "suspending", "failed", "launch_failed")
STARTABLE = ("stopped", "suspended")
RUNS = "started"
CORDONED = "cordoned"  # runs, and Fly Proxy sends it nothing

HASH = "config_hash"  # also a key of the machine's metadata: tells an interrupted run's machine from an older one


def as_fly_launch_does(news: Props) -> Config:
    """The configuration with what makes `fly status`, `fly logs` and `<group>.process.<app>.internal` work."""
    config: Config = news["config"]
    group, region = news["group"], news["region"]
    return {
        **config,
        "env": _with(config.get("env"), {"FLY_PROCESS_GROUP": group, "PRIMARY_REGION": region}),
        "metadata": _with(config.get("metadata"), {"fly_platform_version": "v2", "fly_process_group": group}),
    }


def _with(given: Any, more: dict[str, str]) -> Any:
    return {**(given or {}), **more} if given is None or isinstance(given, dict) else given  # not known yet


def body(props: Props, *, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What create and update send alike. `metadata` of others goes along with ours."""
    ours = whole(props["config"])
    config = {
        **ours,
        "files": files.joined(props.get("files") or {}, ours.get("files") or []),
        "metadata": {**metadata, **ours["metadata"], HASH: props[HASH]},
    }
    version = props.get("min_secrets_version")
    # Fly gives every secret of the app to every machine; one that needs none, such as a public edge, gets none.
    return {"config": config, **({"skip_secrets": True} if version is None else {"min_secrets_version": int(version)})}


def metadata_of(machine: Props) -> dict[str, str]:
    found: dict[str, str] = (machine.get("config") or {}).get("metadata") or {}
    return found


def live_inputs(props: Props, machine: Props) -> Props:
    """The inputs a program would have to give for the machine to be as it is; equal to ours when nothing changed."""
    wanted = whole(props["config"])
    live = canonical(machine["config"])
    texts, rest = files.split(
        live.pop("files", None) or [], keep={file["guest_path"] for file in wanted.get("files", [])}
    )
    seen = observed(wanted, {**live, "files": rest} if rest else live)
    inputs = {"config": seen, "files": texts, "state": state_of(machine, live)}
    return {**inputs, HASH: config_hash({**props, **inputs})}


def state_of(machine: Props, config: Config) -> str:
    """`started` for all that is as it should be, or on the way there."""
    if machine["state"] in HALTED and should_run(config):
        return str(machine["state"])
    return CORDONED if machine.get("cordoned") else RUNS


def config_hash(inputs: Props) -> Any:
    """Of all that makes another version of the machine; unknown until all of that is known."""
    told = whole([inputs["config"], inputs.get("files") or {}, inputs.get("min_secrets_version")])
    return fingerprint(told) if known(told) else pulumi.UNKNOWN


def fixed_traits(region: str, config: Config) -> str:
    """What a machine keeps for life."""
    return f"in {region} with {' and '.join(f'volume {volume}' for volume in volumes(config)) or 'no volume'}"


def volumes(config: Config) -> list[str]:
    return [mount.get("volume") for mount in config.get("mounts") or []]
