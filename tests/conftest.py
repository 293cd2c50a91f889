"""What concerns the whole run: the process that reports knows no other conftest when the tests run in workers."""

import hypothesis

from tests.interruptions.summary import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]

# What a drawn example may cost is no property of ours, and machines are noisy.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")
