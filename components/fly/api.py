"""The only HTTP to Fly.io: REST and GraphQL, at the documented rates, repeating only what is safe.

Every call takes `to`, what it does in words ("create app x"): errors begin with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from components.fly.clock import Clock, SystemClock
from components.fly.errors import FlyError, broken_off, not_fly, refused, unreachable
from components.fly.rates import Limiter
from components.fly.shared import SharedReads
from components.fly.token import authorization

API_URL = "https://api.machines.dev"
GRAPHQL_URL = "https://api.fly.io"

DEADLINE_S = 120.0  # one call with all its waits and repetitions
CONNECT_S = 5.0
ANSWER_S = 65.0  # `wait` holds a request for up to 60 s
ATTEMPTS = 4  # a hiccup passes in the meantime; an outage is said soon
FIRST_PAUSE_S = 0.5  # doubles: 3.5 s in all
LOOKS_S = (0.5, 1.0, 2.0, 4.0)  # pauses before looking whether an unclear change has happened
NOT_FOUND = 404
TIMED_OUT = 408
RATE_LIMITED = 429
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")

JSON = Any
"""What Fly answered; None for an empty body."""


@dataclass(frozen=True)
class Call:
    to: str
    method: str
    url: str
    setting: str
    """The setting that holds the base of `url`, for errors."""
    path: str
    repeatable: bool
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    params: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """Values no error may show, whatever Fly says."""


@dataclass(frozen=True)
class Setback:
    error: FlyError
    may_repeat: bool
    pause_s: float = 0.0
    """What Fly asked to wait."""


class Api:
    """Fly.io as seen with one token. Shared by the threads of a provider process."""

    def __init__(
        self,
        token: str,
        url: str = API_URL,
        graphql_url: str = GRAPHQL_URL,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.adopted: set[tuple[str, str]] = set()
        """Provider and id of all that resources of this run have made or adopted."""
        self._token = token
        self._url = url.rstrip("/")
        self._graphql_url = graphql_url.rstrip("/")
        self._limiter = Limiter(self.clock)
        self._shared = SharedReads(self.clock)
        # Redirects are not followed: the token is for the configured hosts only. Loopback is never proxied.
        self._http = httpx.Client(
            transport=transport,
            headers={"User-Agent": "hotdash-llm-gateway"},
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            mounts=dict.fromkeys(LOOPBACK) if transport is None else None,
        )

    def get(self, path: str, *, to: str, params: Mapping[str, Any] | None = None) -> JSON | None:
        """The object at `path`, or None when there is none (404)."""
        try:
            return self._json(self._rest("GET", path, to=to, params=params, repeatable=True))
        except FlyError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def get_shared(self, path: str, *, to: str) -> JSON | None:
        """Like `get`, of an app's path; an answer at most some seconds old and never older than our own changes."""
        return self._shared.get(_app_of(path) or "", path, lambda: self.get(path, to=to))

    def holds(self, path: str, *, to: str, params: Mapping[str, Any]) -> bool:
        """Asks Fly to answer when something has come true; False when the time in `params` went by first."""
        try:
            self._perform(self._rest("GET", path, to=to, params=params, repeatable=False))
        except FlyError as error:
            if error.outcome_unknown:
                return False
            raise
        return True

    def send(
        self,
        method: str,
        path: str,
        *,
        to: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        hidden: Iterable[str] = (),
    ) -> JSON:
        """A change that may be asked for twice: setting a value, extending, deleting."""
        return self._change(
            self._rest(method, path, to=to, body=body, params=params, headers=headers, hidden=hidden, repeatable=True)
        )

    def send_once(
        self,
        path: str,
        *,
        to: str,
        look: Callable[[], JSON | None],
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
    ) -> JSON:
        """A POST that must not happen twice.

        When its outcome is unclear (time-out, broken connection, 5xx) `look` decides: what it returns counts as
        the answer; None means that nothing happened. Only then, and with `repeat`, is it asked for once more.
        """
        call = self._rest("POST", path, to=to, body=body, headers=headers, repeatable=False)
        return self._resolved(call, look, repeat=repeat)

    def delete(
        self,
        path: str,
        *,
        to: str,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Deletes; something already gone is fine."""
        try:
            self.send("DELETE", path, to=to, params=params, headers=headers)
        except FlyError as error:
            if error.status != NOT_FOUND:
                raise

    def graphql(
        self,
        query: str,
        variables: Mapping[str, Any],
        *,
        to: str,
        look: Callable[[], JSON | None] | None = None,
        hidden: Iterable[str] = (),
    ) -> JSON:
        """The `data` of the answer. GraphQL reports errors with HTTP 200 too. `look` as in `send_once`."""
        call = Call(
            to=to,
            method="POST",
            url=f"{self._graphql_url}/graphql",
            setting="flyGraphqlUrl",
            path="/graphql",
            body={"query": query, "variables": dict(variables)},
            repeatable=look is None,
            hidden=(self._token, *hidden),
        )
        return self._resolved(call, look, repeat=True) if look else self._data(call)

    def _rest(
        self,
        method: str,
        path: str,
        *,
        to: str,
        repeatable: bool,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        hidden: Iterable[str] = (),
    ) -> Call:
        return Call(
            to=to,
            method=method,
            url=f"{self._url}/v1{path}",
            setting="flyApiUrl",
            path=path,
            repeatable=repeatable,
            body=body,
            params=params,
            headers=headers or {},
            hidden=(self._token, *hidden),
        )

    def _resolved(self, call: Call, look: Callable[[], JSON | None], *, repeat: bool) -> JSON:
        for last in (not repeat, True):
            try:
                return self._data(call) if call.path == "/graphql" else self._change(call)
            except FlyError as error:
                if not error.outcome_unknown:
                    raise
                found = self._look(look)
                if found is not None:
                    return found
                if last:
                    raise
        raise AssertionError("the loop returns or raises")

    def _look(self, look: Callable[[], JSON | None]) -> JSON | None:
        for pause in LOOKS_S:
            self.clock.sleep(pause)
            if (found := look()) is not None:
                return found
        return None

    def _change(self, call: Call) -> JSON:
        try:
            return self._json(call)
        finally:
            if app := _app_of(call.path):
                self._shared.forget(app)

    def _data(self, call: Call) -> JSON:
        answer = self._json(call)
        if errors := answer.get("errors"):
            said = "; ".join(str(error.get("message", error)) for error in errors)
            for secret in call.hidden:
                said = said.replace(secret, "[secret]") if secret else said
            raise FlyError(f"cannot {call.to}: Fly.io's GraphQL API answered: {said}", status=_graphql_status(errors))
        return answer["data"]

    def _json(self, call: Call) -> JSON:
        response = self._perform(call)
        if not response.content.strip():
            return None
        try:
            return response.json()
        except ValueError:
            raise not_fly(call.to, call.url, call.setting, response) from None

    def _perform(self, call: Call) -> httpx.Response:
        """Returns a success. Repeats what is safe, until ATTEMPTS hiccups or DEADLINE_S are over."""
        give_up_at = self.clock.now() + DEADLINE_S
        hiccups = 0
        while True:
            self.clock.sleep(self._limiter.reserve(call.method, call.path))
            answer = self._attempt(call)
            if isinstance(answer, httpx.Response):
                return answer
            pause = max(answer.pause_s, FIRST_PAUSE_S * 2**hiccups)
            if answer.error.status != RATE_LIMITED:  # those end by the deadline alone: Fly says when to come back
                hiccups += 1
            if not answer.may_repeat or hiccups == ATTEMPTS or self.clock.now() + pause > give_up_at:
                raise answer.error
            self.clock.sleep(pause)

    def _attempt(self, call: Call) -> httpx.Response | Setback:
        try:
            response = self._send(call)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            # Nothing was sent.
            return Setback(unreachable(call.to, call.url, call.setting, error), may_repeat=True)
        except httpx.TransportError as error:
            failure = broken_off(call.to, call.url, error, outcome_unknown=not call.repeatable)
            return Setback(failure, may_repeat=call.repeatable)
        if response.is_success:
            return response
        if response.is_redirect:
            return Setback(not_fly(call.to, call.url, call.setting, response), may_repeat=False)
        status = response.status_code
        unclear = status == TIMED_OUT or status >= 500
        return Setback(
            refused(call.to, response, hidden=call.hidden, outcome_unknown=unclear and not call.repeatable),
            may_repeat=status == RATE_LIMITED or (unclear and call.repeatable),
            pause_s=_retry_after(response),
        )

    def _send(self, call: Call) -> httpx.Response:
        return self._http.request(
            call.method,
            call.url,
            json=call.body,
            params=call.params,
            headers={"Authorization": authorization(self._token), **call.headers},
        )


def at(*parts: str) -> str:
    """A path of the Machines API, each part quoted: at("apps", "x", "certificates", "*.x.com")."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _app_of(path: str) -> str | None:
    found = re.match(r"/apps/([^/?]+)", path)
    return found[1] if found else None


def _retry_after(response: httpx.Response) -> float:
    """Seconds, from the header; its other form, a date, is not what Fly sends."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else 0.0


def _graphql_status(errors: list[dict[str, Any]]) -> int | None:
    """The REST status that means the same as GraphQL's error code."""
    statuses = {"NOT_FOUND": NOT_FOUND, "UNAUTHORIZED": 401, "FORBIDDEN": 403}
    codes = (str((error.get("extensions") or {}).get("code")) for error in errors)
    return next((statuses[code] for code in codes if code in statuses), None)
