from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from local.settings import Settings, SettingsError, load, save

GOOD: dict[str, Any] = {"api_port": 4280, "token": "a-token", "network": 77}


def test_what_was_saved_is_loaded_and_only_the_owner_can_read_it(tmp_path: Path) -> None:
    settings = Settings(**GOOD, hostnames={"gateway.example.com": 8443}, proxy_port=8080, rate_limits=False)
    for _ in range(2):
        save(tmp_path / "state", settings)
    assert load(tmp_path / "state") == settings
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["settings.json"]
    assert stat.S_IMODE((tmp_path / "state/settings.json").stat().st_mode) == 0o600


def test_the_token_does_not_show(tmp_path: Path) -> None:
    assert "a-token" not in repr(Settings(**GOOD))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (json.dumps({**GOOD, "network": 300}), "network 300"),
        (json.dumps({**GOOD, "token": "Bearer a-token"}), "token: must be one word"),
        (json.dumps({**GOOD, "token": ""}), "token"),
        (json.dumps({**GOOD, "colour": "red"}), "colour"),
        (json.dumps({**GOOD, "api_port": "high"}), "api_port"),
        (json.dumps({"api_port": 1}), "token"),
        ("{", "settings"),
    ],
)
def test_wrong_settings_say_what_is_wrong_and_not_the_token(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(SettingsError) as refused:
        load(tmp_path)
    assert problem in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "a-token" not in str(refused.value)


def test_a_folder_without_settings_is_no_state_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no state folder"):
        load(tmp_path)
