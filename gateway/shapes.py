"""The types of OpenAI's request parameters: a request of another shape is the client's mistake, said at once.

LiteLLM answers many of them with 500, and counts a 500 against the model: a few malformed requests of one team
would take the model from all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

Types = tuple[type, ...]

_TEXT: Types = (str,)
_WHOLE: Types = (int,)
_NUMBER: Types = (int, float)
_SWITCH: Types = (bool,)
_OBJECT: Types = (dict,)
_LIST: Types = (list,)

CHAT: Mapping[str, Types] = {
    "messages": _LIST,
    "audio": _OBJECT,
    "frequency_penalty": _NUMBER,
    "function_call": (str, dict),
    "functions": _LIST,
    "logit_bias": _OBJECT,
    "logprobs": _SWITCH,
    "max_completion_tokens": _WHOLE,
    "max_tokens": _WHOLE,
    "metadata": _OBJECT,
    "modalities": _LIST,
    "n": _WHOLE,
    "parallel_tool_calls": _SWITCH,
    "prediction": _OBJECT,
    "presence_penalty": _NUMBER,
    "prompt_cache_key": _TEXT,
    "prompt_cache_retention": _TEXT,
    "reasoning_effort": _TEXT,
    "response_format": _OBJECT,
    "safety_identifier": _TEXT,
    "seed": _WHOLE,
    "service_tier": _TEXT,
    "stop": (str, list),
    "store": _SWITCH,
    "stream": _SWITCH,
    "stream_options": _OBJECT,
    "temperature": _NUMBER,
    "tool_choice": (str, dict),
    "tools": _LIST,
    "top_logprobs": _WHOLE,
    "top_p": _NUMBER,
    "user": _TEXT,
    "verbosity": _TEXT,
    "web_search_options": _OBJECT,
}
EMBEDDINGS: Mapping[str, Types] = {
    "input": (str, list),
    "dimensions": _WHOLE,
    "encoding_format": _TEXT,
    "user": _TEXT,
}
REQUIRED = {"messages", "input"}
LISTS_OF_OBJECTS = ("messages", "tools", "functions")
_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "a boolean", dict: "an object", list: "an array"}


def parse(text: str) -> Any:
    """JSON as its standard has it; raises ValueError for NaN, Infinity and numbers too large to be one."""
    return json.loads(text, parse_constant=_no_number, parse_float=_finite)


def misfit(request: Mapping[str, Any], types: Mapping[str, Types]) -> tuple[str, str] | None:
    """The first parameter of a wrong shape and what it should be; None when all are as OpenAI takes them."""
    for name, wanted in types.items():
        value = request.get(name)
        if value is None:
            if name in REQUIRED:
                return name, f"Missing required parameter: '{name}'."
        elif not _is(value, wanted):
            return name, f"Invalid type for '{name}': expected {' or '.join(_NAMES[kind] for kind in wanted)}."
    for name in LISTS_OF_OBJECTS:
        for index, item in enumerate(request.get(name) or []):
            if not isinstance(item, dict):
                return f"{name}[{index}]", f"Invalid type for '{name}[{index}]': expected an object."
    return _message_misfit(request.get("messages"))


def _message_misfit(messages: list[dict[str, Any]] | None) -> tuple[str, str] | None:
    if messages == []:
        return "messages", "Invalid 'messages': empty array. Expected an array with minimum length 1."
    for index, message in enumerate(messages or []):
        here = f"messages[{index}]"
        if not isinstance(message.get("role"), str):
            return f"{here}.role", f"Invalid '{here}.role': expected a string."
        content = message.get("content")
        if content is not None and not isinstance(content, str | list):
            return f"{here}.content", f"Invalid type for '{here}.content': expected a string or an array."
        for part, item in enumerate(content if isinstance(content, list) else []):
            if not isinstance(item, dict) or not isinstance(item.get("type"), str):
                return f"{here}.content[{part}]", f"Invalid '{here}.content[{part}]': expected an object with a type."
    return None


def _is(value: object, wanted: Types) -> bool:
    # To Python a boolean is an integer; to OpenAI it is not.
    return isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _no_number(text)
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number JSON can hold")
