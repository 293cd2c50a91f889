"""The pages say what the program has."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def test_every_setting_stands_on_its_page_and_no_other() -> None:
    keys = set(yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"])
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == keys


def test_every_output_stands_on_its_page_and_no_other() -> None:
    exported = set(re.findall(r'pulumi\.export\("(\w+)"', (ROOT / "__main__.py").read_text()))
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "docs/outputs.md").read_text(), re.MULTILINE)
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == exported


def test_every_page_the_readme_names_exists() -> None:
    named = re.findall(r"`(docs/[\w.-]+)`", (ROOT / "README.md").read_text())
    assert named
    assert [page for page in named if not (ROOT / page).exists()] == []
