"""The root as a tree: what is shown, what is made anew, what is refused."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from local.machines.root import Bind, File, Folder, Link, Root, RootError, host_root
from local.machines.shim import Step


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "share" / "doc").mkdir(parents=True)
    (tmp_path / "share" / "doc" / "readme").touch()
    (tmp_path / "share" / "icons").mkdir()
    (tmp_path / "link").symlink_to("share/doc")
    return tmp_path


def steps(root: Root) -> set[Step]:
    return set(root.steps())


def test_folders_on_the_way_are_made() -> None:
    root = Root()
    root.put("/a/b/c", File(b"x", mode=0o600))
    assert root.steps() == [
        ("dir", "/a", 0o755),
        ("dir", "/a/b", 0o755),
        ("file", "/a/b/c", base64.b64encode(b"x").decode(), 0o600),
    ]


def test_only_folders_on_the_way_are_made_anew(host: Path) -> None:
    root = Root()
    root.put("/usr", Bind(host))
    assert steps(root) == {("bind", "/usr", str(host), False)}
    root.put("/usr/share/doc/new", File(b""))
    assert steps(root) == {
        ("dir", "/usr", 0o755),
        ("link", "/usr/link", "share/doc"),
        ("dir", "/usr/share", 0o755),
        ("bind", "/usr/share/icons", str(host / "share/icons"), False),
        ("dir", "/usr/share/doc", 0o755),
        ("bind", "/usr/share/doc/readme", str(host / "share/doc/readme"), False),
        ("file", "/usr/share/doc/new", "", 0o644),
    }


def test_links_are_followed_as_in_the_machine(host: Path) -> None:
    root = Root()
    root.put("/usr", Bind(host))
    root.put("/short", Link("usr/link"))
    root.put("/short/new", File(b""))
    assert ("file", "/usr/share/doc/new", "", 0o644) in steps(root)


def test_a_later_node_replaces_an_earlier_one_and_a_folder_keeps_what_is_there(host: Path) -> None:
    root = Root()
    root.put("/etc/app", Bind(host))
    root.put("/etc/app", Folder())
    assert ("bind", "/etc/app", str(host), False) in steps(root)
    root.put("/etc/app", File(b""))
    assert steps(root) == {("dir", "/etc", 0o755), ("file", "/etc/app", "", 0o644)}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("relative", "must be absolute"),
        ("/a/../b", "without '..'"),
        ("/", "the root itself"),
        ("/file/x", "/file is a file"),
        ("/loop/x", "too many symbolic links"),
        ("/volume/x", "cannot hold files of the machine"),
    ],
)
def test_paths_that_cannot_be(host: Path, path: str, message: str) -> None:
    root = Root()
    root.put("/file", File(b""))
    root.put("/loop", Link("/loop"))
    root.put("/volume", Bind(host, writable=True))
    with pytest.raises(RootError, match=message):
        root.put(path, File(b""))


def test_a_machine_sees_none_of_the_operators_places() -> None:
    shown = [Path(step[2]) for step in host_root(0).steps() if step[0] == "bind"]
    assert shown
    private = [Path(path) for path in ("/home", "/root", "/var", "/run", "/tmp", "/etc/shadow", "/etc/ssl/private")]
    assert not [path for path in shown if path in private or path == Path("/etc")]


def test_an_image_user_has_a_name() -> None:
    passwd = next(step for step in host_root(1001).steps() if step[1] == "/etc/passwd")
    assert b"app:x:1001:1001:" in base64.b64decode(str(passwd[2]))
