"""Stops the program at every call it makes to Fly."""

import pytest

# Before anything imports it: what Fly has and what the state has is then shown side by side when they differ.
pytest.register_assert_rewrite("tests.interruptions.inventory")
