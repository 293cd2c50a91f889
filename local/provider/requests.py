"""Reads request bodies as strictly as OpenAI does: what it refuses must not pass here either.

Pure: a decoded JSON body in, a frozen request out, or ProviderError with OpenAI's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from local.provider import errors, models

Json = Mapping[str, Any]

ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
MOST_CHOICES = 128
MOST_INPUTS = 2048

_CHAT_PARAMETERS = frozenset(
    [
        "messages",
        "model",
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
_EMBEDDING_PARAMETERS = frozenset(["input", "model", "dimensions", "encoding_format", "user"])


@dataclass(frozen=True)
class ChatRequest:
    model: models.ChatModel
    messages: tuple[Json, ...]
    choices: int
    max_tokens: int | None
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    tools: tuple[Json, ...]
    tool_choice: str
    """`none`, `auto`, `required`, or the name of one function."""
    response_format: Json

    @property
    def question(self) -> str:
        """The text of the newest message a user wrote."""
        for message in reversed(self.messages):
            if message["role"] == "user":
                return text_of(message.get("content"))
        return ""


@dataclass(frozen=True)
class EmbeddingRequest:
    model: models.EmbeddingModel
    texts: tuple[str, ...]
    dimensions: int
    encoding_format: Literal["float", "base64"]


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or [] if part["type"] == "text")


def chat_request(body: Any) -> ChatRequest:
    model = models.chat_model(_model_name(body, _CHAT_PARAMETERS))
    messages = _messages(body)
    _number(body, "temperature", 0, 2)
    _number(body, "top_p", 0, 1)
    _number(body, "presence_penalty", -2, 2)
    _number(body, "frequency_penalty", -2, 2)
    stream = bool(_typed(body, "stream", bool, "a boolean"))
    options = _typed(body, "stream_options", dict, "an object") or {}
    if options and not stream:
        raise errors.invalid("stream_options", "only allowed when 'stream' is true")
    tools = _tools(body)
    return ChatRequest(
        model=model,
        messages=messages,
        choices=_integer(body, "n", 1, MOST_CHOICES) or 1,
        max_tokens=_max_tokens(body, model),
        stop=_stop(body),
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        tools=tools,
        tool_choice=_tool_choice(body, tools),
        response_format=_response_format(body),
    )


def embedding_request(body: Any) -> EmbeddingRequest:
    model = models.embedding_model(_model_name(body, _EMBEDDING_PARAMETERS))
    dimensions = _integer(body, "dimensions", 1, model.dimensions)
    if dimensions is not None and not model.can_shorten:
        raise errors.ProviderError(400, "This model does not support specifying dimensions.")
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise errors.invalid("encoding_format", "supported values are 'float' and 'base64'")
    return EmbeddingRequest(model, _texts(body), dimensions or model.dimensions, encoding)


def _model_name(body: Any, known: frozenset[str]) -> str:
    if not isinstance(body, dict):
        raise errors.ProviderError(400, "We could not parse the JSON body of your request: expected an object.")
    name = body.get("model")
    if name is None:
        raise errors.ProviderError(400, "you must provide a model parameter")
    if not isinstance(name, str):
        raise errors.wrong_type("model", "a string")
    for key in body:
        if key not in known:
            raise errors.ProviderError(
                400, f"Unrecognized request argument supplied: {key}", param=key, code="unknown_parameter"
            )
    return name


def _typed(body: Json, name: str, kind: type, expected: str) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise errors.wrong_type(name, expected)
    return value


def _number(body: Json, name: str, low: float, high: float) -> None:
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise errors.wrong_type(name, "a decimal")
    if not low <= value <= high:
        raise errors.invalid(name, f"expected a value from {low} to {high}, but got {value}")


def _integer(body: Json, name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise errors.wrong_type(name, "an integer")
    if not low <= value <= high:
        code = "integer_below_min_value" if value < low else "integer_above_max_value"
        raise errors.invalid(name, f"expected a value from {low} to {high}, but got {value}", code)
    return value


def _max_tokens(body: Json, model: models.ChatModel) -> int | None:
    old, new = (
        _integer(body, name, 1, model.max_completion_tokens) for name in ("max_tokens", "max_completion_tokens")
    )
    if old is not None and new is not None:
        raise errors.invalid("max_tokens", "'max_tokens' and 'max_completion_tokens' cannot both be given")
    return new if new is not None else old


def _stop(body: Json) -> tuple[str, ...]:
    value = body.get("stop")
    if value is None:
        return ()
    stops = (value,) if isinstance(value, str) else value
    if not isinstance(stops, (list, tuple)) or not all(isinstance(s, str) for s in stops):
        raise errors.wrong_type("stop", "a string or an array of strings")
    if len(stops) > 4:
        raise errors.invalid("stop", "expected at most 4 sequences", "array_above_max_length")
    return tuple(stops)


def _messages(body: Json) -> tuple[Json, ...]:
    messages = body.get("messages")
    if messages is None:
        raise errors.missing("messages")
    if not isinstance(messages, list):
        raise errors.wrong_type("messages", "an array of objects")
    if not messages:
        raise errors.invalid("messages", "empty array; expected at least 1 message", "empty_array")
    for i, message in enumerate(messages):
        _check_message(message, f"messages[{i}]")
    return tuple(messages)


def _check_message(message: Any, where: str) -> None:
    if not isinstance(message, dict):
        raise errors.wrong_type(where, "an object")
    role = message.get("role")
    if role is None:
        raise errors.missing(f"{where}.role")
    if role not in ROLES:
        raise errors.invalid(f"{where}.role", f"supported values are {', '.join(sorted(ROLES))}")
    content = message.get("content")
    if content is None:
        if role == "assistant" and (message.get("tool_calls") or message.get("function_call")):
            return
        raise errors.wrong_type(f"{where}.content", "a string or an array of content parts, but got null")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise errors.wrong_type(f"{where}.content", "a string or an array of content parts")
    for j, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "image_url", "input_audio", "file", "refusal"):
            raise errors.invalid(f"{where}.content[{j}].type", "not a type of content part")
        if kind == "text" and not isinstance(part.get("text"), str):
            raise errors.wrong_type(f"{where}.content[{j}].text", "a string")


def _response_format(body: Json) -> Json:
    wanted: Json = _typed(body, "response_format", dict, "an object") or {"type": "text"}
    if wanted.get("type") not in ("text", "json_object", "json_schema"):
        raise errors.invalid("response_format.type", "supported values are text, json_object, json_schema")
    if wanted["type"] == "json_schema":
        schema = wanted.get("json_schema")
        if not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
            raise errors.missing("response_format.json_schema.schema")
    return wanted


def _tools(body: Json) -> tuple[Json, ...]:
    tools = _typed(body, "tools", list, "an array of objects")
    if tools is None:
        return ()
    if not tools:
        raise errors.invalid("tools", "empty array; expected at least 1 tool", "empty_array")
    for i, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise errors.missing(f"tools[{i}].function.name")
        if not isinstance(function.get("parameters", {}), dict):
            raise errors.wrong_type(f"tools[{i}].function.parameters", "an object")
    return tuple(tools)


def _tool_choice(body: Json, tools: tuple[Json, ...]) -> str:
    choice = body.get("tool_choice")
    if choice is None:
        return "auto" if tools else "none"
    if not tools:
        raise errors.invalid("tool_choice", "only allowed when 'tools' are specified")
    if choice in ("none", "auto", "required"):
        return str(choice)
    name = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    if name not in [tool["function"]["name"] for tool in tools]:
        raise errors.invalid("tool_choice", "not the name of one of the tools")
    return str(name)


def _texts(body: Json) -> tuple[str, ...]:
    value = body.get("input")
    if value is None:
        raise errors.missing("input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise errors.wrong_type("input", "a string or an array of strings")
    if any(isinstance(text, (int, list)) for text in texts):
        # OpenAI also takes token numbers. Without its table they mean nothing: a made-up vector would lie.
        raise errors.invalid("input", "this offline provider embeds text, not token numbers")
    if not 1 <= len(texts) <= MOST_INPUTS or not all(isinstance(text, str) and text for text in texts):
        raise errors.invalid("input", f"expected 1 to {MOST_INPUTS} strings, none of them empty")
    return tuple(texts)
