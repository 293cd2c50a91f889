from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.local import Local


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One stack for the tests of this worker that leave it as they found it."""
    stack = Local(tmp_path_factory.mktemp("stack"))
    try:
        stack.run("up")
        yield stack
    finally:
        stack.run("reset")


@pytest.fixture(scope="session")
def customer_key(local: Local) -> str:
    key: str = local.status()["teams"]["prod_customer"]
    return key
