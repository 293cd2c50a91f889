"""What travels to machines, and what is refused before it does."""

from __future__ import annotations

import base64
import json

import jinja2
import pytest
import yaml

from components import edge, gateway
from components.rendered import checked_litellm_config, machine_file, package_files, render, teams_json
from gateway import routes
from tests.components.test_settings import settings

ENVIRONMENT = ("LITELLM_MASTER_KEY", "OPENAI_API_KEY", "REDIS_URL")


def config(**changes: object) -> str:
    document = {
        "model_list": [{"model_name": "small", "litellm_params": {"api_key": "os.environ/OPENAI_API_KEY"}}],
        "router_settings": {"fallbacks": []},
    }
    return yaml.safe_dump(document | changes)


def test_an_undefined_variable_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("litellm.yaml.j2")


def test_a_reference_the_machine_lacks_is_refused() -> None:
    checked_litellm_config(config(), environment=ENVIRONMENT)
    with pytest.raises(ValueError, match=r"os\.environ/OPENAI_API_KEY, which the gateway machine does not have"):
        checked_litellm_config(config(), environment=[])


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ({"small": ["large"]}, "from small to large, which is no model"),
        ({"big": ["small"]}, "for big, which is no model"),
    ],
)
def test_a_fallback_that_leads_nowhere_is_refused(fallback: dict[str, list[str]], message: str) -> None:
    text = config(router_settings={"fallbacks": [fallback]})
    with pytest.raises(ValueError, match=message):
        checked_litellm_config(text, environment=ENVIRONMENT)


def test_the_default_configuration_has_every_model_and_fallback() -> None:
    document = yaml.safe_load(gateway.litellm_config(settings()))
    assert [entry["model_name"] for entry in document["model_list"]] == [
        "gpt-4o-mini",
        "gpt-4o",
        "text-embedding-3-large",
    ]
    assert document["router_settings"]["fallbacks"] == [{"gpt-4o-mini": ["gpt-4o"]}]


def test_a_team_without_models_may_use_all() -> None:
    teams = {"a": {"requestsPerMinute": 1, "tokensPerMinute": 2, "usdPerDay": 3.5}}
    assert json.loads(teams_json(settings(teams=teams)))["a"] == {
        "requests_per_minute": 1,
        "tokens_per_minute": 2,
        "usd_per_day": 3.5,
        "models": ["gpt-4o-mini", "gpt-4o", "text-embedding-3-large"],
    }


def test_the_whole_package_travels_in_a_stable_order() -> None:
    files = package_files("gateway", "/srv")
    paths = [file["guest_path"] for file in files]
    assert "/srv/gateway/entry.py" in paths
    assert paths == sorted(paths)
    assert files == package_files("gateway", "/srv")


def test_a_machine_file_is_fly_form() -> None:
    file = machine_file("/srv/a", "text ä\n")
    assert file["guest_path"] == "/srv/a"
    assert base64.b64decode(file["raw_value"]).decode() == "text ä\n"


def test_only_the_edge_has_a_service() -> None:
    assert "services" not in gateway.machine_config(settings()), "a service of an app with addresses is public"
    ports = [port["port"] for service in edge.machine_config(settings())["services"] for port in service["ports"]]
    assert ports == [80, 443]


def test_the_edge_opens_no_path_the_gateway_has_not() -> None:
    assert [path for path in edge.OPEN_PATHS if routes.method_of(path) is None] == []


def test_a_stream_may_end_before_fly_kills_its_machines() -> None:
    for module in (edge, gateway):
        stop = module.machine_config(settings())["stop_config"]
        assert stop["signal"] == "SIGTERM"
        assert gateway.DRAIN_S < int(stop["timeout"].removesuffix("s")) <= 300, "Fly's longest stop time-out is 300 s"
