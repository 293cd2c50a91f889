"""What concerns the whole run: the process that reports knows no other conftest when the tests run in workers."""

from tests.interruptions.summary import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
