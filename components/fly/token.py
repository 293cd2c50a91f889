"""Fly's tokens and the scheme word each kind wants."""

from __future__ import annotations

SCHEMES = ("flyv1", "bearer")
MACAROONS = ("fm1r_", "fm1a_", "fm2_")


def authorization(token: str) -> str:
    """The Authorization header for `token`, with exactly one scheme word.

    `fly tokens create` prints the word FlyV1 as part of the token; a second one in front of it is answered
    with 401. Macaroons (also several, separated by commas) go as FlyV1, everything else as Bearer.
    """
    first, _, rest = token.strip().partition(" ")
    bare = rest.strip() if first.lower() in SCHEMES else token.strip()
    is_macaroon = any(part.strip().startswith(MACAROONS) for part in bare.split(","))
    return f"{'FlyV1' if is_macaroon else 'Bearer'} {bare}"
