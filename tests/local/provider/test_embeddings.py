from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from local.provider import embeddings, requests
from local.provider.errors import ProviderError

RETURNS = "What is the return policy?"


def cosine(a: str, b: str, dimensions: int = 3072) -> float:
    return float(embeddings.embed(a, dimensions) @ embeddings.embed(b, dimensions))


def test_meaning_and_not_words_decides() -> None:
    assert cosine(RETURNS, "What's your refund policy?") > 0.70
    assert cosine(RETURNS, "What is the shipping policy?") < 0.60
    assert cosine(RETURNS, "What is the weather in Paris?") < 0.20


@pytest.mark.parametrize("dimensions", [3072, 1536, 1024, 384])
def test_more_dimensions_leave_cosines_as_they_are(dimensions: int) -> None:
    vector = embeddings.embed(RETURNS, dimensions)
    assert vector.shape == (dimensions,)
    assert cosine(RETURNS, "refund", dimensions) == pytest.approx(cosine(RETURNS, "refund", 384), abs=1e-6)


def test_fewer_dimensions_keep_the_length() -> None:
    assert np.linalg.norm(embeddings.embed(RETURNS, 64)) == pytest.approx(1, abs=1e-6)


def test_a_text_has_one_vector() -> None:
    assert np.array_equal(embeddings.embed(RETURNS, 384), embeddings.embed(RETURNS, 384))
    assert np.isfinite(embeddings.embed("word " * 5000, 384)).all()


def test_base64_holds_the_same_numbers() -> None:
    vector = embeddings.embed(RETURNS, 8)
    encoded = embeddings.encode(vector, "base64")
    assert isinstance(encoded, str)
    assert np.array_equal(np.frombuffer(base64.b64decode(encoded), "<f4"), vector)
    assert embeddings.encode(vector, "float") == [float(x) for x in vector]


def test_the_models_own_dimensions_are_the_default() -> None:
    asked = requests.embedding_request({"model": "text-embedding-3-large", "input": "a"})
    assert (asked.dimensions, asked.texts, asked.encoding_format) == (3072, ("a",), "float")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "a"}, 400, None),
        ({"model": "text-embedding-9", "input": "a"}, 404, None),
        ({"model": "gpt-4o", "input": "a"}, 403, None),
        ({"model": "text-embedding-3-large"}, 400, "input"),
        ({"model": "text-embedding-3-large", "input": ""}, 400, "input"),
        ({"model": "text-embedding-3-large", "input": []}, 400, "input"),
        ({"model": "text-embedding-3-large", "input": ["a", ""]}, 400, "input"),
        ({"model": "text-embedding-3-large", "input": ["a"] * 2049}, 400, "input"),
        ({"model": "text-embedding-3-large", "input": [1, 2]}, 400, "input"),
        ({"model": "text-embedding-3-large", "input": {"a": 1}}, 400, "input"),
        ({"model": "text-embedding-3-large", "input": "a", "dimensions": 0}, 400, "dimensions"),
        ({"model": "text-embedding-3-large", "input": "a", "dimensions": 3073}, 400, "dimensions"),
        ({"model": "text-embedding-ada-002", "input": "a", "dimensions": 3}, 400, None),
        ({"model": "text-embedding-3-large", "input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"model": "text-embedding-3-large", "input": "a", "x": 1}, 400, "x"),
    ],
)
def test_what_openai_refuses_is_refused(body: Any, status: int, param: str | None) -> None:
    with pytest.raises(ProviderError) as caught:
        requests.embedding_request(body)
    assert (caught.value.status, caught.value.body["error"]["param"]) == (status, param)
