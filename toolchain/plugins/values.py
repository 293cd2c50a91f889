"""Property values as they cross the wire: marks of secrets and of values not known yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format, struct_pb2

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a mark on the wire, no secret
ASSETS = {"c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"}  # asset, archive
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands for a value that a preview cannot know. From Pulumi's `sdk/go/common/resource`, like the three above."""


@dataclass(frozen=True)
class Properties:
    """A resource's properties without marks, and which of them carried one at any depth."""

    values: dict[str, Any]
    secret: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


def read(struct: struct_pb2.Struct) -> Properties:
    values: dict[str, Any] = {}
    secret, unknown = set(), set()
    for name, value in json_format.MessageToDict(struct).items():
        marks: set[str] = set()
        values[name] = _plain(value, marks)
        secret |= {name} if SECRET in marks else set()
        unknown |= {name} if UNKNOWN in marks else set()
    return Properties(values, frozenset(secret), frozenset(unknown))


def write(values: Mapping[str, Any], secret: Collection[str]) -> struct_pb2.Struct:
    """The reverse; `secret` names the properties to mark as a whole."""
    struct = struct_pb2.Struct()
    marked = {
        name: {SIGNATURE: SECRET, "value": value} if name in secret else value
        for name, value in values.items()
        if value is not None
    }
    return json_format.ParseDict(marked, struct)


def _plain(value: Any, marks: set[str]) -> Any:
    if isinstance(value, list):
        return [_plain(item, marks) for item in value]
    if isinstance(value, dict):
        signature = value.get(SIGNATURE)
        if signature == SECRET:
            marks.add(SECRET)
            return _plain(value.get("value"), marks)
        if signature in ASSETS:
            marks.add(signature)
        return {name: _plain(item, marks) for name, item in value.items()}
    if value == UNKNOWN:
        marks.add(UNKNOWN)
    # Numbers cross the wire as floats; a whole one was written as an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value
