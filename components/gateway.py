"""Process group `gateway`: LiteLLM's official image, started through our ASGI entry.

The group has no service, so it is not public: only the edge reaches it, over the private network.
"""

from __future__ import annotations

from typing import Any

from pulumi import Input, ResourceOptions

from components.group import MachineGroup
from components.rendered import (
    checked_litellm_config,
    machine_file,
    package_files,
    render,
    teams_json,
)
from components.settings import Settings

GROUP = "gateway"
PORT = 4000
FOLDER = "/srv"
SECRETS = ("LITELLM_MASTER_KEY", "OPENAI_API_KEY", "REDIS_URL", "TEAM_KEY_HASHES")
"""App secrets the group reads. Nothing of them is in its configuration."""

DRAIN_S = 120  # longest stream a client may be in the middle of when its machine is replaced
STOP_S = DRAIN_S + 10  # Fly kills after this; the drain must end first
START_GRACE_S = 60  # LiteLLM imports for 5 to 15 s, more on a cold shared CPU


def gateway_group(
    settings: Settings, *, app: Input[str], secrets_version: Input[int], opts: ResourceOptions
) -> MachineGroup:
    return MachineGroup(
        GROUP,
        app=app,
        region=settings.region,
        group=settings.groups.gateway,
        image=settings.images.gateway,
        config=machine_config(settings),
        min_secrets_version=secrets_version,
        readiness_timeout_s=settings.readiness_timeout_seconds,
        opts=opts,
    )


def machine_config(settings: Settings) -> dict[str, Any]:
    """Fly's machine configuration of the group, without image and size."""
    return {
        "init": {
            "exec": [
                *("/app/.venv/bin/python", "-m", "gateway"),
                *("--host", "::", "--port", str(PORT), "--drain-s", str(DRAIN_S)),
            ]
        },
        "env": {"CONFIG_FILE_PATH": f"{FOLDER}/litellm.yaml", "PYTHONPATH": FOLDER, "LITELLM_LOG": "ERROR"},
        "files": [
            machine_file(f"{FOLDER}/litellm.yaml", litellm_config(settings)),
            machine_file(f"{FOLDER}/teams.json", teams_json(settings)),
            *package_files("gateway", FOLDER),
        ],
        "checks": {
            "ready": {
                "type": "http",
                "port": PORT,
                "method": "GET",
                "path": "/health/readiness",
                "interval": "5s",
                "timeout": "2s",
                "grace_period": f"{START_GRACE_S}s",
            }
        },
        "restart": {"policy": "always"},
        "stop_config": {"signal": "SIGTERM", "timeout": f"{STOP_S}s"},
    }


def litellm_config(settings: Settings) -> str:
    text = render("litellm.yaml.j2", models=settings.models, openai_base_url=settings.openai_base_url)
    return checked_litellm_config(text, environment=SECRETS)
