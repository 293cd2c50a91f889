"""A Fly.io of a few hundred lines, in this process and on a fake clock.

It refuses what Fly refuses (leases, versions, taken names, rates), makes a second object when a creation is repeated,
and answers configurations in its own spelling. Every request and answer is held against the contract.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx

from tests.components.fly.fake_clock import FakeClock
from tests.contracts.contract import load
from tests.contracts.graphql_contract import load as load_graphql

TOKEN = "fm2_the-token"
ORGANIZATION = "acme"
START_S = 3.0
EPOCH = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
PLANS = [
    {"id": "plan-payg", "name": "pay_as_you_go", "displayName": "Pay-as-you-go"},
    {"id": "plan-250", "name": "flyio_fixed_250mb", "displayName": "Fixed 250MB"},
]

CONTRACT = load()
GRAPHQL = load_graphql()
Json = Any


class RefusalError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class App:
    name: str
    organization: str
    network: str = "default"
    secrets: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name → value and digest."""
    secrets_version: int = 0
    secrets_available: int | None = None
    """What machines can see; None: always the newest."""
    ips: list[dict[str, Any]] = field(default_factory=list)
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)
    leases: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    """Machine → nonce, owner, end."""


@dataclass(frozen=True)
class Fault:
    """What happens to one request: an answer or an exception instead of, or after, the change."""

    happened: bool
    answer: httpx.Response | Exception


