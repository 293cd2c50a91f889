"""The provider's HTTP side: OpenAI's endpoints, the key, and the control endpoints of faults.py."""

from __future__ import annotations

import asyncio
import collections
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from local.provider import answers, errors, faults, models, requests, tokens

MOST_BODY_BYTES = 64 * 1024 * 1024
KEPT_REQUESTS = 1000
IDLE_DEADLINE_S = 20.0
KEPT_QUESTION_CHARACTERS = 200

log = logging.getLogger("provider")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SEEN = web.RequestKey("seen", dict)


class Provider:
    """One running provider: its key, its rules, and what it was asked."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._rules = faults.Rules()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._seen: collections.deque[dict[str, Any]] = collections.deque(maxlen=KEPT_REQUESTS)

    def runner(self) -> web.AppRunner:
        """Ready for `setup`. A client that goes away cancels its handler: that is how `requests` knows."""
        return web.AppRunner(self._app(), handler_cancellation=True, access_log=None)

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=MOST_BODY_BYTES, middlewares=[self._guard])
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name}", self._model)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_post("/_control/rules", self._add_rule)
        app.router.add_get("/_control/rules", self._list_rules)
        app.router.add_delete("/_control/rules", self._remove_rules)
        app.router.add_delete("/_control/rules/{id:[0-9]+}", self._remove_rules)
        app.router.add_get("/_control/requests", self._list_requests)
        app.router.add_delete("/_control/requests", self._forget_requests)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks the key, gives errors OpenAI's form, and records every API request and how it ended."""
        started = time.perf_counter()
        seen = request[SEEN] = {"path": request.path, "model": None, "status": None, "ended": "running"}
        counts = request.path.startswith("/v1/")
        if counts:
            self._seen.append(seen)
            self._running += 1
            self._idle.clear()
        try:
            self._check_key(request)
            response = await handler(request)
            seen |= {"status": response.status, "ended": "answered"}
        except errors.ProviderError as e:
            seen |= {"status": e.status, "ended": "answered"}
            response = web.json_response(e.body, status=e.status, headers=e.headers)
        except web.HTTPException as e:
            seen |= {"status": e.status, "ended": "answered"}
            response = _as_openai(request, e)
        except (asyncio.CancelledError, ConnectionResetError):
            if seen["ended"] == "running":
                seen["ended"] = "client gone"
            raise
        finally:
            if counts:
                self._running -= 1
            if not self._running:
                self._idle.set()
            milliseconds = (time.perf_counter() - started) * 1000
            seen["ms"] = round(milliseconds, 1)
            log.info(
                "%s %s %s %s %s %.0f ms",
                *(request.method, request.path, seen["model"], seen["status"], seen["ended"], milliseconds),
            )
        return response

    def _check_key(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise errors.no_key()
        if not hmac.compare_digest(key.strip().encode(), self._key):
            raise errors.wrong_key()

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [_card(name) for name in models.names()]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in models.names():
            raise errors.unknown_model(name)
        return web.json_response(_card(name))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = requests.chat_request(await _json(request))
        rule = await self._obey(request, asked.model.name, asked.question)
        answer = answers.answer(asked, answer_tokens=rule.answer_tokens)
        if asked.stream:
            return await _stream(request, asked, answer, rule)
        return web.json_response(answers.whole(answer))

    async def _embeddings(self, request: web.Request) -> web.Response:
        asked = requests.embedding_request(await _json(request))
        await self._obey(request, asked.model.name, "\n".join(asked.texts))
        counts = [tokens.count(text) for text in asked.texts]
        if max(counts) > asked.model.context_window:
            raise errors.too_long(asked.model.context_window, max(counts), "input")
        vectors = await asyncio.to_thread(_vectors, asked)
        data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
        return web.json_response({"object": "list", "data": data, "model": asked.model.name, "usage": usage})

    async def _obey(self, request: web.Request, model: str, text: str) -> faults.Rule:
        """Does what a rule says has to happen before the answer; returns the rule for what comes in it."""
        request[SEEN] |= {"model": model, "question": text[:KEPT_QUESTION_CHARACTERS]}
        rule = self._rules.take(request.path, model, text)
        if rule.hang:
            await asyncio.Event().wait()  # until the client goes or the server stops
        await asyncio.sleep(rule.delay_ms / 1000)
        if rule.status is not None:
            raise errors.by_status(rule.status, rule.message, rule.retry_after)
        return rule

    async def _add_rule(self, request: web.Request) -> web.Response:
        try:
            rule = faults.parse(await _json(request))
        except ValueError as e:
            raise errors.ProviderError(400, f"Not a rule: {e}.") from e
        return web.json_response({"id": self._rules.add(rule)}, status=201)

    async def _list_rules(self, _request: web.Request) -> web.Response:
        return web.json_response({"rules": self._rules.listed()})

    async def _remove_rules(self, request: web.Request) -> web.Response:
        rule_id = request.match_info.get("id")
        removed = self._rules.remove(None if rule_id is None else int(rule_id))
        return web.json_response({"removed": removed})

    async def _list_requests(self, request: web.Request) -> web.Response:
        if request.query.get("idle") == "true":
            try:
                await asyncio.wait_for(self._idle.wait(), IDLE_DEADLINE_S)
            except TimeoutError as e:
                message = f"After {IDLE_DEADLINE_S:g} s requests are still running."
                raise errors.ProviderError(504, message, type="server_error") from e
        return web.json_response({"requests": list(self._seen)})

    async def _forget_requests(self, _request: web.Request) -> web.Response:
        self._seen.clear()
        return web.json_response({})


def _vectors(asked: requests.EmbeddingRequest) -> list[list[float] | str]:
    # Imported here and not above: numpy and onnxruntime take longer to import than this server to start.
    from local.provider import embeddings  # noqa: PLC0415

    return [embeddings.encode(embeddings.embed(text, asked.dimensions), asked.encoding_format) for text in asked.texts]


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError as e:  # bad JSON and bad UTF-8 alike
        raise errors.ProviderError(400, f"We could not parse the JSON body of your request: {e}.") from e


async def _stream(
    request: web.Request, asked: requests.ChatRequest, answer: answers.Answer, rule: faults.Rule
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    for sent, chunk in enumerate(answers.chunks(answer, include_usage=asked.include_usage)):
        if sent == rule.cut_after:
            request[SEEN] |= {"status": response.status, "ended": "cut"}
            if request.transport is not None:
                request.transport.abort()
            await asyncio.Event().wait()  # the lost connection cancels this handler
        if rule.chunk_delay_ms:
            await asyncio.sleep(rule.chunk_delay_ms / 1000)
        await response.write(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": models.CREATED, "owned_by": "offline-provider"}


def _as_openai(request: web.Request, error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals (unknown path, wrong method, body too large) in OpenAI's form."""
    if isinstance(error, web.HTTPNotFound):
        message = f"Invalid URL ({request.method} {request.path})"
    elif isinstance(error, web.HTTPMethodNotAllowed):
        message = f"Not allowed to {request.method} on {request.path}."
    else:
        message = error.reason
    return web.json_response(errors.ProviderError(error.status, message).body, status=error.status)
