"""One scheme word, the right one."""

from __future__ import annotations

import pytest

from components.fly.token import authorization


@pytest.mark.parametrize(
    ("token", "header"),
    [
        ("FlyV1 fm2_a,fm2_b", "FlyV1 fm2_a,fm2_b"),
        ("fm2_a", "FlyV1 fm2_a"),
        ("fm1r_a,fo1_b", "FlyV1 fm1r_a,fo1_b"),
        ("Bearer fm1a_a", "FlyV1 fm1a_a"),
        ("flyv1 fm2_a\n", "FlyV1 fm2_a"),
        ("fo1_a", "Bearer fo1_a"),
        ("Bearer  fo1_a", "Bearer fo1_a"),
        ("test-token", "Bearer test-token"),
    ],
)
def test_a_token_gets_the_scheme_of_its_kind_once(token: str, header: str) -> None:
    assert authorization(token) == header