class FakeFly:
    """`requests` are method and path of all that came; `apps` and `databases` are what is there."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.apps: dict[str, App] = {}
        self.databases: dict[str, dict[str, Any]] = {}
        self.elsewhere: set[str] = set()
        """App names of other organizations."""
        self.requests: list[str] = []
        self.bodies: list[Json] = []
        self.starts = True
        """Whether machines that are launched come up."""
        self.redis_url_after_s = 0.0
        self._faults: dict[str, list[Fault]] = defaultdict(list)
        self._ids = itertools.count(1)
        self._running: dict[str, str] = {}
        """Machine → the version that really runs, whatever the API shows."""
        self._buckets: dict[tuple[str, ...], tuple[float, float]] = {}

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    def fail(
        self, request: str, answer: int | httpx.Response | Exception, *, happened: bool = False, times: int = 1
    ) -> None:
        """The next `times` requests like "POST /apps/x" end with `answer`; `happened` says whether they act."""
        if isinstance(answer, int):
            answer = httpx.Response(answer, json={"error": "scripted"}, headers={"fly-request-id": "01REQUEST"})
        self._faults[request] += [Fault(happened, answer)] * times

    def count(self, request: str) -> int:
        return sum(seen == request for seen in self.requests)

    def writes(self) -> list[str]:
        return [seen for seen in self.requests if not seen.startswith("GET ") and not seen.endswith("/lease")]

    # Objects, made and changed without going through the API: what people and other programs do.

    def add_app(self, name: str = "gw", organization: str = ORGANIZATION) -> App:
        self.apps[name] = App(name, organization)
        return self.apps[name]

    def change_machine(self, app: str, name: str, **changes: Any) -> dict[str, Any]:
        """A new version with a changed configuration."""
        machine = self.machine(app, name)
        machine["config"] |= changes
        machine["instance_id"] = self._ulid()
        return machine

    def machine(self, app: str, name: str) -> dict[str, Any]:
        return next(one for one in self.apps[app].machines.values() if one["name"] == name)

    def set_check(self, app: str, name: str, status: str, output: str = "") -> None:
        self.machine(app, name)["checks"] = [{"name": "ready", "status": status, "output": output}]

    def exit(self, app: str, name: str, code: int, state: str = "stopped", *, requested: bool = False) -> None:
        machine = self.machine(app, name)
        machine["state"] = state
        exit_event = {"exit_code": code, "exited_at": _time(), "requested_stop": requested}
        machine["events"].insert(0, self._event("exit", "stopped", {"exit_event": exit_event}))

    def lend(self, app: str, machine_id: str, owner: str, seconds: float) -> None:
        self.apps[app].leases[machine_id] = ("foreign", owner, self.clock.now() + seconds)

    # The wire

    def _handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        seen = f"{request.method} {path.removeprefix('/v1')}"
        self.requests.append(seen)
        body = json.loads(request.content) if request.content else None
        self.bodies.append(body)
        if path == "/graphql":
            problems = GRAPHQL.check_request(body)
        else:
            query = {key: request.url.params.get_list(key) for key in request.url.params}
            problems = CONTRACT.check_request(request.method, path, query, body, dict(request.headers))
        assert not problems, problems
        if faults := self._faults[seen]:
            fault = faults.pop(0)
            if fault.happened:
                self._answer(request, path, body)
            if isinstance(fault.answer, Exception):
                raise fault.answer
            return fault.answer
        status, answer = self._answer(request, path, body)
        if path == "/graphql":
            problems = GRAPHQL.check_answer(body, answer)
        else:
            problems = CONTRACT.check_answer(request.method, path, status, answer)
        assert not problems, (seen, problems)
        headers = {"fly-request-id": "01REQUEST"} | ({"retry-after": "2"} if status == 429 else {})
        return httpx.Response(status, headers=headers, **({} if answer is None else {"json": copy.deepcopy(answer)}))

    def _answer(self, request: httpx.Request, path: str, body: Json) -> tuple[int, Json]:
        if request.headers.get("authorization") != f"FlyV1 {TOKEN}":
            return 401, {"error": "You must be authenticated to view this."}
        try:
            if path == "/graphql":
                return 200, self._graphql(body)
            self._count(request.method, path)
            return self._route(request, path.removeprefix("/v1"), body)
        except RefusalError as refusal:
            return refusal.status, {"error": str(refusal)}

    def _route(self, request: httpx.Request, path: str, body: Json) -> tuple[int, Json]:
        for method, pattern, act in self._routes():
            if request.method == method and (found := re.fullmatch(pattern, path)):
                return act(request, body, *map(unquote, found.groups()))
        raise AssertionError(f"the fake has no {request.method} {path}")

    def _routes(self) -> Iterator[tuple[str, str, Callable[..., tuple[int, Json]]]]:
        app, machine = "/apps/([^/]+)", "/apps/([^/]+)/machines/([^/]+)"
        yield "POST", "/apps", self._create_app
        yield "GET", app, lambda _request, _body, name: (200, self._app_view(self._app(name)))
        yield "DELETE", app, self._delete_app
        yield "GET", f"{app}/secrets", lambda _request, _body, name: (200, _secrets_view(self._app(name)))
        yield "POST", f"{app}/secrets", self._set_secrets
        yield "GET", f"{app}/ip_assignments", lambda _request, _body, name: (200, {"ips": self._app(name).ips})
        yield "POST", f"{app}/ip_assignments", self._add_address
        yield "DELETE", f"{app}/ip_assignments/([^/]+)", self._release_address
        yield "POST", f"{app}/certificates/acme", self._add_certificate
        yield "GET", f"{app}/certificates/([^/]+)", self._certificate
        yield "DELETE", f"{app}/certificates/([^/]+)", self._delete_certificate
        yield "GET", f"{app}/volumes", lambda _request, _body, name: (200, [*self._app(name).volumes.values()])
        yield "POST", f"{app}/volumes", self._create_volume
        yield "PUT", f"{app}/volumes/([^/]+)", self._change_volume
        yield "PUT", f"{app}/volumes/([^/]+)/extend", self._extend_volume
        yield "DELETE", f"{app}/volumes/([^/]+)", self._delete_volume
        yield (
            "GET",
            f"{app}/machines",
            lambda _request, _body, name: (200, [*map(_view, self._app(name).machines.values())]),
        )
        yield "POST", f"{app}/machines", self._create_machine
        yield "GET", machine, lambda _request, _body, name, id_: (200, _view(self._machine(name, id_)))
        yield "POST", machine, self._update_machine
        yield "DELETE", machine, self._destroy_machine
        yield "POST", f"{machine}/start", self._start_machine
        yield "POST", f"{machine}/uncordon", self._uncordon_machine
        yield "GET", f"{machine}/wait", self._wait
        yield "GET", f"{machine}/lease", self._lease
        yield "POST", f"{machine}/lease", self._take_lease
        yield "DELETE", f"{machine}/lease", self._release_lease

    def _count(self, method: str, path: str) -> None:
        """Fly's documented rates: a bucket of tokens per action and object."""
        parts = path.removeprefix("/v1/").split("/")
        is_machine = len(parts) > 3 and parts[2] == "machines"
        action = (method, parts[3], *parts[4:]) if is_machine else (method, *parts[:3])
        burst, per_second = (10, 5) if is_machine and method == "GET" and len(parts) == 4 else (3, 1)
        now = self.clock.now()
        left, at = self._buckets.get(action, (burst, now))
        left = min(burst, left + (now - at) * per_second)
        if left < 0.999:
            raise RefusalError(429, "rate limit exceeded")
        self._buckets[action] = (left - 1, now)

    # Apps

    def _app(self, name: str) -> App:
        if name in self.elsewhere:
            raise RefusalError(403, "unauthorized")
        if name not in self.apps:
            raise RefusalError(404, f"app {name} not found")
        return self.apps[name]

    def _create_app(self, _request: httpx.Request, body: Json) -> tuple[int, Json]:
        if body["name"] in self.apps or body["name"] in self.elsewhere:
            raise RefusalError(422, "Name has already been taken")
        app = self.add_app(body["name"], body["org_slug"])
        app.network = body.get("network", "default")
        return 201, self._app_view(app)

    def _delete_app(self, request: httpx.Request, _body: Json, name: str) -> tuple[int, Json]:
        app = self._app(name)
        if app.machines and request.url.params.get("force") != "true":
            raise RefusalError(412, "app has machines")
        del self.apps[name]
        return 202, None

    def _app_view(self, app: App) -> Json:
        return {
            "id": f"id-{app.name}",
            "name": app.name,
            "internal_numeric_id": 7,
            "network": app.network,
            "status": "pending",
            "machine_count": len(app.machines),
            "volume_count": len(app.volumes),
            "organization": {"name": app.organization, "slug": app.organization, "internal_numeric_id": 1},
            "cname_target": f"{app.name}.fly.dev",
        }

    # Secrets

    def _set_secrets(self, _request: httpx.Request, body: Json, name: str) -> tuple[int, Json]:
        app = self._app(name)
        app.secrets_version += 1
        for secret, value in body["values"].items():
            if value is None:
                app.secrets.pop(secret, None)
            else:
                app.secrets[secret] = (value, f"digest-{next(self._ids)}")
        return 200, {**_secrets_view(app), "version": app.secrets_version}

    # Addresses and certificates

    def _add_address(self, _request: httpx.Request, body: Json, name: str) -> tuple[int, Json]:
        app, number = self._app(name), next(self._ids)
        address = {
            "v6": f"2a09:8280:1::{number}",
            "private_v6": f"fdaa:0:1::{number}",
            "shared_v4": f"66.241.124.{number}",
        }
        kind = body["type"]
        app.ips.append({"ip": address[kind], "region": "global", "shared": kind == "shared_v4", "created_at": _time()})
        return 200, app.ips[-1]

    def _release_address(self, _request: httpx.Request, _body: Json, name: str, ip: str) -> tuple[int, Json]:
        app = self._app(name)
        if not any(one["ip"] == ip for one in app.ips):
            raise RefusalError(404, "no such address")
        app.ips = [one for one in app.ips if one["ip"] != ip]
        return 204, None

    def _add_certificate(self, _request: httpx.Request, body: Json, name: str) -> tuple[int, Json]:
        app, hostname = self._app(name), body["hostname"]
        if hostname in app.certificates:
            raise RefusalError(422, "Hostname already exists on app")
        app.certificates[hostname] = {
            "hostname": hostname,
            "configured": False,
            "acme_requested": True,
            "status": "pending_validation",
            "certificates": [],
            "validation": {"dns_configured": False, "alpn_configured": False, "http_configured": False},
            "dns_requirements": {
                "a": [],
                "aaaa": [one["ip"] for one in app.ips if ":" in one["ip"]],
                "cname": f"{name}.fly.dev",
                "acme_challenge": {"name": f"_acme-challenge.{hostname}", "target": f"{hostname}.x.flydns.net"},
                "ownership": {"name": f"_fly-ownership.{hostname}", "app_value": "app-abc"},
            },
        }
        return 201, app.certificates[hostname]

    def _certificate(self, _request: httpx.Request, _body: Json, name: str, hostname: str) -> tuple[int, Json]:
        if hostname not in self._app(name).certificates:
            raise RefusalError(404, "certificate not found")
        return 200, self.apps[name].certificates[hostname]

    def _delete_certificate(self, request: httpx.Request, body: Json, name: str, hostname: str) -> tuple[int, Json]:
        self._certificate(request, body, name, hostname)
        del self.apps[name].certificates[hostname]
        return 204, None

    # Volumes

    def _create_volume(self, _request: httpx.Request, body: Json, name: str) -> tuple[int, Json]:
        volume = {
            "id": f"vol_{next(self._ids)}",
            "name": body["name"],
            "state": "created",
            "size_gb": body["size_gb"],
            "region": body["region"],
            "encrypted": body["encrypted"],
            "attached_machine_id": None,
            "host_status": "ok",
            "created_at": datetime.now(UTC).isoformat(),
            "snapshot_retention": body["snapshot_retention"],
        }
        self._app(name).volumes[volume["id"]] = volume
        return 200, volume

    def _volume(self, name: str, id_: str) -> dict[str, Any]:
        if id_ not in self._app(name).volumes:
            raise RefusalError(404, "volume not found")
        return self.apps[name].volumes[id_]

    def _change_volume(self, _request: httpx.Request, body: Json, name: str, id_: str) -> tuple[int, Json]:
        volume = self._volume(name, id_)
        volume |= body
        return 200, volume

    def _extend_volume(self, _request: httpx.Request, body: Json, name: str, id_: str) -> tuple[int, Json]:
        volume = self._volume(name, id_)
        if body["size_gb"] < volume["size_gb"]:
            raise RefusalError(422, "volumes can only be extended")
        volume["size_gb"] = body["size_gb"]
        return 200, {"volume": volume, "needs_restart": False}

    def _delete_volume(self, _request: httpx.Request, _body: Json, name: str, id_: str) -> tuple[int, Json]:
        volume = self._volume(name, id_)
        if volume["attached_machine_id"]:
            raise RefusalError(412, "volume is attached")
        volume["state"] = "pending_destroy"
        return 200, volume

    # Machines

    def _machine(self, name: str, id_: str) -> dict[str, Any]:
        if id_ not in self._app(name).machines:
            raise RefusalError(404, "machine not found")
        return self.apps[name].machines[id_]

    def _create_machine(self, _request: httpx.Request, body: Json, name: str) -> tuple[int, Json]:
        app = self._app(name)
        self._secrets_seen(app, body)
        if any(one["name"] == body["name"] for one in app.machines.values()):
            raise RefusalError(422, f"unique machine name violation, machine already has name {body['name']}")
        id_ = f"{next(self._ids):014x}"
        machine = {
            "id": id_,
            "name": body["name"],
            "state": "created",
            "region": body["region"],
            "instance_id": self._ulid(),
            "private_ip": f"fdaa:0:1:a7b::{id_[-4:].lstrip('0')}",
            "created_at": _time(),
            "updated_at": _time(),
            "cordoned": False,
            "config": as_fly_answers(body["config"]),
            "events": [],
            "checks": [],
            "host_status": "ok",
        }
        app.machines[id_] = machine
        self._launch(machine)
        return 200, _view(machine)

    def _update_machine(self, request: httpx.Request, body: Json, name: str, id_: str) -> tuple[int, Json]:
        machine = self._machine(name, id_)
        self._must_be_free(request, name, id_)
        self._secrets_seen(self.apps[name], body)
        if body.get("current_version", machine["instance_id"]) != machine["instance_id"]:
            raise RefusalError(412, "current_version mismatch")
        machine |= {"config": as_fly_answers(body["config"]), "instance_id": self._ulid(), "state": "replacing"}
        self._launch(machine)
        return 200, _view(machine)

    def _launch(self, machine: dict[str, Any]) -> None:
        machine["events"].insert(0, self._event("launch", "created"))
        names = [*machine["config"].get("checks", {})]
        names += [
            f"servicecheck-{n}"
            for one in machine["config"].get("services", [])
            for n, _ in enumerate(one.get("checks", []))
        ]
        machine["checks"] = [{"name": one, "status": "critical", "output": "not yet"} for one in names]

        def start() -> None:
            self._running[machine["id"]] = machine["instance_id"]
            machine["state"] = "started"
            machine["events"].insert(0, self._event("start", "started"))
            machine["checks"] = [check | {"status": "passing", "output": "200 OK"} for check in machine["checks"]]

        if self.starts:
            self.clock.after(START_S, start)

    def _destroy_machine(self, request: httpx.Request, _body: Json, name: str, id_: str) -> tuple[int, Json]:
        machine = self._machine(name, id_)
        self._must_be_free(request, name, id_)
        if machine["state"] == "started" and request.url.params.get("force") != "true":
            raise RefusalError(412, "machine is running")
        machine["state"] = "destroying"

        def end() -> None:
            del self.apps[name].machines[id_]

        self.clock.after(1.0, end)
        return 200, {"ok": True}

    def _start_machine(self, request: httpx.Request, _body: Json, name: str, id_: str) -> tuple[int, Json]:
        machine = self._machine(name, id_)
        self._must_be_free(request, name, id_)
        before, machine["state"] = machine["state"], "starting"
        self._launch(machine)
        return 200, {"previous_state": before}

    def _uncordon_machine(self, request: httpx.Request, _body: Json, name: str, id_: str) -> tuple[int, Json]:
        self._must_be_free(request, name, id_)
        self._machine(name, id_)["cordoned"] = False
        return 200, {"ok": True}

    def _wait(self, request: httpx.Request, _body: Json, name: str, id_: str) -> tuple[int, Json]:
        machine, params = self._machine(name, id_), request.url.params
        for _ in range(int(params["timeout"])):
            version = params.get("version", machine["instance_id"])
            if machine["state"] == params["state"] and self._running.get(id_) == version:
                return 200, {"ok": True, "state": machine["state"], "version": version, "event_id": "x"}
            self.clock.sleep(1.0)
        raise RefusalError(408, "deadline_exceeded: machine failed to reach desired state")

    def _secrets_seen(self, app: App, body: Json) -> None:
        seen = app.secrets_version if app.secrets_available is None else app.secrets_available
        if (body.get("min_secrets_version") or 0) > seen:
            raise RefusalError(412, "failed_precondition: secrets version is not available yet")

    # Leases

    def _held(self, name: str, id_: str) -> tuple[str, str, float] | None:
        lease = self.apps[name].leases.get(id_)
        return lease if lease and lease[2] > self.clock.now() else None

    def _must_be_free(self, request: httpx.Request, name: str, id_: str) -> None:
        lease = self._held(name, id_)
        if lease and request.headers.get("fly-machine-lease-nonce") != lease[0]:
            raise RefusalError(409, "machine is leased")

    def _lease(self, _request: httpx.Request, _body: Json, name: str, id_: str) -> tuple[int, Json]:
        self._machine(name, id_)
        if (lease := self._held(name, id_)) is None:
            raise RefusalError(404, "lease not found")
        return 200, self._lease_view(lease)

    def _take_lease(self, request: httpx.Request, body: Json, name: str, id_: str) -> tuple[int, Json]:
        self._machine(name, id_)
        self._must_be_free(request, name, id_)
        lease = (f"nonce-{next(self._ids)}", "us", self.clock.now() + body["ttl"])
        self.apps[name].leases[id_] = lease
        return 201, self._lease_view(lease)

    def _release_lease(self, request: httpx.Request, _body: Json, name: str, id_: str) -> tuple[int, Json]:
        self._must_be_free(request, name, id_)
        self.apps[name].leases.pop(id_, None)
        return 200, {"ok": True}

    def _lease_view(self, lease: tuple[str, str, float]) -> Json:
        nonce, owner, ends = lease
        data = {"nonce": nonce, "owner": owner, "expires_at": int(EPOCH + ends), "version": self._ulid()}
        return {"status": "success", "data": data}

    # Redis

    def add_redis(
        self, name: str, plan: str = "plan-payg", options: dict[str, Any] | None = None, region: str = "ord"
    ) -> None:
        self.databases[name] = {
            "id": f"addon-{next(self._ids)}",
            "name": name,
            "publicUrl": None,
            "primaryRegion": region,
            "status": "creating",
            "errorMessage": None,
            "options": options or {},
            "metadata": {"set": "by Fly"},
            "addOnPlan": next(one for one in PLANS if one["id"] == plan),
            "organization": {"slug": ORGANIZATION},
        }
        url = {"publicUrl": f"redis://default:hunter2@fly-{name}.upstash.io:6379", "status": "ready"}
        self.clock.after(self.redis_url_after_s, lambda: self.databases[name].update(url))
        self.clock.sleep(0)

    def _graphql(self, body: Json) -> Json:
        query, variables = body["query"], body["variables"]
        given = variables.get("input", {})
        if "createAddOn(" in query:
            if given["name"] in self.databases:
                return {"errors": [{"message": "Name has already been taken"}]}
            assert given["organizationId"] == f"org-{ORGANIZATION}"
            self.add_redis(given["name"], given["planId"], given["options"], given["primaryRegion"])
            return {"data": {"createAddOn": {"addOn": self.databases[given["name"]]}}}
        if "updateAddOn(" in query:
            found = next(one for one in self.databases.values() if one["id"] == given["addOnId"])
            found["addOnPlan"] = next(one for one in PLANS if one["id"] == given["planId"])
            found |= {"options": given["options"], "metadata": given["metadata"]}
            return {"data": {"updateAddOn": {"addOn": found}}}
        missing = {"message": "Could not find Add-On", "extensions": {"code": "NOT_FOUND"}}
        if "deleteAddOn(" in query:
            if given["name"] not in self.databases:
                return {"errors": [missing | {"path": ["deleteAddOn"]}], "data": {"deleteAddOn": None}}
            del self.databases[given["name"]]
            return {"data": {"deleteAddOn": {"deletedAddOnName": given["name"]}}}
        if "addOnPlans(" in query:
            return {"data": {"addOnPlans": {"nodes": PLANS}}}
        if "organization(" in query:
            known = variables["slug"] == ORGANIZATION
            return {"data": {"organization": {"id": f"org-{ORGANIZATION}"} if known else None}}
        if variables["name"] not in self.databases:
            return {"errors": [missing | {"path": ["addOn"]}], "data": {"addOn": None}}
        return {"data": {"addOn": self.databases[variables["name"]]}}

    def _ulid(self) -> str:
        return f"{next(self._ids):026d}"

    def _event(self, kind: str, status: str, request: Json | None = None) -> Json:
        event = {"id": self._ulid(), "type": kind, "status": status, "source": "flyd"}
        return event | {"timestamp": int((EPOCH + self.clock.now()) * 1000)} | ({"request": request} if request else {})


