"""Fly's spelling is never a difference; a change always is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.fly.normalise import canonical, duration, observed, should_run
from tests.components.fly.fake_fly import as_fly_answers
from tests.components.fly.managed import on_wire

Config = dict[str, Any]

words = st.text("abcdefgh", min_size=1, max_size=4)
texts = st.text(max_size=5)
ports = st.integers(1, 65535)
flags = st.booleans()
seconds = st.integers(1, 4000)
durations = st.one_of(
    seconds.map("{}s".format),
    seconds.map("{}ms".format),
    st.integers(1, 90).map("{}m".format),
    seconds.map(lambda s: s * 10**9),
)


def parts(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    return st.fixed_dictionaries({}, optional=fields)


checks = parts(
    type=st.just("http"),
    port=ports,
    interval=durations,
    timeout=durations,
    grace_period=durations,
    method=st.sampled_from(["GET", "get", "HEAD"]),
    path=words,
    headers=st.lists(st.fixed_dictionaries({"name": words, "values": st.lists(words, max_size=2)}), max_size=2),
)
services = st.fixed_dictionaries(
    {"protocol": st.sampled_from(["tcp", "udp"]), "internal_port": st.sampled_from([80, 443, 8080])},
    optional={
        "autostop": st.sampled_from(["off", "stop", "suspend", True, False]),
        "autostart": flags,
        "min_machines_running": st.integers(0, 2),
        "concurrency": parts(type=st.just("requests"), soft_limit=st.integers(0, 99)),
        "checks": st.lists(checks, max_size=2),
        "ports": st.lists(
            st.fixed_dictionaries(
                {"port": ports},
                optional={
                    "handlers": st.lists(st.sampled_from(["tls", "http"]), unique=True),
                    "force_https": flags,
                    "http_options": parts(idle_timeout=st.integers(0, 900), compress=flags),
                },
            ),
            max_size=3,
            unique_by=lambda port: port["port"],
        ),
    },
)
configs = st.fixed_dictionaries(
    {"image": st.sampled_from(["caddy:2", "docker.io/library/caddy:2", "ghcr.io/x/y:1", f"caddy:2@sha256:{'a' * 64}"])},
    optional={
        "env": st.dictionaries(words, texts, max_size=3),
        "init": parts(cmd=st.lists(words), exec=st.lists(words), tty=flags),
        "guest": parts(cpu_kind=st.just("shared"), cpus=st.sampled_from([1, 2]), memory_mb=st.just(512)),
        "checks": st.dictionaries(words, checks, max_size=2),
        "services": st.lists(services, max_size=3),
        "mounts": st.lists(st.fixed_dictionaries({"volume": words, "path": words}), max_size=1),
        "metadata": st.dictionaries(words, words, max_size=2),
        "restart": parts(policy=st.sampled_from(["no", "always", "on-failure"]), max_retries=st.integers(0, 9)),
        "stop_config": parts(signal=st.just("SIGTERM"), timeout=durations),
        "auto_destroy": flags,
    },
)


def as_others_leave_it(config: Config) -> Config:
    """As Fly answers it, with what Fly and its own client add to every machine."""
    answer: Config = as_fly_answers(config)
    answer["metadata"] = {**answer.get("metadata", {}), "fly_release_id": "x", "fly_flyctl_version": "0.4"}
    answer["new_field_of_fly"] = {"a": 1}
    answer["guest"]["gpus"] = 0
    for service in answer.get("services", []):
        service.setdefault("autostart", True)
        service.setdefault("force_instance_key", None)
        for port in service.get("ports", []):
            port.setdefault("http_options", {"h2_backend": False})
    return answer


@given(configs)
def test_what_fly_makes_of_a_configuration_is_no_difference(config: Config) -> None:
    wanted = canonical(config)
    assert observed(wanted, canonical(as_others_leave_it(config))) == wanted


@given(configs)
def test_the_form_is_stable(config: Config) -> None:
    once = canonical(config)
    assert canonical(once) == once
    assert canonical(on_wire(config)) == on_wire(once), "numbers arrive as floats"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for n, item in enumerate(value) for leaf in leaves(item, (*path, n))]
    return [path]


def changed_at(config: Config, path: tuple[Any, ...]) -> Config:
    config = copy.deepcopy(config)
    holder: Any = config
    for step in path[:-1]:
        holder = holder[step]
    old = holder[path[-1]]
    others = {"autostop": "suspend" if old is not True and old != "suspend" else False, "image": "evil:1"}
    if isinstance(old, bool):
        new: Any = not old
    elif isinstance(old, int):
        new = old + 1
    else:
        new = "7h" if path[-1] in ("interval", "timeout", "grace_period") else f"{old}x"
    holder[path[-1]] = others.get(path[-1], new)
    return config


@given(configs, st.data())
def test_every_change_of_what_we_say_is_a_difference(config: Config, data: st.DataObject) -> None:
    wanted = canonical(config)
    live = as_others_leave_it(wanted)
    path = data.draw(st.sampled_from(leaves(wanted)))
    live = changed_at(as_fly_answers(wanted), path)
    assert observed(wanted, canonical(live)) != wanted, path


WANTED = canonical(
    {
        "image": "caddy:2",
        "env": {"A": "1"},
        "services": [{"protocol": "tcp", "internal_port": 8080, "ports": [{"port": 443}]}],
        "metadata": {"fly_process_group": "edge"},
    }
)
ADDED: list[Config] = [
    {"env": {"A": "1", "B": "2"}},
    {"services": [*WANTED["services"], {"protocol": "tcp", "internal_port": 22}]},
    {"services": [{**WANTED["services"][0], "ports": [{"port": 443}, {"port": 8443}]}]},
    {"checks": {"mine": {"type": "tcp", "port": 1}}},
    {"mounts": [{"volume": "vol_1", "path": "/data"}]},
    {"metrics": {"port": 1, "path": "/metrics"}},
    {"schedule": "daily"},
    {"auto_destroy": True},
]


@pytest.mark.parametrize("added", ADDED, ids=lambda added: str(*added))
def test_what_someone_adds_is_a_difference(added: Config) -> None:
    assert observed(WANTED, canonical({**WANTED, **added})) != WANTED


@pytest.mark.parametrize("part", ["env", "services", "image"])
def test_what_someone_removes_is_a_difference(part: str) -> None:
    assert observed(WANTED, {key: value for key, value in WANTED.items() if key != part}) != WANTED


def test_a_method_has_one_spelling() -> None:
    def with_method(method: str) -> Config:
        return canonical({"image": "x", "checks": {"a": {"method": method}}})

    assert with_method("get") == with_method("GET") != with_method("HEAD")


def test_a_resolved_digest_is_no_difference_and_another_one_is() -> None:
    one, other = (f"caddy:2@sha256:{digit * 64}" for digit in "ab")
    assert observed({"image": "caddy:2"}, {"image": one}) == {"image": "caddy:2"}
    assert observed({"image": one}, {"image": other}) != {"image": one}


@pytest.mark.parametrize(
    ("value", "same"),
    [
        ("90s", "90s"),
        ("1m30s", "90s"),
        (90 * 10**9, "90s"),
        ("1.5s", "1500ms"),
        ("1h0m0s", "3600s"),
        ("0s", "0s"),
        (1, "1ns"),
    ],
)
def test_a_duration_has_one_spelling(value: str | int, same: str) -> None:
    assert duration(value) == same


@pytest.mark.parametrize("value", ["soon", "", "10", "1 s", None, True])
def test_what_is_no_duration_stays_for_fly_to_refuse(value: Any) -> None:
    assert duration(value) is value


@pytest.mark.parametrize(
    ("config", "runs"),
    [
        ({}, True),
        ({"services": [{"autostop": "off"}]}, True),
        ({"services": [{"autostop": "off"}, {"autostop": "stop"}]}, False),
        ({"restart": {"policy": "no"}}, False),
        ({"restart": {"policy": "always"}}, True),
        ({"schedule": "daily"}, False),
        ({"standbys": ["1"]}, False),
    ],
)
def test_some_machines_may_stand_still(config: Config, runs: bool) -> None:
    assert should_run(config) is runs
