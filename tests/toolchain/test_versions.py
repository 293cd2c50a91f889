from __future__ import annotations

from pathlib import Path

import pytest

from toolchain import pulumi, versions
from toolchain.errors import ToolchainError


@pytest.mark.parametrize(
    ("version", "required", "expected"),
    [
        ("3.259.0", ">=3.259.0", True),
        ("3.258.9", ">=3.259.0", False),
        ("3.1000.0", ">=3.259.0", True),  # a comparison of texts would say no
        ("3.259.0-alpha.1", ">=3.259.0", False),
        ("3.272.0+dirty", ">=3.259.0", True),
        ("4.0.0", ">=3.259.0 <4.0.0", False),
        ("3.260.0", ">=3.259.0 !3.260.0", False),
        ("5.1.0", "<4.0.0 || >=5.0.0", True),
        ("4.5.0", "<4.0.0 || >=5.0.0", False),
        ("3.259.0", "3.259.0", True),
    ],
)
def test_a_range_is_read_as_pulumi_reads_it(version: str, required: str, expected: bool) -> None:
    assert versions.satisfies(version, required) is expected


@pytest.mark.parametrize("text", ["", "3.259", "latest", "~3.259.0"])
def test_what_is_no_condition_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"3\.259\.0"):
        versions.satisfies("3.259.0", text or ">=")


@pytest.mark.parametrize("line", ["'>=3.1.0'", '">=3.1.0"', ">=3.1.0", '">=3.1.0"  # why'])
def test_the_range_is_found_in_the_project_file(tmp_path: Path, line: str) -> None:
    project = tmp_path / "Pulumi.yaml"
    project.write_text(f"name: x\nrequiredPulumiVersion: {line}\nmain: .\n")
    assert versions.required(project) == ">=3.1.0"


def test_a_project_without_a_range_is_told_to_have_one(tmp_path: Path) -> None:
    project = tmp_path / "Pulumi.yaml"
    project.write_text("name: x\n")
    with pytest.raises(ToolchainError, match="requiredPulumiVersion"):
        versions.required(project)


def test_the_engine_that_would_be_built_is_one_the_project_accepts() -> None:
    assert versions.satisfies(pulumi.PROGRAM.version, versions.required(pulumi.PROJECT))
