"""What the program generates: for whom, of which alphabet and length.

Values live in the stack's encrypted state; Fly receives them as app secrets. A value changes only when its resource
is replaced.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

import pulumi
from pulumi import Output, ResourceOptions
from pulumi_random import RandomPassword

API_KEY_PREFIX = "sk-"  # OpenAI's form: client libraries and secret scanners know it; LiteLLM hashes only such keys
API_KEY_LENGTH = 48  # letters and digits: 285 bits, so that a plain SHA-256 of a key cannot be reversed


class GatewayKeys(pulumi.ComponentResource):
    """The master key of LiteLLM and one key per team."""

    master: Output[str]
    teams: Mapping[str, Output[str]]

    def __init__(self, name: str, *, teams: Iterable[str], opts: ResourceOptions | None = None) -> None:
        super().__init__("gateway:secrets:GatewayKeys", name, None, opts)
        self.master = self._key("master-key")
        self.teams = {team: self._key(f"team-key-{team}") for team in teams}
        self.register_outputs({})

    @property
    def team_hashes(self) -> Output[str]:
        """JSON: team → list of SHA-256 hex digests; all that gateway machines learn of the keys."""
        return Output.all(**self.teams).apply(
            lambda keys: json.dumps({team: [_sha256(key)] for team, key in sorted(keys.items())})
        )

    def _key(self, name: str) -> Output[str]:
        # No special characters: keys travel in headers, shells and dotenv files.
        value = RandomPassword(name, length=API_KEY_LENGTH, special=False, opts=ResourceOptions(parent=self)).result
        return Output.concat(API_KEY_PREFIX, value)


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
