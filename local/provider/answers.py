"""What the provider answers: deterministic, naming the model and echoing the question, in OpenAI's shapes.

The text is `<model> answers: <question>`. A tool is called when the request demands one or the question
contains the tool's name; its arguments, like a structured answer, are made from the JSON schema with the
question wherever a text fits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from local.provider import errors, models, tokens
from local.provider.requests import ChatRequest

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class Choice:
    pieces: tuple[str, ...]
    """The answer token by token; of a tool call, its arguments."""
    finish_reason: FinishReason
    tool: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True)
class Answer:
    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Mapping[str, Any]


def answer(request: ChatRequest, *, answer_tokens: int | None = None) -> Answer:
    """Raises ProviderError when question and answer do not fit the model's window.

    `answer_tokens` makes the text exactly that long (before `max_tokens` and `stop`), for tests of long
    answers.
    """
    prompt = tokens.count_prompt(request.messages, request.tools)
    if prompt + (request.max_tokens or 0) > request.model.context_window:
        raise errors.too_long(request.model.context_window, prompt + (request.max_tokens or 0), "messages")
    choices = tuple(_choice(request, index, answer_tokens) for index in range(request.choices))
    completion = sum(len(choice.pieces) for choice in choices)
    digest = hashlib.sha256(repr((request.model.name, request.messages)).encode()).hexdigest()
    return Answer(
        id=f"chatcmpl-{digest[:29]}",
        model=request.model.name,
        choices=choices,
        usage=_usage(prompt, completion),
    )


def whole(answer: Answer) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    return _frame(answer, "chat.completion") | {
        "choices": [
            {
                "index": index,
                "message": _message(answer, index, choice),
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(answer.choices)
        ],
        "usage": answer.usage,
    }


def chunks(answer: Answer, *, include_usage: bool) -> Iterator[dict[str, Any]]:
    """The events of a stream, without the closing `[DONE]`."""
    frame = _frame(answer, "chat.completion.chunk")
    if include_usage:
        frame["usage"] = None  # OpenAI: null on every chunk but the last

    def chunk(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return frame | {"choices": [choice]}

    for index, choice in enumerate(answer.choices):
        if choice.tool is None:
            yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
        else:
            call = _tool_call(answer, index, choice.tool, "")
            yield chunk(index, {"role": "assistant", "content": None, "tool_calls": [{"index": 0} | call]})
        for piece in choice.pieces:
            if choice.tool is None:
                yield chunk(index, {"content": piece})
            else:
                yield chunk(index, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        yield chunk(index, {}, choice.finish_reason)
    if include_usage:
        yield frame | {"choices": [], "usage": answer.usage}


def _frame(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": kind,
        "created": models.CREATED,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_offline",
    }


def _message(answer: Answer, index: int, choice: Choice) -> dict[str, Any]:
    if choice.tool is not None:
        call = _tool_call(answer, index, choice.tool, choice.text)
        return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    return {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}


def _tool_call(answer: Answer, index: int, name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": f"call_{answer.id[-20:]}_{index}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _choice(request: ChatRequest, index: int, answer_tokens: int | None) -> Choice:
    tool = _tool_to_call(request)
    if tool is not None:
        arguments = _structured(tool["function"].get("parameters", {}), request.question)
        return _cut(arguments, request, tool["function"]["name"])
    text = f"{request.model.name} answers: {request.question}"
    if index:
        text += f" (choice {index + 1})"
    kind = request.response_format.get("type")
    if kind == "json_object":
        text = json.dumps({"model": request.model.name, "answer": request.question}, ensure_ascii=False)
    elif kind == "json_schema":
        schema = request.response_format["json_schema"]["schema"]
        text = _structured(schema, request.question)
    elif answer_tokens is not None:
        text = _exactly(text, answer_tokens)
    return _cut(text, request)


def _tool_to_call(request: ChatRequest) -> Mapping[str, Any] | None:
    if request.tool_choice == "none" or request.messages[-1]["role"] != "user":
        return None
    named = [t for t in request.tools if t["function"]["name"] == request.tool_choice]
    mentioned = [t for t in request.tools if t["function"]["name"] in request.question]
    wanted = named or mentioned or (request.tools if request.tool_choice == "required" else ())
    return wanted[0] if wanted else None


def _exactly(text: str, length: int) -> str:
    found = tokens.pieces(text)[:length]
    return "".join(found) + " more" * (length - len(found))


def _cut(text: str, request: ChatRequest, tool: str | None = None) -> Choice:
    ends = [text.index(stop) for stop in request.stop if stop and stop in text]
    found = tokens.pieces(text[: min(ends)] if ends else text)
    if request.max_tokens is not None and len(found) > request.max_tokens:
        return Choice(tuple(found[: request.max_tokens]), "length", tool)
    called_freely = tool is not None and request.tool_choice in ("auto", "required")
    # OpenAI: a call of the one function the client named ends with "stop", not with "tool_calls".
    return Choice(tuple(found), "tool_calls" if called_freely else "stop", tool)


def _structured(schema: Mapping[str, Any], text: str) -> str:
    try:
        return json.dumps(example(schema, text), ensure_ascii=False)
    except (AttributeError, IndexError, KeyError, TypeError) as e:
        raise errors.invalid("schema", "not a JSON schema this offline provider can fill", "invalid_schema") from e


def example(schema: Mapping[str, Any], text: str) -> Any:
    """The smallest value a JSON schema of OpenAI's strict mode admits, with `text` as its strings."""
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], text)
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: example(properties.get(name, {}), text) for name in schema.get("required", properties)}
    values: dict[str, Any] = {"string": text, "integer": 0, "number": 0, "boolean": False, "array": []}
    return values.get(kind)
