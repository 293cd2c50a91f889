"""Requests and answers of the chat endpoint, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.provider import answers, requests, tokens
from local.provider.errors import ProviderError

QUESTION: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Is it late?"}]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]},
                "note": {"type": "string"},
            },
            "required": ["city", "days", "unit"],
        },
    },
}


def ask(**changes: Any) -> answers.Answer:
    return answers.answer(requests.chat_request(QUESTION | changes))


def text(answer: answers.Answer) -> str:
    return answer.choices[0].text


def test_the_answer_names_the_model_and_echoes_the_question() -> None:
    assert text(ask()) == "gpt-4o-mini answers: Is it late?"
    assert text(ask(model="gpt-4o")) == "gpt-4o answers: Is it late?"
    assert ask() == ask()


def test_the_newest_user_message_counts_and_all_its_parts() -> None:
    messages = [
        {"role": "user", "content": "old"},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    assert text(ask(messages=messages)) == "gpt-4o-mini answers: a b"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_tokens_ends_the_answer_with_length(name: str) -> None:
    answer = ask(**{name: 3})
    assert (text(answer), answer.choices[0].finish_reason) == ("gpt-4o", "length")
    assert answer.usage["completion_tokens"] == 3
    whole = ask(**{name: ask().usage["completion_tokens"]})
    assert whole.choices[0].finish_reason == "stop"


def test_a_stop_sequence_ends_the_answer_before_it() -> None:
    answer = ask(stop=["late", "never"])
    assert (text(answer), answer.choices[0].finish_reason) == ("gpt-4o-mini answers: Is it ", "stop")


def test_several_choices_differ_and_are_all_charged() -> None:
    answer = ask(n=3)
    assert len({choice.text for choice in answer.choices}) == 3
    assert answer.usage["completion_tokens"] == sum(len(choice.pieces) for choice in answer.choices)


@pytest.mark.parametrize(
    ("choice", "content", "called", "reason"),
    [
        ("auto", "the weather please", True, "tool_calls"),
        (None, "the weather please", True, "tool_calls"),
        ("auto", "hello", False, "stop"),
        ("required", "hello", True, "tool_calls"),
        ("none", "the weather please", False, "stop"),
        ({"type": "function", "function": {"name": "weather"}}, "hello", True, "stop"),
    ],
)
def test_tools_are_called_when_demanded_or_named(choice: Any, content: str, called: bool, reason: str) -> None:
    answer = ask(tools=[WEATHER], tool_choice=choice, messages=[{"role": "user", "content": content}])
    assert (answer.choices[0].tool is not None) == called
    assert answer.choices[0].finish_reason == reason
    if called:
        message = answers.whole(answer)["choices"][0]["message"]
        arguments = json.loads(message["tool_calls"][0]["function"]["arguments"])
        assert arguments == {"city": content, "days": 0, "unit": "C"}


def test_the_result_of_a_tool_is_answered_with_text() -> None:
    messages = [
        {"role": "user", "content": "weather"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]
    assert ask(tools=[WEATHER], messages=messages).choices[0].tool is None


def test_structured_answers_fit_their_schema() -> None:
    assert json.loads(text(ask(response_format={"type": "json_object"})))["answer"] == "Is it late?"
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}, "b": {"type": "array"}}}
    answer = ask(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert json.loads(text(answer)) == {"a": "Is it late?", "b": []}


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("changes", [{}, {"n": 2}, {"tools": [WEATHER], "tool_choice": "required"}])
def test_a_stream_says_what_the_whole_answer_says(changes: dict[str, Any], include_usage: bool) -> None:
    answer = ask(**changes)
    chunks = list(answers.chunks(answer, include_usage=include_usage))
    whole = answers.whole(answer)
    for index, choice in enumerate(whole["choices"]):
        own = [c["choices"][0] for c in chunks if c["choices"] and c["choices"][0]["index"] == index]
        said = "".join(c["delta"].get("content") or "" for c in own)
        calls = "".join(t["function"]["arguments"] for c in own for t in c["delta"].get("tool_calls", []))
        message = choice["message"]
        assert said == (message["content"] or "")
        assert calls == (message["tool_calls"][0]["function"]["arguments"] if "tool_calls" in message else "")
        assert [c["finish_reason"] for c in own if c["finish_reason"]] == [choice["finish_reason"]]
    last = chunks[-1]
    assert (last["choices"], last.get("usage")) == ([], whole["usage"]) if include_usage else last["choices"]
    assert ("usage" in chunks[0]) == include_usage


def test_a_demanded_length_is_kept() -> None:
    answer = answers.answer(requests.chat_request(QUESTION), answer_tokens=1000)
    assert answer.usage["completion_tokens"] == 1000


def test_what_does_not_fit_the_window_is_refused() -> None:
    long = [{"role": "user", "content": "word " * 128_000}]
    with pytest.raises(ProviderError, match="maximum context length is 128000 tokens") as caught:
        ask(messages=long)
    assert caught.value.body["error"]["code"] == "context_length_exceeded"


@given(st.text())
def test_pieces_are_the_text_and_their_number_is_its_count(value: str) -> None:
    found = tokens.pieces(value)
    assert "".join(found) == value
    assert tokens.count(value) == len(found) or not value.strip()


REFUSED: list[tuple[Any, int, str | None, str | None]] = [
    ([], 400, None, None),
    ({"messages": []}, 400, None, None),
    (QUESTION | {"model": "gpt-9"}, 404, None, "model_not_found"),
    (QUESTION | {"model": "text-embedding-3-large"}, 404, "model", None),
    (QUESTION | {"model": 1}, 400, "model", "invalid_type"),
    ({"model": "gpt-4o"}, 400, "messages", "missing_required_parameter"),
    (QUESTION | {"messages": []}, 400, "messages", "empty_array"),
    (QUESTION | {"messages": "hi"}, 400, "messages", "invalid_type"),
    (QUESTION | {"messages": ["hi"]}, 400, "messages[0]", "invalid_type"),
    (QUESTION | {"messages": [{"content": "hi"}]}, 400, "messages[0].role", "missing_required_parameter"),
    (QUESTION | {"messages": [{"role": "boss", "content": "hi"}]}, 400, "messages[0].role", "invalid_value"),
    (QUESTION | {"messages": [{"role": "user"}]}, 400, "messages[0].content", "invalid_type"),
    (QUESTION | {"messages": [{"role": "user", "content": 1}]}, 400, "messages[0].content", "invalid_type"),
    (QUESTION | {"messages": [{"role": "user", "content": [{}]}]}, 400, "messages[0].content[0].type", "invalid_value"),
    (QUESTION | {"temperature": 3}, 400, "temperature", "invalid_value"),
    (QUESTION | {"temperature": "hot"}, 400, "temperature", "invalid_type"),
    (QUESTION | {"max_tokens": 0}, 400, "max_tokens", "integer_below_min_value"),
    (QUESTION | {"max_tokens": 10**6}, 400, "max_tokens", "integer_above_max_value"),
    (QUESTION | {"max_tokens": True}, 400, "max_tokens", "invalid_type"),
    (QUESTION | {"max_tokens": 1, "max_completion_tokens": 1}, 400, "max_tokens", "invalid_value"),
    (QUESTION | {"n": 1.5}, 400, "n", "invalid_type"),
    (QUESTION | {"stream": "yes"}, 400, "stream", "invalid_type"),
    (QUESTION | {"stream_options": {"include_usage": True}}, 400, "stream_options", "invalid_value"),
    (QUESTION | {"stop": ["a"] * 5}, 400, "stop", "array_above_max_length"),
    (QUESTION | {"tools": []}, 400, "tools", "empty_array"),
    (QUESTION | {"tools": [{}]}, 400, "tools[0].function.name", "missing_required_parameter"),
    (QUESTION | {"tool_choice": "auto"}, 400, "tool_choice", "invalid_value"),
    (
        QUESTION | {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
        400,
        "tool_choice",
        "invalid_value",
    ),
    (QUESTION | {"response_format": {"type": "yaml"}}, 400, "response_format.type", "invalid_value"),
    (
        QUESTION | {"response_format": {"type": "json_schema"}},
        400,
        "response_format.json_schema.schema",
        "missing_required_parameter",
    ),
    (QUESTION | {"no_such_thing": 1}, 400, "no_such_thing", "unknown_parameter"),
]


@pytest.mark.parametrize(("body", "status", "param", "code"), REFUSED)
def test_what_openai_refuses_is_refused(body: Any, status: int, param: str | None, code: str | None) -> None:
    with pytest.raises(ProviderError) as caught:
        requests.chat_request(body)
    error = caught.value.body["error"]
    assert (caught.value.status, error["param"], error["code"]) == (status, param, code)


@pytest.mark.parametrize("schema", [{"enum": []}, {"anyOf": []}, {"anyOf": [1]}, {"properties": 1}, {"type": []}])
def test_a_schema_that_cannot_be_filled_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ProviderError, match="not a JSON schema"):
        ask(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["messages", "tools", "tool_choice", "stop", "stream_options", "response_format", "n"])


@given(st.dictionaries(fields, json_values, max_size=3))
def test_no_request_is_more_than_answered_or_refused(changes: dict[str, Any]) -> None:
    try:
        answers.whole(ask(**changes))
    except ProviderError as e:
        assert 400 <= e.status < 500
