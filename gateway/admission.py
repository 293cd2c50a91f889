"""Which requests LiteLLM gets to see: JSON of OpenAI's parameters, for a model the team may use.

LiteLLM takes far more than OpenAI's parameters from a request: other providers' addresses and keys, fallbacks to
any model, prices, switches that turn logging off; and a model from the query or from a form, ahead of the body.
So what it gets is built from a closed list, and everything else is refused as OpenAI refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway import errors, shapes
from gateway.authentication import OWNER
from gateway.errors import App, Message, Receive, Scope, Send
from gateway.keys import Owner

REQUEST = "gateway.request"  # where in the ASGI scope the admitted JSON object stands

MOST_BODY_BYTES = 64 * 1024 * 1024
"""OpenAI takes 50 MB of images in a request."""


class Endpoint(NamedTuple):
    parameters: Mapping[str, shapes.Types]
    """OpenAI's parameters beside the model, and their types."""
    mode: str
    """What LiteLLM's configuration calls the models that answer here."""


ENDPOINTS = {
    "/chat/completions": Endpoint(shapes.CHAT, "chat"),
    "/embeddings": Endpoint(shapes.EMBEDDINGS, "embedding"),
}
"""By the end of the path."""

_PASSED_HEADERS = {
    b"accept",
    b"accept-encoding",
    b"content-length",
    b"host",
    b"traceparent",
    b"tracestate",
    b"transfer-encoding",
    b"user-agent",
    b"x-forwarded-for",
    b"x-litellm-session-id",  # only names a conversation, for traces
    b"x-request-id",
}


class Refusal(NamedTuple):
    status: int
    message: str
    code: str | None = None
    param: str | None = None


def admitted(body: bytes, path: str, owner: Owner, modes: Mapping[str, str]) -> dict[str, Any] | Refusal:
    """The request as an object when it may pass. `modes`: every configured model and what it answers."""
    try:
        request = shapes.parse(body.decode())
    except ValueError as e:  # neither UTF-8 nor JSON
        return Refusal(400, f"We could not parse the JSON body of your request: {e}.")
    except RecursionError:
        return Refusal(400, "We could not parse the JSON body of your request: it is nested too deeply.")
    if not isinstance(request, dict):
        return Refusal(400, "We could not parse the JSON body of your request: expected an object.")
    endpoint = next(endpoint for end, endpoint in ENDPOINTS.items() if path.endswith(end))
    for name in request:
        if name != "model" and name not in endpoint.parameters:
            return Refusal(400, f"Unrecognized request argument supplied: {name}", "unknown_parameter", name)
    if refused := _model_refusal(request.get("model"), owner, modes, endpoint.mode):
        return refused
    if found := shapes.misfit(request, endpoint.parameters):
        param, message = found
        return Refusal(400, message, "invalid_type", param)
    return request


def _model_refusal(model: Any, owner: Owner, modes: Mapping[str, str], mode: str) -> Refusal | None:
    if model is None or model == "":
        return Refusal(400, "you must provide a model parameter")
    if not isinstance(model, str):
        return Refusal(400, "Invalid type for 'model': expected a string.", "invalid_type", "model")
    if model not in modes:
        message = f"The model `{model}` does not exist or you do not have access to it."
        return Refusal(404, message, "model_not_found", "model")
    if model not in owner.team.models:
        message = f"Team `{owner.team.name}` does not have access to model `{model}`."
        return Refusal(403, message, "model_not_found", "model")
    if modes[model] != mode:
        # The provider would say 404, which LiteLLM counts against the model: the next request of anybody pays for it.
        return Refusal(
            404, f"The model `{model}` is no {mode} model and is not served here.", "model_not_found", "model"
        )
    return None


class Admission:
    """ASGI, behind Authentication: passes API requests on in a form with one meaning, or refuses them."""

    def __init__(self, app: App, modes: Mapping[str, str]) -> None:
        self._app = app
        self._modes = modes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        owner: Owner | None = scope.get(OWNER)
        if owner is None:  # health, life span
            await self._app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name in _PASSED_HEADERS]
        if scope["method"] == "POST":
            try:
                body = await _read(receive)
            except ClientGoneError:
                return
            if body is None:
                await errors.answer(send, 413, f"The request is larger than {MOST_BODY_BYTES} bytes.")
                return
            request = admitted(body, scope["path"], owner, self._modes)
            if isinstance(request, Refusal):
                await errors.answer(send, request.status, request.message, code=request.code, param=request.param)
                return
            scope = {**scope, REQUEST: request}
            headers.append((b"content-type", b"application/json"))  # whatever it was called: it is
            receive = _replaying(body, receive)
        await self._app({**scope, "headers": headers, "query_string": b""}, receive, send)


class ClientGoneError(Exception):
    """The client left while it was still sending; there is nobody to answer."""


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when it is too large."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MOST_BODY_BYTES:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once and then what really happens: an invented disconnect ends streams."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
