"""What the templates say, without the programs that read it."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
import yaml

from components import edge
from components.rendered import render
from components.settings import Model
from gateway import routes

CADDY: dict[str, Any] = {
    "port": 8080,
    "health_path": "/_edge/health",
    "drain_s": 120,
    "routes": [{"hostnames": ["a.example.com"], "upstream": "x.internal", "port": 4000, "open_paths": ["/v1/models"]}],
}


def model(name: str, **fields: Any) -> Model:
    return Model.model_validate({"name": name, "upstream": f"openai/{name}", "mode": "chat", "timeout": 30} | fields)


def litellm_config(*models: Model) -> dict[str, Any]:
    text = render("litellm.yaml.j2", models=models, openai_base_url="https://provider.example/v1")
    config: dict[str, Any] = yaml.safe_load(text)
    return config


@pytest.mark.parametrize("variable", ["models", "openai_base_url"])
def test_litellm_needs_every_variable(variable: str) -> None:
    variables = {"models": [model("m")], "openai_base_url": "https://provider.example/v1"}
    del variables[variable]
    with pytest.raises(jinja2.UndefinedError, match=variable):
        render("litellm.yaml.j2", **variables)


@pytest.mark.parametrize("variable", sorted(CADDY))
def test_the_caddyfile_needs_every_variable(variable: str) -> None:
    with pytest.raises(jinja2.UndefinedError, match=variable):
        render("Caddyfile.j2", **{name: value for name, value in CADDY.items() if name != variable})


def test_the_caddyfile_needs_to_know_what_is_open() -> None:
    route = {name: value for name, value in CADDY["routes"][0].items() if name != "open_paths"}
    with pytest.raises(jinja2.UndefinedError, match="open_paths"):
        render("Caddyfile.j2", **CADDY | {"routes": [route]})


def test_a_model_is_what_the_settings_say() -> None:
    config = litellm_config(model("small", streamTimeout=10, fallback="large"), model("large", timeout=60))
    small, large = config["model_list"]
    assert small == {
        "model_name": "small",
        "litellm_params": {
            "model": "openai/small",
            "api_base": "https://provider.example/v1",
            "api_key": "os.environ/OPENAI_API_KEY",
            "timeout": 30,
            "stream_timeout": 10,
        },
        "model_info": {"mode": "chat"},
    }
    assert "stream_timeout" not in large["litellm_params"]
    assert config["router_settings"]["fallbacks"] == [{"small": ["large"]}]


def test_without_fallbacks_there_is_an_empty_list() -> None:
    assert litellm_config(model("only"))["router_settings"]["fallbacks"] == []


@pytest.mark.parametrize("timeout", [0.5, 30, 600])
def test_failures_are_counted_for_longer_than_hanging_ones_take(timeout: float) -> None:
    router = litellm_config(model("m", timeout=timeout))["router_settings"]
    assert router["cooldown_time"] > timeout * (router["allowed_fails"] + 1)


@pytest.mark.parametrize("name", ["a: b", "yes", "007", "a#b"])
def test_names_stay_names(name: str) -> None:
    spelt = model("m").model_copy(update={"name": name})
    assert litellm_config(spelt)["model_list"][0]["model_name"] == name


def test_the_edge_lets_pass_what_the_gateway_serves_to_clients() -> None:
    assert set(routes.API) <= set(edge.OPEN_PATHS)
    assert set(edge.OPEN_PATHS) <= set(routes.API | routes.HEALTH)
