"""How large a request is before its provider has counted it: a guess from its text, never an error.

The request is a client's: any value may stand anywhere. What is wrong in it, LiteLLM or the provider refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BYTES_PER_TOKEN = 4  # English text with OpenAI's tokenizers; code and other languages have shorter tokens
MEDIUM_TOKENS = 1_000  # an image of usual size in OpenAI's tokens; seconds of audio are of that order
ANSWER_TOKENS = 1_000
"""An answer without a stated limit: most are shorter, and a limit that was reserved in full would let few pass."""
_PROMPT = ("messages", "tools", "functions", "response_format", "prediction", "input")
_MEDIA = {"image_url", "input_audio", "file"}


@dataclass(frozen=True)
class Size:
    text_bytes: int
    """UTF-8, the names of fields included, as tools and messages cost them too."""
    ids: int
    """Tokens that the client sends as numbers, which embeddings allow."""
    media: int
    """Images, sounds and files."""
    answers: int
    """How many are asked for; 0 for embeddings."""
    answer_limit: int | None
    """The most tokens that one answer may have, as the client says."""

    @property
    def tokens(self) -> int:
        """A likely number of tokens of question and answers together, at least 1."""
        prompt = self.text_bytes // BYTES_PER_TOKEN + self.ids + self.media * MEDIUM_TOKENS
        answer = ANSWER_TOKENS if self.answer_limit is None else self.answer_limit
        return max(1, prompt + self.answers * answer)


def size(request: Mapping[str, Any]) -> Size:
    """`request`: the JSON object of a chat or embeddings request."""
    text_bytes = ids = media = 0
    rest: list[Any] = [request[name] for name in _PROMPT if name in request]
    while rest:  # not by recursion: a client chooses the depth
        value = rest.pop()
        if isinstance(value, str):
            text_bytes += len(value.encode(errors="replace"))
        elif isinstance(value, list):
            rest += value
        elif isinstance(value, dict):
            media += sum(name in _MEDIA for name in value)
            text_bytes += sum(len(name) for name in value)
            rest += [item for name, item in value.items() if name not in _MEDIA]
        elif value is not None:
            ids += 1
    limit = _count(request.get("max_completion_tokens")) or _count(request.get("max_tokens"))
    answers = 0 if "input" in request else _count(request.get("n")) or 1
    return Size(text_bytes, ids, media, answers, limit)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
