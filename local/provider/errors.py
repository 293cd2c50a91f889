"""OpenAI's error answers: status, body and words, as its clients (and LiteLLM's error mapping) read them."""

from __future__ import annotations

from typing import Any


class ProviderError(Exception):
    """An answer that is an error. `body` is OpenAI's form: message, type, param, code."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": type, "param": param, "code": code},
        }


def no_key() -> ProviderError:
    return ProviderError(
        401,
        "You didn't provide an API key. Provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY).",
        headers={"WWW-Authenticate": "Bearer"},
    )


def wrong_key() -> ProviderError:
    return ProviderError(401, "Incorrect API key provided.", code="invalid_api_key")


def unknown_model(name: str) -> ProviderError:
    return ProviderError(
        404,
        f"The model `{name}` does not exist or you do not have access to it.",
        code="model_not_found",
    )


def wrong_type(param: str, expected: str) -> ProviderError:
    return ProviderError(400, f"Invalid type for '{param}': expected {expected}.", param=param, code="invalid_type")


def missing(param: str) -> ProviderError:
    return ProviderError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def invalid(param: str, why: str, code: str = "invalid_value") -> ProviderError:
    return ProviderError(400, f"Invalid '{param}': {why}.", param=param, code=code)


def too_long(window: int, asked: int, param: str) -> ProviderError:
    return ProviderError(
        400,
        f"This model's maximum context length is {window} tokens. However, your messages resulted in "
        f"{asked} tokens. Please reduce the length of the messages.",
        param=param,
        code="context_length_exceeded",
    )


def by_status(status: int, message: str, retry_after: float | None) -> ProviderError:
    """The error OpenAI gives with a status, for errors on demand."""
    kinds = {
        401: ("invalid_request_error", "invalid_api_key"),
        403: ("invalid_request_error", "unsupported_country_region_territory"),
        429: ("requests", "rate_limit_exceeded"),
    }
    kind, code = kinds.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return ProviderError(status, message, type=kind, code=code, headers=headers)
