"""Who sends a request: the team of its key, found before the body is read and before LiteLLM is asked.

LiteLLM never sees a client's key (admission.py passes no such header on), so that no log, trace or error of LiteLLM
can hold it. The master key LiteLLM insists on opens nothing here: people who administer use the key of a team.
"""

from __future__ import annotations

from gateway import errors, routes
from gateway.errors import App, Receive, Scope, Send
from gateway.keys import KeyRing, Owner

OWNER = "gateway.owner"  # where in the ASGI scope the owner of the key stands

NO_KEY = (
    "You didn't provide an API key. Send your team's key in an Authorization header (Authorization: Bearer YOUR_KEY)."
)
WRONG_KEY = "Incorrect API key provided. Ask the operator of this gateway for your team's key."
_CHALLENGE = [(b"www-authenticate", b"Bearer")]


def bearer_key(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """The key of the one Authorization header. None when there is none, or more than one, or another scheme."""
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, key = values[0].strip().partition(b" ")
    return key.strip() or None if scheme.lower() == b"bearer" else None


class Authentication:
    """ASGI: 401 for an API request without a valid key; otherwise the owner of the key in the scope."""

    def __init__(self, app: App, key_ring: KeyRing) -> None:
        self._app = app
        self._key_ring = key_ring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not routes.needs_key(scope["path"]):
            await self._app(scope, receive, send)
            return
        key = bearer_key(scope["headers"])
        owner: Owner | None = None if key is None else self._key_ring.owner(key)
        if owner is None:
            message, code = (NO_KEY, None) if key is None else (WRONG_KEY, "invalid_api_key")
            await errors.answer(send, 401, message, code=code, headers=_CHALLENGE)
            return
        await self._app({**scope, OWNER: owner}, receive, send)
