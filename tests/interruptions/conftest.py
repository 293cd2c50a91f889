from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interruptions import stack as stacks
from tests.interruptions.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One per worker; every case puts it back to a snapshot."""
    with stacks.made(tmp_path_factory.mktemp("interruptions")) as made:
        yield made