def as_fly_answers(config: Json) -> Json:
    """The configuration in Fly's own spelling: defaults filled in, booleans for autostop, Go's durations."""
    config = copy.deepcopy(config)
    config.setdefault("init", {})
    config["restart"] = {"policy": "on-failure", "max_retries": 10} | config.get("restart", {})
    config["guest"] = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256} | config.get("guest", {})
    if "timeout" in config.get("stop_config", {}):
        config["stop_config"]["timeout"] = _go(config["stop_config"]["timeout"])
    for service in config.get("services") or []:
        service["autostop"] = {"off": False, "stop": True}.get(service.get("autostop", "off"), service.get("autostop"))
        service.setdefault("min_machines_running", 0)
    checks = [*(config.get("checks") or {}).values()]
    for check in [*checks, *(one for service in config.get("services") or [] for one in service.get("checks") or [])]:
        check |= {key: _go(check[key]) for key in ("interval", "timeout", "grace_period") if key in check}
    empty = [key for key in ("env", "files", "checks", "services", "mounts") if not config.get(key, True)]
    return {key: value for key, value in config.items() if key not in empty}


def _go(value: str | int) -> str:
    """Go's spelling: 90s and 90000000000 are 1m30s."""
    units = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
    if isinstance(value, int):
        total = value // 1_000_000
    else:
        total = sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", value))
    if total < 1000:
        return f"{total}ms"
    hours, minutes, seconds = total // 3_600_000, total // 60_000 % 60, total % 60_000 / 1000
    tail = f"{seconds:g}s"
    return f"{hours}h{minutes}m{tail}" if hours else f"{minutes}m{tail}" if minutes else tail


def _view(machine: dict[str, Any]) -> Json:
    repository, _, tag = machine["config"]["image"].partition(":")
    image = {"registry": "docker-hub-mirror.fly.io", "repository": repository, "tag": tag}
    return {**machine, "version": machine["instance_id"], "image_ref": image}


def _secrets_view(app: App) -> Json:
    now = _time()
    return {
        "secrets": [
            {"name": name, "digest": digest, "created_at": now, "updated_at": now}
            for name, (_, digest) in app.secrets.items()
        ]
    }


def _time() -> str:
    return datetime.now(UTC).isoformat()
