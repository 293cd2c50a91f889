"""One form for machine configurations, so that what Fly makes of ours is never taken for a change.

Fly answers autostop as booleans, durations in its own spelling, defaults filled in, fields of its own added. So
both sides are brought into one form, and then the live one is looked at only as far as ours speaks of it. What a
person adds (a service, a check, a variable, a file, a mount) does count: `WHOLE` names the parts that are ours alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from components.fly.provider import known, whole

WHOLE = (
    "env",
    "services",
    "checks",
    "mounts",
    "statics",
    "processes",
    "metrics",
    "schedule",
    "auto_destroy",
    "standbys",
)
"""Parts that Fly leaves empty: whatever is there and not ours was added by someone."""

DURATIONS = ("interval", "timeout", "grace_period")
AUTOSTOP = {False: "off", True: "stop"}
DOCKER_HUB = re.compile(
    r"^(docker\.io|index\.docker\.io|registry-1\.docker\.io|docker-hub-mirror\.fly\.io)/(library/)?"
)
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")

_UNIT_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")

Config = dict[str, Any]


def canonical(config: Mapping[str, Any]) -> Config:
    """The one form, for what is wanted and for what is there. Parts not known yet stay as they are."""
    result: Config = {
        key: whole(value) if known(value) else value for key, value in config.items() if value is not None
    }
    for key, form in _FORMS.items():
        if key in result and known(result[key]):
            result[key] = form(result[key])
    return result


def observed(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Config:
    """`live`, as far as `wanted` speaks of it, plus what someone added. Equal to `wanted` when nothing changed."""
    seen: Config = _seen(dict(wanted), dict(live))
    for part in WHOLE:
        added = live.get(part)
        if isinstance(added, dict) and isinstance(wanted.get(part), dict):
            seen[part] = {
                **{key: value for key, value in added.items() if key not in wanted[part]},
                **seen.get(part, {}),
            }
        elif added and not wanted.get(part):
            seen[part] = added
    if "image" in seen and not DIGEST.search(str(wanted.get("image"))):
        seen["image"] = DIGEST.sub("", seen["image"])
    return seen


def fingerprint(value: Any) -> str:
    """Short, the same for equal values in whatever order their keys are."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def should_run(config: Mapping[str, Any]) -> bool:
    """Whether a machine that stands still is wrong: not where Fly Proxy, a schedule or its own end may stop it."""
    stops_when_idle = any(service.get("autostop", "off") != "off" for service in config.get("services") or [])
    runs_once = (config.get("restart") or {}).get("policy") == "no"
    return not (stops_when_idle or runs_once or config.get("schedule") or config.get("standbys"))


def duration(value: Any) -> Any:
    """Fly's durations in one spelling: nanoseconds or "1m30s" → "90s". What is none stays for Fly to refuse."""
    if isinstance(value, int) and not isinstance(value, bool):
        nanoseconds = value
    elif isinstance(value, str) and value and not _DURATION.sub("", value):
        nanoseconds = round(sum(float(number) * _UNIT_NS[unit] for number, unit in _DURATION.findall(value)))
    else:
        return value
    for unit in ("s", "ms", "us"):
        if nanoseconds % _UNIT_NS[unit] == 0:
            return f"{nanoseconds // _UNIT_NS[unit]}{unit}"
    return f"{nanoseconds}ns"


def _seen(wanted: Any, live: Any) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict):
        pairs = {key: _seen(value, live.get(key)) for key, value in wanted.items()}
        return {key: value for key, value in pairs.items() if value is not None}
    if isinstance(wanted, list) and isinstance(live, list):
        both = zip_longest(wanted, live)
        return [_seen(one, other) if one is not None else other for one, other in both if other is not None]
    if live is None and not wanted:
        return wanted  # Fly leaves out what is empty, zero or false
    return live


def _image(image: str) -> str:
    return DOCKER_HUB.sub("", image)


def _check(check: Config) -> Config:
    check = {key: duration(value) if key in DURATIONS else value for key, value in check.items()}
    return check | ({"method": check["method"].upper()} if isinstance(check.get("method"), str) else {})


def _service(service: Config) -> Config:
    service = dict(service)
    if "autostop" in service:
        service["autostop"] = AUTOSTOP.get(service["autostop"], service["autostop"])
    if service.get("checks"):
        service["checks"] = [_check(check) for check in service["checks"]]
    if service.get("ports"):
        service["ports"] = sorted(service["ports"], key=_first)
    return service


def _services(services: list[Config]) -> list[Config]:
    return sorted((_service(service) for service in services), key=_place)


def _place(service: Config) -> tuple[int, str, list[int]]:
    ports = [_first(port) for port in service.get("ports") or []]
    return service.get("internal_port") or 0, service.get("protocol") or "", ports


def _first(port: Config) -> int:
    number: int = port.get("port") or port.get("start_port") or 0
    return number


_FORMS: dict[str, Any] = {
    "image": _image,
    "services": _services,
    "checks": lambda checks: {name: _check(check) for name, check in checks.items()},
    "stop_config": lambda stop: {key: duration(value) if key == "timeout" else value for key, value in stop.items()},
}
