"""Which calls a fault is about, and when it fires: without a server."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from local.fly.faults import KINDS, Call, Faults, Rule, path_fits

MACHINES = "/v1/apps/{app}/machines"
MACHINE = f"{MACHINES}/{{machine}}"
CERTIFICATE = "/v1/apps/{app}/certificates/{hostname}"


def call(number: int = 1, method: str = "POST", path: str = "/v1/apps/shop/machines", template: str = MACHINES) -> Call:
    return Call(number, method, path, template)


def graphql(operation: str) -> Call:
    return Call(1, "POST", "/graphql", "/graphql", operation)


@pytest.mark.parametrize(
    ("wanted", "path", "template", "fits"),
    [
        (MACHINES, "/v1/apps/shop/machines", MACHINES, True),
        ("/v1/apps/{id}/machines", "/v1/apps/shop/machines", MACHINES, True),
        ("/v1/apps/shop/machines", "/v1/apps/shop/machines", MACHINES, True),
        ("/v1/apps/other/machines", "/v1/apps/shop/machines", MACHINES, False),
        ("/v1/apps/shop/machines/{machine}", "/v1/apps/shop/machines/1", MACHINE, True),
        (MACHINES, "/v1/apps/shop/machines/1", MACHINE, False),
        (f"{MACHINES}[/{{machine}}]", "/v1/apps/shop/machines", MACHINES, True),
        (f"{MACHINES}[/{{machine}}]", "/v1/apps/shop/machines/1", MACHINE, True),
        (f"{MACHINES}[/{{machine}}]", "/v1/apps/shop/machines/1/stop", f"{MACHINE}/stop", False),
        (CERTIFICATE, "/v1/apps/shop/certificates/acme", "/v1/apps/{app}/certificates/acme", False),
        (CERTIFICATE, "/v1/apps/shop/certificates/a.b", CERTIFICATE, True),
    ],
)
def test_paths(wanted: str, path: str, template: str, fits: bool) -> None:
    assert path_fits(wanted, path, template) is fits


@pytest.mark.parametrize(
    ("rule", "matching", "other"),
    [
        (Rule(kind="reset"), call(), None),
        (Rule(kind="reset", method="POST"), call(), call(method="GET")),
        (Rule(kind="reset", path=MACHINES), call(), call(path="/v1/apps", template="/v1/apps")),
        (Rule(kind="reset", regex="/v1/apps/s.*/machines"), call(), call(path="/v1/apps/other/machines")),
        (Rule(kind="reset", call=7), call(7), call(8)),
        (Rule(kind="reset", operation="createAddOn"), graphql("mutation createAddOn"), graphql("query addOn")),
        (Rule(kind="reset", operation="query addOn"), graphql("query app addOn"), graphql("mutation addOn")),
        (Rule(kind="reset", operation="addOn"), graphql("query addOn"), call()),
        (Rule(kind="insufficient_capacity"), call(), call(method="GET")),
        (Rule(kind="insufficient_capacity", regex=".*"), call(path="/x", template="/x"), call(method="GET")),
        (Rule(kind="slow_secrets"), call(path="/v1/apps/a/machines/b", template=MACHINE), call(method="DELETE")),
        (Rule(kind="made_meanwhile", operation="createAddOn"), graphql("mutation createAddOn"), call()),
        (Rule(kind="made_meanwhile", path=MACHINES), call(), call(method="GET")),
    ],
)
def test_what_a_rule_is_about(rule: Rule, matching: Call, other: Call | None) -> None:
    fault = Faults().add(rule)
    assert fault.is_about(matching)
    assert other is None or not fault.is_about(other)


@pytest.mark.parametrize(
    ("fields", "fires"),
    [
        ({}, [True, False, False, False]),
        ({"times": 2}, [True, True, False, False]),
        ({"times": 0}, [True, True, True, True]),
        ({"nth": 2}, [False, True, False, False]),
        ({"nth": 2, "times": 2}, [False, True, True, False]),
        ({"call": 3}, [False, False, True, False]),
    ],
)
def test_when_a_rule_fires(fields: dict[str, int], fires: list[bool]) -> None:
    faults = Faults()
    fault = faults.add(Rule.model_validate({"kind": "reset", **fields}))
    assert [bool(faults.of_call(call(number))) for number in (1, 2, 3, 4)] == fires
    assert fault.fired == sum(fires)


def test_a_fault_that_could_not_fire_does_so_at_the_next_call() -> None:
    faults = Faults()
    fault = faults.add(Rule(kind="reset"))
    assert faults.of_call(call()) == [fault]
    fault.release()
    assert faults.of_call(call()) == [fault]
    assert faults.of_call(call()) == []


def test_a_condition_holds_for_its_objects_until_it_is_cleared() -> None:
    faults = Faults()
    fault = faults.add(Rule(kind="check_fails", object="gateway"))
    assert not faults.holds("check_fails", "id", "web-1", None)
    assert faults.holds("check_fails", "id", "web-1", "gateway")
    assert faults.holds("check_fails", "gateway")
    assert not faults.holds("redis_creating", "gateway")
    assert faults.of_call(call()) == []
    assert fault.fired == 2
    faults.clear()
    assert not faults.holds("check_fails", "gateway")


def test_a_condition_may_end_by_itself() -> None:
    faults = Faults()
    faults.add(Rule(kind="redis_creating", seconds=0))
    assert not faults.holds("redis_creating", "cache")


def test_a_start_is_counted_by_every_rule_about_it() -> None:
    faults = Faults()
    first, second = (faults.add(Rule(kind="dies_at_start", nth=nth)) for nth in (1, 2))
    assert [faults.of_start("web") for _ in range(3)] == [True, True, False]
    assert (first.fired, second.fired) == (1, 1)


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        ({"kind": "nonsense"}, "must be one of refuse, reset"),
        ({"kind": "refuse", "when": "after"}, "refuse fires before"),
        ({"kind": "truncate", "when": "before"}, "truncate fires after"),
        ({"kind": "check_fails", "when": "before"}, "it holds"),
        ({"kind": "reset", "status": 500}, "reset takes no status"),
        ({"kind": "error", "seconds": 0}, "error takes no seconds"),
        ({"kind": "check_fails", "times": 2}, "check_fails takes no times"),
        ({"kind": "check_fails", "path": "/v1/apps"}, "check_fails takes no path"),
        ({"kind": "dies_at_start", "method": "POST"}, "dies_at_start takes no method"),
        ({"kind": "delay"}, "delay needs seconds"),
        ({"kind": "made_meanwhile"}, "made_meanwhile needs path"),
        ({"kind": "reset", "regex": "("}, "regex: "),
        ({"kind": "reset", "nth": 0}, "greater than or equal to 1"),
        ({"kind": "error", "status": 99}, "greater than or equal to 200"),
        ({"kind": "reset", "colour": 1}, "Extra inputs"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(sent: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint.replace("(", r"\(")):
        Rule.model_validate(sent)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_made(kind: str) -> None:
    sent: dict[str, object] = {"kind": kind}
    if kind == "delay":
        sent["seconds"] = 1.0
    if kind == "made_meanwhile":
        sent["path"] = "/v1/apps"
    view = Faults().add(Rule.model_validate(sent)).view()
    assert (view["id"], view["kind"], view["fired"]) == (1, kind, 0)
    assert ("when" in view) is bool(KINDS[kind].moments)
