"""The whole stack on one screen: settings, what exists, outputs."""

import pulumi
from pulumi import Output, ResourceOptions

from components.edge import edge_group
from components.fly.app import App
from components.fly.redis import Redis
from components.fly.secret import Secrets
from components.gateway import gateway_group
from components.hostnames import Hostnames
from components.program import load_settings, openai_api_key
from components.secrets import GatewayKeys

settings = load_settings()
protected = ResourceOptions(protect=settings.protect)

app = App(settings.app, app=settings.app, organization=settings.organization, opts=protected)
hostnames = Hostnames(
    "public",
    app=app.app,
    fly_hostname=settings.fly_hostname,
    hostnames=[settings.gateway_hostname, settings.langfuse_hostname],
)
cache = Redis(
    settings.cache_redis.name,
    name=settings.cache_redis.name,
    organization=settings.organization,
    region=settings.region,
    plan=settings.cache_redis.plan,
    eviction=True,
    opts=protected,
)
keys = GatewayKeys("keys", teams=settings.teams)
secrets = Secrets(
    "gateway",
    app=app.app,
    values={
        "LITELLM_MASTER_KEY": keys.master,
        "OPENAI_API_KEY": openai_api_key(),
        "REDIS_URL": cache.url,
        "TEAM_KEY_HASHES": keys.team_hashes,
    },
)
gateway = gateway_group(settings, app=app.app, secrets_version=secrets.version, opts=ResourceOptions())
edge = edge_group(settings, app=app.app, opts=ResourceOptions(depends_on=gateway.ready))

pulumi.export("app", app.app)
pulumi.export("gateway_url", f"https://{settings.gateway_hostname}")
pulumi.export("langfuse_url", f"https://{settings.langfuse_hostname}")
pulumi.export("fly_url", f"https://{settings.fly_hostname}")
pulumi.export("dns_records", hostnames.dns_records)
pulumi.export("machines", {"edge": edge.summary, "gateway": gateway.summary})
pulumi.export("team_keys", Output.secret(keys.teams))
pulumi.export("master_key", Output.secret(keys.master))
pulumi.export("redis_url", Output.secret(cache.url))
