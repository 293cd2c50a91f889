"""What an unchanged `preview` and `up` of the stack cost, against programs that do nothing.

    .venv/bin/python -m bench.pulumi_overhead [--runs 5]

Three programs, in turn within one run, because machines are noisy and only ratios hold:
  stack   the real program against its embedded Fly, unchanged
  floor   as many resources of the same kinds (dynamic, random, components), whose providers do nothing
  empty   no resource at all
Prints median seconds and ratios. Goals: preview without refresh at most 1.3 x floor, up with refresh at most 2 x.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from local.stack import LocalStack
from local.state import ROOT, State

COMMANDS = {
    "preview without refresh": ("preview", "--refresh=false", "--expect-no-changes"),
    "up with refresh": ("up", "--yes", "--skip-preview"),
}
TIMEOUT_S = 300

FLOOR_PROVIDER = """
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Nothing(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props):
        return CreateResult("nothing", props)


class Idle(Resource):
    def __init__(self, name, opts=None):
        super().__init__(Nothing(), name, {"value": name}, opts)
"""
FLOOR_PROGRAM = """
import pulumi
from floor import Idle
from pulumi_random import RandomPassword

counts = {counts}
parents = [pulumi.ComponentResource("bench:floor:Part", f"part-{{n}}") for n in range(counts["component"])]
for n in range(counts["dynamic"]):
    Idle(f"idle-{{n}}")
for n in range(counts["random"]):
    RandomPassword(f"password-{{n}}", length=48, special=False)
"""


def resource_counts(stack: LocalStack) -> dict[str, int]:
    exported = json.loads(run(["pulumi", "stack", "export"], environment(stack)))
    types = [resource["type"] for resource in exported["deployment"]["resources"]]
    return {
        "dynamic": sum("dynamic/" in kind for kind in types),
        "random": sum(kind.startswith("random:") for kind in types),
        "component": sum(kind.startswith("gateway:") for kind in types),
    }


def environment(stack: LocalStack) -> dict[str, str]:
    return {**stack.environment(), "HOME": str(Path.home())}


def run(command: list[str], environment: Mapping[str, str], folder: Path = ROOT) -> str:
    return subprocess.run(
        [*command, "--non-interactive"],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    ).stdout


def idle_project(folder: Path, name: str, files: Mapping[str, str], stack: LocalStack) -> dict[str, str]:
    """A project of its own in `folder`, up once; returns the environment its commands need."""
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    project = (folder / "Pulumi.yaml").read_text().split("\nconfig:")[0].replace("hotdash-llm-gateway", name, 1)
    (folder / "Pulumi.yaml").write_text(project)
    own = {key: value for key, value in environment(stack).items() if not key.startswith(("PULUMI_OPTION", "FLY_"))}
    run(["pulumi", "stack", "init", own["PULUMI_STACK"]], own, folder)
    run(["pulumi", "up", "--yes", "--skip-preview"], own, folder)
    return own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each program, after one warm-up")
    parser.add_argument("--state", type=Path, default=ROOT / ".local", help="a stack that is up")
    arguments = parser.parse_args()
    stack = LocalStack(State(arguments.state.resolve()))
    counts = resource_counts(stack)
    with tempfile.TemporaryDirectory() as scratch:
        floor, empty = Path(scratch) / "floor", Path(scratch) / "empty"
        files = {"floor.py": FLOOR_PROVIDER, "__main__.py": FLOOR_PROGRAM.format(counts=counts)}
        programs = {
            "stack": (ROOT, environment(stack)),
            "floor": (floor, idle_project(floor, "floor", files, stack)),
            "empty": (empty, idle_project(empty, "empty", {"__main__.py": ""}, stack)),
        }
        print(f"resources: {counts}; {arguments.runs} runs each, in turn; median seconds (min to max)")
        for label, command in COMMANDS.items():
            times: dict[str, list[float]] = {name: [] for name in programs}
            for _ in range(arguments.runs + 1):
                for name, (folder, variables) in programs.items():
                    began = time.perf_counter()
                    run(["pulumi", *command], variables, folder)
                    times[name].append(time.perf_counter() - began)
            counted = {name: values[1:] for name, values in times.items()}
            for name, values in counted.items():
                print(
                    f"{label:<24} {name:<6} {statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"
                )
            ratios = [a / b for a, b in zip(counted["stack"], counted["floor"], strict=True)]
            print(f"{label:<24} stack / floor, median of pairs: {statistics.median(ratios):.2f}\n")


if __name__ == "__main__":
    main()
