"""What a person reads when Fly does not do what was asked: object, cause, remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import httpx

LONGEST_BODY = 600  # Fly's errors are one sentence; more is a page of something else

REMEDIES = {
    400: "The value named above is not one Fly.io knows: correct the setting it comes from",
    401: "Fly.io does not accept the token: make one with `fly tokens create org` and set it with "
    "`pulumi config set --secret flyToken`. Replaced since the last `pulumi up`? Then add --run-program this once: "
    "a refresh alone uses the settings of the last run",
    403: "It belongs to another organization, or the token may not do this: check the settings `organization` and "
    "`app`, and that flyToken is an organization's token (`fly tokens create org`)",
    404: "It is gone: run `pulumi up` again, which makes it anew",
    408: "The outcome is unknown: run `pulumi up` again, which adopts what was made",
    409: "Someone else is changing it: wait until they are done, then run `pulumi up` again",
    412: "It changed in the meantime, or the app's secrets are not that far yet: run `pulumi up` again",
    422: "Fly.io refuses the value named above: correct the setting it comes from",
    429: "Other programs use up the rate Fly.io allows: wait a minute, then run `pulumi up` again",
}
OUTAGE = "That is on Fly.io's side (https://status.flyio.net): run `pulumi up` again later, which adopts what was made"


class FlyError(Exception):
    """Fly did not do what was asked. The text is for the person running Pulumi."""

    __module__ = "builtins"  # Pulumi shows errors as tracebacks do: the name of our module would be noise in front

    def __init__(self, text: str, *, status: int | None = None, outcome_unknown: bool = False, said: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.said = said
        """Fly's answer alone, for an error that knows object and remedy better."""
        self.outcome_unknown = outcome_unknown
        """A change may have happened: look before asking for it again."""


def refused(to: str, response: httpx.Response, *, hidden: Iterable[str], outcome_unknown: bool = False) -> FlyError:
    """The error for an answer that is no success. `to` is what was asked: "create app x"."""
    status = response.status_code
    remedy = REMEDIES.get(status) or (OUTAGE if status >= 500 else "")
    request_id = response.headers.get("fly-request-id")
    reference = f" (fly-request-id {request_id})" if request_id else ""
    said = f"Fly.io answered {status}: {described(response, hidden=hidden)}{reference}"
    return FlyError(
        f"cannot {to}: {said}. {remedy}".rstrip(". ") + ".", status=status, outcome_unknown=outcome_unknown, said=said
    )


def unreachable(to: str, url: str, setting: str, error: httpx.TransportError) -> FlyError:
    return FlyError(
        f"cannot {to}: no connection to Fly.io at {url} ({error or type(error).__name__}). "
        f"Is this machine online, and is the setting {setting} right? Changed since the last `pulumi up`, it needs "
        "--run-program once: a refresh alone uses the settings of the last run."
    )


def broken_off(to: str, url: str, error: httpx.TransportError, *, outcome_unknown: bool) -> FlyError:
    return FlyError(
        f"cannot {to}: the connection to Fly.io at {url} broke off ({error or type(error).__name__}). {REMEDIES[408]}.",
        outcome_unknown=outcome_unknown,
    )


def not_fly(to: str, url: str, setting: str, response: httpx.Response) -> FlyError:
    """The error for a success that carries something else than JSON, or a redirect: not Fly's API."""
    elsewhere = response.headers.get("location")
    said = f"a redirect to {elsewhere}, which the token does not follow" if elsewhere else described(response)
    return FlyError(
        f"cannot {to}: {url} answered {response.status_code}: {said}. "
        f"That is not Fly.io's API: check the setting {setting}, and proxies on the way.",
        status=response.status_code,
    )


def described(response: httpx.Response, *, hidden: Iterable[str] = ()) -> str:
    """Fly's own words, on one line."""
    text = response.text.strip()
    if "html" in response.headers.get("content-type", "") or text.startswith("<"):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        text = f"an HTML page titled {' '.join(title[1].split())!r}" if title else "an HTML page"
    else:
        text = _message(text) or "an empty body"
    for secret in hidden:
        text = text.replace(secret, "[secret]") if secret else text
    return text if len(text) <= LONGEST_BODY else f"{text[:LONGEST_BODY]}…"


def _message(text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        return " ".join(text.split())
    if not isinstance(body, dict) or not (body.get("error") or body.get("message")):
        return " ".join(text.split())
    parts = [
        str(body[key]) for key in ("error", "message", "status") if body.get(key) not in (None, "unknown", "error")
    ]
    return ", ".join(dict.fromkeys(parts))
