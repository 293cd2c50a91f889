"""Templates and packages → files on machines.

An undefined variable is an error here, not an empty line on a machine. The rendered LiteLLM configuration is
checked for what LiteLLM itself would start silently wrong with (unset environment references, fallbacks to
unknown models).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import jinja2
import yaml

from components.settings import Settings

ROOT = Path(__file__).parent.parent
MachineFile = dict[str, str]
"""Fly's form: guest_path, raw_value (base64)."""


def render(template: str, **variables: object) -> str:
    """The text of `templates/<template>`; raises jinja2.UndefinedError naming a variable nobody gave."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML and Caddyfiles are no HTML; values are quoted by `tojson`
    )
    return environment.get_template(template).render(variables)


def machine_file(guest_path: str, text: str) -> MachineFile:
    return {"guest_path": guest_path, "raw_value": base64.b64encode(text.encode()).decode()}


def package_files(package: str, guest_folder: str) -> list[MachineFile]:
    """Every Python file of a package of this project, in a stable order."""
    folder = ROOT / package
    return [
        machine_file(f"{guest_folder}/{package}/{path.relative_to(folder)}", path.read_text())
        for path in sorted(folder.rglob("*.py"))
    ]


def teams_json(settings: Settings) -> str:
    """Teams, their limits and models, as `gateway/` reads them; no keys."""
    every_model = [model.name for model in settings.models]
    teams = {
        name: {
            "requests_per_minute": team.requests_per_minute,
            "tokens_per_minute": team.tokens_per_minute,
            "usd_per_day": team.usd_per_day,
            "models": list(team.models or every_model),
        }
        for name, team in settings.teams.items()
    }
    return json.dumps(teams, indent=2) + "\n"


def checked_litellm_config(text: str, *, environment: Collection[str]) -> str:
    """Returns `text` if LiteLLM can use it; raises ValueError with every reference that leads nowhere.

    LiteLLM starts without a word when `os.environ/NAME` is unset or a fallback names no model: requests fail later.
    """
    config: dict[str, Any] = yaml.safe_load(text)
    problems = [
        f"refers to os.environ/{name}, which the gateway machine does not have"
        for name in sorted(set(_environment_references(config)) - set(environment))
    ]
    names = {entry["model_name"] for entry in config["model_list"]}
    for rule in config.get("router_settings", {}).get("fallbacks", []):
        for model, targets in rule.items():
            problems += [f"has a fallback for {model}, which is no model"] if model not in names else []
            problems += [
                f"falls back from {model} to {target}, which is no model" for target in targets if target not in names
            ]
    if problems:
        raise ValueError("templates/litellm.yaml.j2 " + "; ".join(problems))
    return text


def _environment_references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _environment_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _environment_references(item)
    elif isinstance(value, str) and (found := re.fullmatch(r"os\.environ/(\w+)", value)):
        yield found[1]
