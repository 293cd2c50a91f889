"""The organization of the token, and one that belongs to somebody else."""

from __future__ import annotations

from dataclasses import dataclass

from local.fly import ids

PERSONAL = "personal"


@dataclass(frozen=True)
class Organization:
    slug: str

    def is_called(self, slug: str) -> bool:
        """By its own slug, or by the one Fly's documents give to whoever asks about his own organization."""
        return slug in (self.slug, PERSONAL)

    @property
    def id(self) -> str:
        """The identifier GraphQL uses."""
        return ids.derived(f"organization {self.slug}", 16)

    @property
    def numeric_id(self) -> int:
        return ids.numeric_id(f"organization {self.slug}")

    @property
    def name(self) -> str:
        return self.slug.replace("-", " ").title()


# App names are one namespace of the whole world: these are taken, and no token here may look at them.
SOMEBODY_ELSE = Organization("somebody-else")
APPS_OF_SOMEBODY_ELSE = frozenset({"caddy", "gateway", "langfuse", "litellm", "llm-gateway"})
