"""Why a machine could not be started, in words that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

from local.machines.shim import Report

# Kernel settings that forbid what a machine is made of: path, the value that forbids, the command that allows.
SWITCHES = (
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"),
)
NAMESPACE_STEPS = ("unshare", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups", "mount ")
IN_A_CONTAINER = "in a container, start it with --security-opt seccomp=unconfined --security-opt systempaths=unconfined"


def explain(machine: str, report: Report) -> str:
    """The text of the LaunchError: the machine, the step that failed and, if the host forbids it, what to allow."""
    step, number = report.get("step", "start"), report.get("errno", 0)
    text = f"machine {machine} does not start: {step}: {report['error']}"
    if step.startswith("mount_setattr") and number == errno.ENOSYS:
        return f"{text}. Machines need Linux 5.12 or newer."
    if step.startswith(NAMESPACE_STEPS) and number in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL):
        return f"{text}. This host forbids user namespaces, which machines are made of. {remedy(_settings())}"
    return text


def remedy(settings: Mapping[str, str]) -> str:
    """What to allow, by the kernel's settings: path → value."""
    commands = [command for path, value, command in SWITCHES if settings.get(path) == value]
    if commands:
        return f"Allow them: {' && '.join(commands)}"
    return f"Allow them: {IN_A_CONTAINER}; elsewhere ask for unprivileged user namespaces."


def _settings() -> dict[str, str]:
    return {path: Path(path).read_text().strip() for path, _, _ in SWITCHES if Path(path).exists()}
