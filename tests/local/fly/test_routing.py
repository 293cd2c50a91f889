"""What Fly Proxy is told, and what private names stand for."""

from __future__ import annotations

from typing import Any

from tests.local.fly.conftest import Fly
from tests.local.fly.test_certificates import HOST, publish


def service(internal_port: int, **fields: Any) -> dict[str, Any]:
    ports = [{"port": 443, "handlers": ["tls", "http"]}]
    return {"protocol": "tcp", "internal_port": internal_port, "ports": ports, **fields}


def group(name: str, *services: dict[str, Any]) -> dict[str, Any]:
    return {"config": {"image": "known", "metadata": {"fly_process_group": name}, "services": list(services)}}


def routed(fly: Fly, port: int = 443) -> set[str]:
    return {backend.machine_id for backend in fly.routes.backends("shop", port)}


async def test_only_the_port_matters_and_groups_are_mixed(fly: Fly) -> None:
    await fly.app()
    gateway = await fly.machine(**group("gateway", service(4000)))
    ui = await fly.machine(**group("ui", service(3000, concurrency={"type": "requests", "hard_limit": 9})))
    await fly.machine(**group("worker"))
    many = {"start_port": 7000, "end_port": 7009}
    ranged = await fly.machine(**group("range", service(1, ports=[many])))
    assert routed(fly) == {gateway["id"], ui["id"]}
    assert routed(fly, 7009) == {ranged["id"]}
    assert routed(fly, 7010) == set()
    found = {b.machine_id: (b.internal_port, b.soft_limit, b.hard_limit) for b in fly.routes.backends("shop", 443)}
    assert found == {gateway["id"]: (4000, 20, None), ui["id"]: (3000, 20, 9)}
    assert fly.routes.has_service("shop", 443)
    assert not fly.routes.has_service("shop", 80)
    assert not fly.routes.has_service("other", 443)


async def test_the_idle_timeout_is_that_of_the_port(fly: Fly) -> None:
    await fly.app()
    ports = [
        {"port": 80, "handlers": ["http"]},
        {"port": 443, "handlers": ["tls", "http"], "http_options": {"idle_timeout": 600}},
        {"port": 444, "handlers": ["tls", "http"], "http_options": {"compress": True}},
    ]
    await fly.machine(**group("gateway", service(4000, ports=ports)))
    assert [fly.routes.backends("shop", port)[0].idle_timeout_s for port in (80, 443, 444)] == [60, 600, 60]


async def test_a_machine_gets_requests_while_all_its_service_checks_pass(fly: Fly) -> None:
    app = await fly.app()
    check = {"type": "http", "path": "/"}
    body = group("gateway", service(4000, checks=[check, {"type": "tcp", "port": 9}]))
    body["config"]["checks"] = {"slow": {"type": "tcp", "port": 1}}
    machine = await fly.machine(**body)
    assert routed(fly) == set()
    assert fly.routes.has_service("shop", 443), "unhealthy is not absent"
    fly.platform.pass_checks(machine["id"], "servicecheck-00-http-4000")
    assert routed(fly) == set()
    fly.platform.pass_checks(machine["id"], "servicecheck-01-tcp-9")
    assert routed(fly) == {machine["id"]}, "checks that belong to no service do not matter"
    path = f"{app}/machines/{machine['id']}"
    await fly.http.post(f"{path}/cordon")
    assert routed(fly) == set()
    await fly.http.post(f"{path}/uncordon")
    assert routed(fly) == {machine["id"]}
    await fly.http.post(f"{path}/stop")
    assert routed(fly) == set()
    assert fly.routes.has_service("shop", 443)


