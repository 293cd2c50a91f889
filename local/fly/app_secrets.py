"""/v1/apps/{app}/secrets: values go in and never come out; machines get them when they are created or updated."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from typing import Any

from aiohttp import web

from local.fly.bodies import Body, flag, read
from local.fly.errors import ApiError
from local.fly.objects import App, Secret
from local.fly.times import rfc3339
from local.fly.world import WORLD

routes = web.RouteTableDef()
SECRETS = "/v1/apps/{app}/secrets"
DIGEST_DIGITS = 32


class SetSecrets(Body):
    values: dict[str, str | None]


class SetSecret(Body):
    value: str


@routes.get(SECRETS)
async def list_secrets(request: web.Request) -> web.Response:
    app = _app_at_version(request)
    return web.json_response({"secrets": [view(name, secret) for name, secret in app.secrets.items()]})


@routes.post(SECRETS)
async def set_secrets(request: web.Request) -> web.Response:
    app = request.app[WORLD].app(request.match_info["app"])
    body = await read(request, SetSecrets)
    _change(request, app, body.values)
    secrets = [view(name, secret) for name, secret in app.secrets.items()]
    return web.json_response({"secrets": secrets, **_version(app)})


@routes.get(SECRETS + "/{name}")
async def get(request: web.Request) -> web.Response:
    name, secret = _named(request, _app_at_version(request))
    return web.json_response(view(name, secret))


@routes.post(SECRETS + "/{name}")
async def set_secret(request: web.Request) -> web.Response:
    app = request.app[WORLD].app(request.match_info["app"])
    body = await read(request, SetSecret)
    _change(request, app, {request.match_info["name"]: body.value})
    return web.json_response({**view(*_named(request, app)), **_version(app)}, status=201)


@routes.delete(SECRETS + "/{name}")
async def delete(request: web.Request) -> web.Response:
    app = request.app[WORLD].app(request.match_info["app"])
    name, _ = _named(request, app)
    _change(request, app, {name: None})
    return web.json_response(_version(app))


def _app_at_version(request: web.Request) -> App:
    """Raises ApiError: 412 when the version asked for is newer than there is, 403 when values are asked for."""
    world = request.app[WORLD]
    app = world.app(request.match_info["app"])
    text = request.query.get("min_version") or request.query.get("version")
    if text is not None and not text.isdigit():
        raise ApiError(400, f"query parameter min_version: {text!r} must be a whole number")
    world.secrets(app, int(text) if text else None)
    if flag(request, "show_secrets"):
        raise ApiError(403, f"app {app.name}: this token may not see the values of secrets")
    return app


def _named(request: web.Request, app: App) -> tuple[str, Secret]:
    name = request.match_info["name"]
    if name not in app.secrets:
        raise ApiError(404, f"app {app.name} has no secret {name}")
    return name, app.secrets[name]


def _change(request: web.Request, app: App, values: dict[str, str | None]) -> None:
    """Null removes. The version rises with every change; removing what is not there is none."""
    for name in values:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ApiError(422, f"secret {name!r}: its name must be that of an environment variable")
    removed = [name for name, value in values.items() if value is None and name in app.secrets]
    given = {name: value for name, value in values.items() if value is not None}
    if not removed and not given:
        return
    now = time.time()
    for name in removed:
        del app.secrets[name]
    for name, value in given.items():
        before = app.secrets.get(name)
        created_at = before.created_at if before else now
        app.secrets[name] = Secret(value, digest(app, name, value), created_at, now)
    app.secrets_version += 1
    request.app[WORLD].store.apps.put(app)


def digest(app: App, name: str, value: str) -> str:
    """Says whether two values of one secret are the same, and nothing to those who do not know the app's salt."""
    return hmac.digest(app.salt.encode(), f"{name}={value}".encode(), hashlib.sha256).hex()[:DIGEST_DIGITS]


def view(name: str, secret: Secret) -> dict[str, Any]:
    return {
        "name": name,
        "digest": secret.digest,
        "created_at": rfc3339(secret.created_at),
        "updated_at": rfc3339(secret.updated_at),
    }


def _version(app: App) -> dict[str, int]:
    """Under both spellings Fly sends."""
    return {"version": app.secrets_version, "Version": app.secrets_version}
