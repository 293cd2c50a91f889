"""/_embedded/faults and /_embedded/calls: for tests, and for anyone who wants to see what happens."""

from __future__ import annotations

from aiohttp import web

from local.fly.bodies import read
from local.fly.errors import ApiError
from local.fly.faults import Rule, forms, path_fits
from local.fly.graphql_api import SCHEMA
from local.fly.world import WORLD

routes = web.RouteTableDef()


@routes.get("/_embedded/faults")
async def list_faults(request: web.Request) -> web.Response:
    return web.json_response([fault.view() for fault in request.app[WORLD].faults])


@routes.post("/_embedded/faults")
async def add(request: web.Request) -> web.Response:
    rule = await read(request, Rule)
    if rule.path is not None:
        _known_path(request, rule.path)
    if rule.operation is not None:
        _known_operation(rule.operation)
    return web.json_response(request.app[WORLD].faults.add(rule).view(), status=201)


@routes.delete("/_embedded/faults")
async def clear(request: web.Request) -> web.Response:
    """What they did stays done, but conditions end and names are free again."""
    request.app[WORLD].faults.clear()
    return web.Response(status=204)


@routes.get("/_embedded/calls")
async def list_calls(request: web.Request) -> web.Response:
    """Since the mark: number, method, template, operation (GraphQL), status (null: no whole answer), faults."""
    return web.json_response(request.app[WORLD].calls.view())


@routes.delete("/_embedded/calls")
async def mark(request: web.Request) -> web.Response:
    request.app[WORLD].calls.mark()
    return web.Response(status=204)


def _known_path(request: web.Request, path: str) -> None:
    """A rule with a slip of the pen would never fire, and a test of it never be red."""
    templates = [resource.canonical for resource in request.app.router.resources()]
    for form in forms(path):
        words = form.split("/")
        if not any(
            path_fits(form, "/".join(_named(words, template)), template)
            for template in templates
            if template.count("/") == len(words) - 1
        ):
            raise ApiError(422, f"path {form}: no call has it. A template looks like /v1/apps/{{app}}/machines")


def _named(words: list[str], template: str) -> list[str]:
    """The template with the words of the rule where it has a name."""
    return [
        word if name.startswith("{") and not word.startswith("{") else name
        for word, name in zip(words, template.split("/"), strict=True)
    ]


def _known_operation(operation: str) -> None:
    kind, _, field = operation.rpartition(" ")
    roots = {"query": SCHEMA.query_type, "mutation": SCHEMA.mutation_type}
    known = {f"{name} {one}": one for name, root in roots.items() if root is not None for one in root.fields}
    if operation not in known and (kind or field not in known.values()):
        raise ApiError(422, f"operation {operation!r}: must be a root field such as createAddOn, or query addOn")
