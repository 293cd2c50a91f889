"""A request of another shape is named as the client's mistake, before LiteLLM can stumble over it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import shapes

GOOD: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"temperature": 1, "top_p": 0.5, "n": 2, "stream": True, "stop": ["a"], "user": None},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]},
        {"tools": [{"type": "function"}], "tool_choice": "auto", "response_format": {"type": "text"}},
    ],
)
def test_openais_own_shapes_pass(change: dict[str, Any]) -> None:
    assert shapes.misfit(GOOD | change, shapes.CHAT) is None


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": "x"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"tools": "x"}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"response_format": 5}, "response_format"),
        ({"web_search_options": 1}, "web_search_options"),
        ({"logit_bias": 5}, "logit_bias"),
        ({"n": 1.5}, "n"),
        ({"n": True}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": "hot"}, "temperature"),
        ({"user": {}}, "user"),
    ],
)
def test_another_shape_is_named(change: dict[str, Any], param: str) -> None:
    found = shapes.misfit(GOOD | change, shapes.CHAT)
    assert found is not None
    assert found[0] == param
    assert param in found[1]


def test_embeddings_need_an_input() -> None:
    assert shapes.misfit({"input": "x", "dimensions": 3}, shapes.EMBEDDINGS) is None
    assert shapes.misfit({}, shapes.EMBEDDINGS) == ("input", "Missing required parameter: 'input'.")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "[1e400]", '{"a": NaN}'])
def test_what_is_no_number_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match="no number JSON can hold"):
        shapes.parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(shapes.CHAT)), JSON))
def test_no_shape_breaks_the_check(request: dict[str, Any]) -> None:
    found = shapes.misfit(request, shapes.CHAT)
    assert found is None or found[0].split("[")[0].split(".")[0] in shapes.CHAT
