"""The contract itself: what it lets through, what it catches, and that no problem tells a value."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts import contract, graphql_contract

REST = contract.load()
GRAPHQL = graphql_contract.load()

MACHINE: dict[str, Any] = {
    "config": {
        "image": "caddy:2",
        "init": {"exec": ["/bin/caddy", "run"]},
        "env": {"A": "b"},
        "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
        "files": [{"guest_path": "/etc/x", "raw_value": "eA==", "mode": 420}],
        "services": [
            {
                "protocol": "tcp",
                "internal_port": 80,
                "autostop": "off",
                "concurrency": {"type": "requests", "soft_limit": 5},
                "ports": [{"port": 443, "handlers": ["tls", "http"], "http_options": {"idle_timeout": 600}}],
                "checks": [{"type": "http", "interval": "15s", "timeout": 5_000_000_000, "path": "/"}],
            }
        ],
        "checks": {"up": {"type": "tcp", "port": 80, "interval": "1m30s"}},
        "restart": {"policy": "no"},
        "stop_config": {"signal": "SIGTERM", "timeout": "1m"},
        "metadata": {"fly_process_group": "edge"},
        "metrics": {"port": 9090, "path": "/metrics"},
        "auto_destroy": False,
    },
    "region": "ord",
    "min_secrets_version": 3,
}


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """MACHINE with one thing different."""

    def change(value: Any, rest: tuple[str | int, ...]) -> Any:
        if not rest:
            return to
        key = rest[0]
        if isinstance(value, list):
            return [change(item, rest[1:]) if index == key else item for index, item in enumerate(value)]
        return {**value, key: change(value.get(key), rest[1:])}

    found: dict[str, Any] = change(MACHINE, path)
    return found


def test_a_whole_machine_passes() -> None:
    assert REST.check_request("POST", "/v1/apps/a/machines", {}, MACHINE) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (changed("colour", to="red"), "body: unknown field colour"),
        (changed("config", "imago", to="x"), "body.config: unknown field imago"),
        (changed("config", "services", 0, "checks", 0, "each", to="1s"), "checks.0: unknown field each"),
        (changed("config", "image", to=None), "body.config.image: must be string, is null"),
        (changed("config", "guest", "cpus", to=1.0), "cpus: must be integer, is float"),
        (changed("config", "guest", "cpus", to=True), "cpus: must be integer, is boolean"),
        (changed("config", "env", "A", to=1), "body.config.env.A: must be string, is integer"),
        (changed("config", "restart", "policy", to="never"), "policy: must be one of no, always, on-failure"),
        (changed("config", "checks", "up", "interval", to="15"), "interval: breaks pattern"),
        (changed("config", "checks", "up", "port", to=70000), "port: breaks maximum 65535"),
        (changed("config", "services", 0, "autostop", to=5), "autostop: integer fits none of 2 alternatives"),
        ({"region": "ord"}, "body: missing field config"),
        (None, "body: must be object, is null"),
    ],
)
def test_a_wrong_machine_is_caught(body: Any, problem: str) -> None:
    (found,) = REST.check_request("POST", "/v1/apps/a/machines", {}, body)
    assert found.startswith("POST /v1/apps/{app}/machines: ")
    assert problem in found


@pytest.mark.parametrize(
    ("query", "problems"),
    [
        ({"state": "started", "timeout": "60"}, []),
        ({"state": ["started,stopped", "failed"]}, []),
        ({"timeout": "soon"}, ["query.timeout: must be integer, is string"]),
        ({"timeout": ["1", "2"]}, ["query.timeout: given 2 times"]),
        ({"stat": "started"}, ["query: unknown stat"]),
        ({"version": "1"}, ["query.version: breaks pattern ^[0-9A-HJKMNP-TV-Z]{26}$"]),
    ],
)
def test_queries_are_held(query: dict[str, Any], problems: list[str]) -> None:
    found = REST.check_request("GET", "/v1/apps/a/machines/m/wait", query)
    assert [problem.partition("wait: ")[2] for problem in found] == problems


def test_a_missing_query_is_caught() -> None:
    assert REST.check_request("GET", "/v1/apps") == ["GET /v1/apps: query: missing org_slug"]


def test_metadata_filters_may_have_any_name() -> None:
    assert REST.check_request("GET", "/v1/apps/a/machines", {"metadata.fly_process_group": "edge"}) == []


def test_only_the_calls_of_machines_take_a_nonce() -> None:
    nonce = {"Fly-Machine-Lease-Nonce": "n"}
    assert REST.check_request("POST", "/v1/apps/a/machines/m/stop", headers=nonce) == []
    (problem,) = REST.check_request("GET", "/v1/apps/a/machines/m", headers=nonce)
    assert problem.endswith("header: unknown fly-machine-lease-nonce")
    (problem,) = REST.check_request("DELETE", "/v1/apps/a/machines/m/lease", headers={})
    assert problem.endswith("header: missing fly-machine-lease-nonce")


def test_an_unknown_call_is_a_problem_that_names_no_name() -> None:
    assert REST.check_request("GET", "/v1/apps/acme-secret/postgres") == ["GET /v1/apps/…/…: no such call"]
    assert REST.check_answer("PUT", "/v1/apps", 200) == ["PUT /v1/apps: no such call"]


def test_quoted_names_are_one_part_of_a_path() -> None:
    call = REST.find("GET", "/v1/apps/a/certificates/%2A.example.com")
    assert call is not None
    assert call.template == "/v1/apps/{app}/certificates/{hostname}"


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, {"version": 1}, None),
        (404, {"error": "app a not found", "status": "unknown"}, None),
        (503, None, None),
        (200, {"version": "1"}, "200.version: must be integer, is string"),
        (200, {"version": 1, "value": "x"}, "200: unknown field value"),
        (404, {"error": "no", "reason": "x"}, "404: unknown field reason"),
        (404, {"message": "no"}, "404: missing field error"),
        (418, {"error": "no"}, "status 418 is none of 200, 400, 401, 403, 404, 408, 429"),
        (200, None, "200: must be object, is null"),
    ],
)
def test_answers_are_held(status: int, body: Any, problem: str | None) -> None:
    found = REST.check_answer("DELETE", "/v1/apps/a/secrets/KEY", status, body)
    assert [text.partition("{name}: ")[2] for text in found] == ([] if problem is None else [problem])


def test_answers_have_one_form_where_requests_have_several() -> None:
    version = {"version": "01JCXYZ0000000000000000000", "user_config": MACHINE["config"]}
    found = REST.check_answer("GET", "/v1/apps/a/machines/m/versions", 200, [version])
    assert [problem.partition("user_config.")[2] for problem in found] == [
        "services.0.autostop: must be one of suspend",
        "services.0.checks.0.timeout: must be string, is integer",
    ]


def test_no_problem_tells_a_value() -> None:
    secret = "sk-do-not-print"
    bodies: list[tuple[str, Any]] = [
        ("/v1/apps/a/secrets", {"values": {"KEY": [secret]}}),
        ("/v1/apps/a/secrets", {"values": secret}),
        ("/v1/apps/a/secrets/KEY", {"value": {"x": secret}}),
        ("/v1/apps/a/machines", changed("config", "restart", "policy", to=secret)),
        ("/v1/apps/a/machines", changed("config", "files", 0, "raw_value", to=secret)),
        ("/v1/apps/a/machines", changed("config", "services", 0, "autostop", to=secret)),
    ]
    problems = [problem for path, body in bodies for problem in REST.check_request("POST", path, {}, body)]
    document = "mutation ($input: CreateAddOnInput!) { createAddOn(input: $input) { addOn { id } } }"
    for value in ({"type": secret}, {"type": "redis", "options": {}, "planId": [secret]}, secret):
        problems += GRAPHQL.check_request({"query": document, "variables": {"input": value}})
    problems += GRAPHQL.check_request({"query": f'{{ addOns(type: "{secret}") {{ nodes {{ id }} }} }}'})
    problems += GRAPHQL.check_request({"query": f'{{ addOn(name: "{secret}" {{ id }} }}'})
    assert len(problems) == len(bodies) + 5
    assert secret not in " ".join(problems)


APPS = "query List($after: String) { apps(first: 2, after: $after) { nodes { ...A } pageInfo { endCursor } } } "
FRAGMENT = "fragment A on App { id n: name status organization { internalNumericId __typename } }"


def answer(**changes: Any) -> dict[str, Any]:
    organization = {"internalNumericId": "7", "__typename": "Organization"}
    app = {"id": "1", "n": "a", "status": "deployed", "organization": organization, **changes}
    return {"data": {"apps": {"nodes": [app], "pageInfo": {"endCursor": None}}}}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"query": APPS + FRAGMENT}, None),
        ({"query": APPS + FRAGMENT, "variables": {"after": "x"}, "operationName": "List"}, None),
        ({"query": APPS}, "Unknown fragment 'A'"),
        ({"query": "{ app(name: 1) { id } }"}, "String cannot represent a non string value: …"),
        ({"query": "{ app { colour } }"}, "Cannot query field 'colour' on type 'App'"),
        ({"query": "{ app { id }"}, "query: is not GraphQL"),
        ({"query": APPS + FRAGMENT, "variables": {"after": 1}}, "variables.after: must be String"),
        ({"query": APPS + FRAGMENT, "variables": {"before": "x"}}, "variables: unknown before"),
        ({"query": APPS + FRAGMENT, "extra": 1}, "body: unknown field extra"),
        ({"query": APPS + FRAGMENT, "operationName": "Other"}, "operationName: names no single operation"),
        ([], "body: must be an object with a query"),
    ],
)
def test_graphql_requests_are_held(body: Any, problem: str | None) -> None:
    found = GRAPHQL.check_request(body)
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


@pytest.mark.parametrize(
    ("answered", "problem"),
    [
        (answer(), None),
        ({"data": None, "errors": [{"message": "no", "path": ["apps"], "extensions": {"code": "NOT_FOUND"}}]}, None),
        (answer(name="a"), "nodes.0: name was not asked for"),
        (answer(id=None), "nodes.0.id: is null"),
        (answer(id=1), "nodes.0.id: must be ID"),
        (answer(organization={"internalNumericId": 7, "__typename": "Organization"}), "must be BigInt"),
        (answer(organization={"internalNumericId": "7", "__typename": "Team"}), "must be Organization"),
        (answer(organization={"__typename": "Organization"}), "organization: missing internalNumericId"),
        ({"data": {"apps": {"nodes": {}, "pageInfo": {"endCursor": None}}}}, "nodes: must be a list"),
        ({"data": None}, "data: null without an error"),
        ({"errors": []}, "errors: must be a list that is not empty"),
        ({"errors": [{"message": "no", "detail": "x"}]}, "errors.0: unknown field detail"),
        ([], "must be an object"),
    ],
)
def test_graphql_answers_are_held(answered: Any, problem: str | None) -> None:
    found = GRAPHQL.check_answer({"query": APPS + FRAGMENT}, answered)
    assert bool(found) == (problem is not None)
    assert problem is None or problem in found[0]
