"""Refusals as answers: whatever a function behind raises becomes a response here."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.typedefs import Handler

from local.fly.errors import ApiError

log = logging.getLogger(__name__)
REQUEST_ID_HEADER = "fly-request-id"
REQUEST_ID = web.RequestKey("request_id", str)


async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return refusal(error.status, str(error), error.code)
    except web.HTTPException as error:
        return refusal(error.status, f"{request.method} {request.path}: {error.reason}")
    except Exception:
        log.exception("%s: %s %s broke off", request[REQUEST_ID], request.method, request.path)
        return refusal(500, "the embedded Fly made a mistake, see its log")


def refusal(status: int, text: str, code: str = "unknown") -> web.Response:
    return web.json_response({"error": text, "status": code}, status=status)
