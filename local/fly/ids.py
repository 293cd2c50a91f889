"""Identifiers in the forms of Fly's own, since clients check them."""

from __future__ import annotations

import hashlib
import secrets
import time

# Crockford's alphabet, which ULIDs are written in.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_RANDOM_BITS = 80
_ULID_CHARACTERS = 26


def ulid() -> str:
    """26 characters that sort by time: versions of machines, events, requests."""
    number = int(time.time() * 1000) << _ULID_RANDOM_BITS | secrets.randbits(_ULID_RANDOM_BITS)
    return "".join(_ALPHABET[number >> (5 * place) & 31] for place in reversed(range(_ULID_CHARACTERS)))


def machine_id() -> str:
    """14 hexadecimal digits."""
    return secrets.token_hex(7)


def volume_id() -> str:
    return "vol_" + _word(16)


def opaque_id() -> str:
    """Apps and add-ons; organizations derive theirs from the slug, see `derived`."""
    return _word(16)


def lease_nonce() -> str:
    return secrets.token_hex(6)


def machine_name() -> str:
    """What a machine without a name gets."""
    return f"{_word(6)}-{_word(6)}-{secrets.randbelow(10_000)}"


def derived(text: str, length: int) -> str:
    """The same word for the same text."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def numeric_id(text: str) -> int:
    """The same number for the same text. Clients read it as a signed 32-bit number."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) & 0x7FFF_FFFF


def private_ip(machine: str) -> str:
    """A machine's address in Fly's private network. It is for show: the machine really listens on its loopback one."""
    digits = derived(machine, 20)
    groups = [digits[place : place + 4] for place in range(0, 20, 4)]
    return ":".join(["fdaa", "0", *(f"{int(group, 16):x}" for group in groups), "2"])


def _word(length: int) -> str:
    return "".join(secrets.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(length))
