"""The models the provider has: OpenAI's names and figures, so that prices and limits of its clients apply."""

from __future__ import annotations

from dataclasses import dataclass

from local.provider import errors


@dataclass(frozen=True)
class ChatModel:
    name: str
    context_window: int
    """Tokens, question and answer together."""
    max_completion_tokens: int


@dataclass(frozen=True)
class EmbeddingModel:
    name: str
    dimensions: int
    """Of a vector when none are asked for, and the most that can be asked for."""
    can_shorten: bool
    context_window: int = 8192
    """Tokens of one text."""


CREATED = 1_721_172_741
"""`created` of every model: a constant, so that answers are equal between runs."""

CHAT = {
    m.name: m
    for m in (
        ChatModel("gpt-4o-mini", 128_000, 16_384),
        ChatModel("gpt-4o", 128_000, 16_384),
        ChatModel("gpt-4.1-mini", 1_047_576, 32_768),
        ChatModel("gpt-4.1", 1_047_576, 32_768),
    )
}
EMBEDDING = {
    m.name: m
    for m in (
        EmbeddingModel("text-embedding-3-large", 3072, can_shorten=True),
        EmbeddingModel("text-embedding-3-small", 1536, can_shorten=True),
        EmbeddingModel("text-embedding-ada-002", 1536, can_shorten=False),
    )
}


def names() -> list[str]:
    return [*CHAT, *EMBEDDING]


def chat_model(name: str) -> ChatModel:
    """Raises ProviderError: 404 for an unknown name, 400 for an embedding model."""
    if name in EMBEDDING:
        raise errors.ProviderError(
            404,
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
            "Did you mean to use v1/embeddings?",
            param="model",
        )
    if name not in CHAT:
        raise errors.unknown_model(name)
    return CHAT[name]


def embedding_model(name: str) -> EmbeddingModel:
    """Raises ProviderError: 404 for an unknown name, 403 for a chat model."""
    if name in CHAT:
        raise errors.ProviderError(403, "You are not allowed to generate embeddings from this model")
    if name not in EMBEDDING:
        raise errors.unknown_model(name)
    return EMBEDDING[name]
