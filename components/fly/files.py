"""Files of a machine: base64 for Fly, text for people, so that a preview shows which line changes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping
from typing import Any

DEFAULT_MODE = 0o644


def split(
    files: Iterable[Mapping[str, Any]], keep: Collection[str] = ()
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Fly's list → text by guest path, and the rest: binary, of a secret, with a mode, or named in `keep`."""
    texts, rest = {}, []
    for file in files:
        text = None if file["guest_path"] in keep else _text(file)
        if text is None:
            rest.append({key: value for key, value in file.items() if value is not None})
        else:
            texts[file["guest_path"]] = text
    return texts, sorted(rest, key=lambda file: str(file["guest_path"]))


def joined(texts: Mapping[str, str], rest: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The way back to Fly's list."""
    encoded = {path: base64.b64encode(text.encode()).decode() for path, text in sorted(texts.items())}
    return [*({"guest_path": path, "raw_value": value} for path, value in encoded.items()), *map(dict, rest)]


def _text(file: Mapping[str, Any]) -> str | None:
    value = file.get("raw_value")
    if not isinstance(value, str) or file.get("mode") not in (None, 0, DEFAULT_MODE):
        return None
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
