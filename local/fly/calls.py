"""The calls since the mark, numbered in the order in which they came: each can be named, and all enumerated."""

from __future__ import annotations

from collections import deque
from typing import Any

import graphql
from aiohttp import web
from pydantic import ValidationError

from local.fly.bodies import Body
from local.fly.faults import GRAPHQL, Call

# A first `up` makes a few hundred.
KEPT = 10_000


class Document(Body):
    query: str
    variables: Any = None
    operationName: str | None = None  # noqa: N815 - the protocol's own name


class Calls:
    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._count = 0

    async def begin(self, request: web.Request) -> Call:
        resource = request.match_info.route.resource
        template = resource.canonical if resource is not None else request.path
        operation = operation_of(await request.read()) if request.path == GRAPHQL else None
        self._count += 1
        call = Call(self._count, request.method, request.path, template, operation)
        self._calls.append(call)
        return call

    def mark(self) -> None:
        """Forgets them: the next one is number 1."""
        self._calls.clear()
        self._count = 0

    def view(self) -> list[dict[str, Any]]:
        return [
            {
                "number": call.number,
                "method": call.method,
                "template": call.template,
                "operation": call.operation,
                "status": call.status,
                "faults": call.faults,
            }
            for call in self._calls
        ]


def operation_of(body: bytes) -> str | None:
    """Kind and root fields of the document that is asked for: `mutation createAddOn`. None for what cannot be read."""
    try:
        sent = Document.model_validate_json(body)
        chosen = graphql.get_operation_ast(graphql.parse(sent.query), sent.operationName)
    except (ValidationError, graphql.GraphQLError):
        return None
    if chosen is None:
        return None
    roots = [node.name.value for node in chosen.selection_set.selections if isinstance(node, graphql.FieldNode)]
    return " ".join([chosen.operation.value, *roots])
