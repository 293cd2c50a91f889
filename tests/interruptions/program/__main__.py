"""One of each Fly resource the project uses, in the order of its own graph, with machines that start in no time."""

import pulumi
from pulumi import Config, ResourceOptions
from pulumi_random import RandomPassword

from components.fly.address import Address
from components.fly.app import App
from components.fly.certificate import Certificate
from components.fly.redis import Redis
from components.fly.secret import Secrets
from components.group import MachineGroup
from components.rendered import machine_file
from components.settings import Group

PORT = 8080
READY_S = 60
SERVER = """
import http.server, json, os, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"label": os.environ["LABEL"], "secret": os.environ["LABEL_SECRET"]}).encode())

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer((sys.argv[1], 8080), Answer).serve_forever()
"""

config = Config()

app = App("app", app="interrupted", organization="local")
addresses = [Address(kind, app=app.app, kind=kind) for kind in ("v6", "shared_v4")]
Certificate("certificate", app=app.app, hostname="gateway.hotdash.test", opts=ResourceOptions(depends_on=addresses))
cache = Redis(
    "cache", name="interrupted-cache", organization="local", region="ord", plan="Pay-as-you-go", eviction=True
)
secrets = Secrets(
    "secrets",
    app=app.app,
    values={
        "PASSWORD": RandomPassword("password", length=32).result,
        "REDIS_URL": cache.url,
        "LABEL_SECRET": config.require("secret"),
    },
)
group = MachineGroup(
    "gateway",
    app=app.app,
    region="ord",
    group=Group.model_validate(
        {"count": 2, "cpuKind": "shared", "cpus": 1, "memoryMb": config.require_int("memoryMb")}
    ),
    image=config.require("image"),
    config={
        "init": {"exec": ["python3", "/srv/server.py", "::"]},
        "env": {"LABEL": config.require("label")},
        "files": [machine_file("/srv/server.py", SERVER)],
        "checks": {
            "ready": {
                "type": "http",
                "port": PORT,
                "method": "GET",
                "path": "/",
                "interval": "1s",
                "timeout": "1s",
                "grace_period": "10s",
            }
        },
        "restart": {"policy": "always"},
        "stop_config": {"signal": "SIGKILL", "timeout": "1s"},
    },
    min_secrets_version=secrets.version,
    readiness_timeout_s=READY_S,
)
pulumi.export("machines", group.summary)