async def test_a_machine_can_be_created_out_of_rotation(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine(**group("gateway", service(4000)), skip_service_registration=True)
    assert routed(fly) == set()
    await fly.http.post(f"{app}/machines/{machine['id']}/uncordon")
    assert routed(fly) == {machine["id"]}


async def test_hostnames_route_to_apps(fly: Fly) -> None:
    app = await fly.app()
    await fly.http.post(f"{app}/certificates/acme", json={"hostname": HOST})
    for name in ("shop.fly.dev", "shop.flycast", HOST, "nothing.example.com"):
        assert fly.routes.app_of(name) is None, name
    await fly.http.post(f"{app}/ip_assignments", json={"type": "private_v6"})
    assert fly.routes.app_of("shop.flycast") == "shop"
    assert fly.routes.app_of("shop.fly.dev") is None, "no public address"
    await fly.http.post(f"{app}/ip_assignments", json={"type": "v6"})
    assert fly.routes.app_of("Shop.fly.dev") == "shop"
    assert fly.routes.app_of(HOST) is None, "the certificate is not active yet"
    await publish(fly, (HOST, "CNAME", "shop.fly.dev"))
    assert fly.routes.app_of(HOST.upper()) == "shop"
    await fly.http.delete(app, params={"force": "true"})
    for name in ("shop.fly.dev", "shop.flycast", HOST):
        assert fly.routes.app_of(name) is None, name


async def test_a_wildcard_covers_one_level(fly: Fly) -> None:
    app = await fly.app()
    await fly.http.post(f"{app}/ip_assignments", json={"type": "v6"})
    await fly.http.post(f"{app}/certificates/acme", json={"hostname": "*.example.com"})
    challenge = (await fly.http.get(f"{app}/certificates/*.example.com")).json()["dns_requirements"]["acme_challenge"]
    assert challenge["name"] == "_acme-challenge.example.com"
    await publish(fly, (challenge["name"], "CNAME", challenge["target"]))
    assert fly.routes.app_of("a.example.com") == "shop"
    assert fly.routes.app_of("a.b.example.com") is None
    assert fly.routes.app_of("example.com") is None


async def test_private_names_stand_for_started_machines_and_follow_them(fly: Fly) -> None:
    app = await fly.app()
    one = await fly.machine(**group("web"))
    two = await fly.machine(**group("web"), region="ams")
    address = {spec.machine_id: spec.address for spec in fly.platform.started}
    first, second = address[one["id"]], address[two["id"]]
    both = sorted([first, second])
    assert fly.platform.names == {
        "shop.internal": both,
        "ord.shop.internal": [first],
        "ams.shop.internal": [second],
        "web.process.shop.internal": both,
        f"{one['id']}.vm.shop.internal": [first],
        f"{two['id']}.vm.shop.internal": [second],
    }
    await fly.http.post(f"{app}/machines/{one['id']}/stop")
    assert fly.platform.names["shop.internal"] == [second]
    assert "ord.shop.internal" not in fly.platform.names
    await fly.http.post(f"{app}/machines/{two['id']}/metadata/fly_process_group", json={"value": "worker"})
    assert "web.process.shop.internal" not in fly.platform.names
    assert fly.platform.names["worker.process.shop.internal"] == [second]
    fly.platform.die(two["id"], 0)
    await fly.reaches(f"{app}/machines/{two['id']}", "stopped")
    assert fly.platform.names == {}


async def test_a_replaced_machine_is_nowhere_until_its_new_version_runs(fly: Fly) -> None:
    app = await fly.app()
    machine = await fly.machine(**group("web"))
    fly.platform.may_start.clear()
    await fly.http.post(f"{app}/machines/{machine['id']}", json=group("web"))
    assert fly.platform.names == {}
    fly.platform.may_start.set()
    await fly.reaches(f"{app}/machines/{machine['id']}", "started")
    assert fly.platform.names["shop.internal"] == [fly.platform.started[0].address]


async def test_names_of_flycast_and_unregistered_machines(fly: Fly) -> None:
    app = await fly.app()
    hidden = await fly.machine(config={"image": "known", "dns": {"skip_registration": True}})
    assert list(fly.platform.names) == [f"{hidden['id']}.vm.shop.internal"]
    made = (await fly.http.post(f"{app}/ip_assignments", json={"type": "private_v6"})).json()
    assert fly.platform.names["shop.flycast"] == ["127.77.0.1"]
    await fly.http.delete(f"{app}/ip_assignments/{made['ip']}")
    assert "shop.flycast" not in fly.platform.names
