"""Team keys: who a key belongs to. Only SHA-256 digests of keys are known here, never a key."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.teams import Team

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Owner:
    team: Team
    digest: str
    """SHA-256 of the key, hexadecimal: which of a team's keys was used, safe to log and to trace."""


class KeyRing:
    """The valid keys of all teams. A team may have several: during a rotation the old and the new one."""

    def __init__(self, owners: Iterable[Owner]) -> None:
        self._owners = list(owners)

    def models(self) -> set[str]:
        """The models any team may use."""
        return {model for owner in self._owners for model in owner.team.models}

    def owner(self, key: bytes) -> Owner | None:
        """Takes the same time whatever the key: no comparison ends early and none is skipped."""
        digest = hashlib.sha256(key).hexdigest()
        found = None
        for owner in self._owners:
            if hmac.compare_digest(owner.digest, digest):
                found = owner
        return found


def parse(text: str, teams: Mapping[str, Team]) -> KeyRing:
    """Reads TEAM_KEY_HASHES: JSON, team → list of SHA-256 hex digests.

    Raises ValueError that names the team. What stands in place of a digest is not repeated: whoever mixes up keys
    and digests must not find a key in a log.
    """
    try:
        document = json.loads(text)
    except ValueError:
        raise ValueError("not JSON") from None  # json's error would quote the text
    if not isinstance(document, dict):
        raise ValueError("expected an object: team → list of SHA-256 digests")  # noqa: TRY004 - bad content
    seen: set[str] = set()
    for team, digests in document.items():
        if team not in teams:
            raise ValueError(f"team {team} has keys but is not in teams.json")
        if not isinstance(digests, list) or not digests:
            raise ValueError(f"team {team}: expected a list of at least one digest")
        for digest in digests:
            if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                raise ValueError(f"team {team}: not a SHA-256 digest of 64 lower-case hexadecimal digits")
            if digest in seen:
                raise ValueError(f"team {team}: one of its keys is listed twice or belongs to another team too")
            seen.add(digest)
    without = sorted(set(teams) - set(document))
    if without:
        raise ValueError(f"no keys for {', '.join(without)}")
    return KeyRing(Owner(teams[team], digest) for team, digests in document.items() for digest in digests)
