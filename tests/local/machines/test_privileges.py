"""Machines need no privilege, and a host that forbids them is told apart from a broken machine."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.machines.forbidden import explain, remedy

CHECKOUT = Path(__file__).parents[3]
NOBODY = 65534
SYSTEM_PYTHON = Path("/usr/bin/python3")


def run_one_machine(state: Path, *wrapper: str, python: str = sys.executable) -> dict[str, Any]:
    program = [*wrapper, python, "-m", "tests.local.machines.one_machine", str(state)]
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        yield Path(folder)


def others_can_reach(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user all tests of this folder show the same")
@pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason="needs a Python that every user may run")
@pytest.mark.skipif(not others_can_reach(CHECKOUT / "x"), reason="needs a checkout that every user may read")
def test_an_ordinary_user_can_run_machines(nobodys_folder: Path) -> None:
    as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all")
    seen = run_one_machine(nobodys_folder, *as_nobody, python=str(SYSTEM_PYTHON))
    assert seen == {
        "log": ["0"],
        "inside": {"exit_code": 0, "stdout": "own0\n", "stderr": ""},
        "end": {"instance_id": "v1", "exit_code": 143, "signal": 15},
    }
    kept = nobodys_folder / "volumes" / "vol_1" / "kept"
    assert kept.stat().st_uid == NOBODY


def test_a_host_without_user_namespaces_is_named_with_the_remedy(tmp_path: Path) -> None:
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    seen = run_one_machine(tmp_path, "unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh")
    assert seen == {
        "error": "machine m1 does not start: unshare: No space left on device. This host forbids user namespaces, which"
        " machines are made of. Allow them: sudo sysctl -w user.max_user_namespaces=10000"
    }


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, "apparmor_restrict_unprivileged_userns=0"),
        ({"/proc/sys/kernel/unprivileged_userns_clone": "0"}, "unprivileged_userns_clone=1"),
        ({"/proc/sys/kernel/unprivileged_userns_clone": "1"}, "seccomp=unconfined"),
        ({}, "seccomp=unconfined"),
    ],
)
def test_the_remedy_fits_the_hosts_settings(settings: dict[str, str], advice: str) -> None:
    assert advice in remedy(settings)


def test_another_failure_is_not_called_forbidden() -> None:
    text = explain("m1", {"step": "command nginx", "error": "No such file or directory", "errno": 2})
    assert text == "machine m1 does not start: command nginx: No such file or directory"


def test_an_old_kernel_is_named() -> None:
    text = explain("m1", {"step": "mount_setattr /x", "error": "Function not implemented", "errno": 38})
    assert "Machines need Linux 5.12 or newer." in text
