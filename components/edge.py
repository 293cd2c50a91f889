"""Process group `edge`: Caddy, the only group with a service, hence the only one the world can reach.

Fly Proxy picks the app by hostname and then any machine with a service on the port: it does not know process
groups. So one group owns 80 and 443 and routes by Host.
"""

from __future__ import annotations

from typing import Any

from pulumi import Input, ResourceOptions

from components import gateway
from components.group import MachineGroup
from components.rendered import machine_file, render
from components.settings import Settings

GROUP = "edge"
PORT = 8080
HEALTH_PATH = "/_edge/health"
OPEN_PATHS = (
    *("/v1/chat/completions", "/v1/embeddings", "/v1/models"),
    *("/chat/completions", "/embeddings", "/models"),
    *("/health/liveliness", "/health/readiness"),
)
"""What the outside may ask the gateway for; everything else of LiteLLM is 404 at the edge already."""
IDLE_TIMEOUT_S = 600  # Fly Proxy closes a silent connection after 60 s otherwise; models may think longer
STOP_S = gateway.STOP_S  # a stream passes through both machines


def edge_group(settings: Settings, *, app: Input[str], opts: ResourceOptions) -> MachineGroup:
    return MachineGroup(
        GROUP,
        app=app,
        region=settings.region,
        group=settings.groups.edge,
        image=settings.images.edge,
        config=machine_config(settings),
        readiness_timeout_s=settings.readiness_timeout_seconds,
        opts=opts,
    )


def machine_config(settings: Settings) -> dict[str, Any]:
    """Fly's machine configuration of the group, without image and size."""
    check = {
        "type": "http",
        "port": PORT,
        "method": "GET",
        "path": HEALTH_PATH,
        "interval": "5s",
        "timeout": "2s",
        "grace_period": "10s",
    }
    return {
        "env": {"LISTEN": "::"},
        "files": [machine_file("/etc/caddy/Caddyfile", caddyfile(settings))],
        "services": [
            {
                "protocol": "tcp",
                "internal_port": PORT,
                "autostop": "off",  # the group behind it would not be started by a request
                "autostart": True,
                "ports": [
                    {"port": 80, "handlers": ["http"], "force_https": True},
                    {
                        "port": 443,
                        "handlers": ["tls", "http"],
                        "http_options": {"idle_timeout": IDLE_TIMEOUT_S},
                    },
                ],
                "concurrency": {"type": "requests", "soft_limit": 200},
                "checks": [check],
            }
        ],
        "restart": {"policy": "always"},
        "stop_config": {"signal": "SIGTERM", "timeout": f"{STOP_S}s"},
    }


def caddyfile(settings: Settings) -> str:
    routes = [
        {
            "hostnames": [settings.gateway_hostname, settings.fly_hostname],
            "upstream": f"{gateway.GROUP}.process.{settings.app}.internal",
            "port": gateway.PORT,
            "open_paths": OPEN_PATHS,
        }
    ]
    return render("Caddyfile.j2", port=PORT, health_path=HEALTH_PATH, routes=routes, drain_s=gateway.DRAIN_S)
