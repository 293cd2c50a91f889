from __future__ import annotations

import stat
from pathlib import Path

import pytest

from local.fly.objects import App
from local.fly.store import Store


def app(name: str) -> App:
    return App(name=name, id=name, organization="acme", network="", created_at=1.5, salt="salt")


def test_what_was_put_is_there_for_the_next_one_without_closing(tmp_path: Path) -> None:
    first = Store(tmp_path / "s.sqlite")
    for name in ("b", "a"):
        first.apps.put(app(name))
    first.apps.put(App(**{**vars(app("b")), "network": "back"}))
    first.apps.remove(first.apps["a"])
    second = Store(tmp_path / "s.sqlite")
    assert [(found.name, found.network) for found in second.apps] == [("b", "back")]
    assert "a" not in second.apps


def test_a_transaction_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    with pytest.raises(RuntimeError), store.transaction():
        store.apps.put(app("a"))
        raise RuntimeError
    assert list(Store(tmp_path / "s.sqlite").apps) == []
    with store.transaction():
        store.apps.put(app("b"))
    assert [found.name for found in Store(tmp_path / "s.sqlite").apps] == ["b"]


def test_series_go_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    assert [store.next_number("a"), store.next_number("a"), store.next_number("b")] == [1, 2, 1]
    assert Store(tmp_path / "s.sqlite").next_number("a") == 3


def test_only_the_owner_can_read_any_file_of_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.apps.put(app("a"))
    files = list(tmp_path.iterdir())
    assert len(files) > 1, "SQLite has files beside it while it is open"
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
