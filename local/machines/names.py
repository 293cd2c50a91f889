"""Private names: every machine's /etc/hosts, replaced whole while the machine runs.

The file stands in a folder that is bound into the machine, behind a link at /etc/hosts: a file that is itself bound
could not be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

GUEST_FOLDER = "/run/names"
GUEST_LINK = "/run/names/hosts"


def hosts_file(address: str, own_names: Sequence[str], names: Mapping[str, Sequence[str]]) -> str:
    """The text of /etc/hosts: one line per name and address, since a name may have several addresses."""
    lines = ["127.0.0.1 localhost", " ".join([address, "fly-local-6pn", *own_names])]
    lines += [f"{place} {name}" for name, places in sorted(names.items()) for place in places]
    return "\n".join(lines) + "\n"


def publish(folder: Path, text: str) -> None:
    """Replaces `folder/hosts` at once: a reader sees the old file or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / "hosts.new"
    fresh.write_text(text)
    fresh.replace(folder / "hosts")
