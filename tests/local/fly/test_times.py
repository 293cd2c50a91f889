from __future__ import annotations

import pytest

from local.fly.times import go_duration, nanoseconds, rfc3339


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("15s", "15s"),
        (15_000_000_000, "15s"),
        ("60s", "1m0s"),
        ("90m", "1h30m0s"),
        ("1m30.5s", "1m30.5s"),
        ("0.1s", "100ms"),
        (1_500, "1.5µs"),
        ("10s", "10s"),
        ("100s", "1m40s"),
        (0, "0s"),
        ("0s", "0s"),
    ],
)
def test_durations_come_back_as_go_writes_them(sent: str | int, answered: str) -> None:
    assert go_duration(nanoseconds(sent)) == answered


@pytest.mark.parametrize("text", ["", "15", "s", "1 s", "-1s", "1d", "1s "])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be like 15s"):
        nanoseconds(text)


@pytest.mark.parametrize("sent", [-1, 2**63, "9" * 20 + "h"])
def test_a_duration_is_one_that_go_can_hold(sent: str | int) -> None:
    with pytest.raises(ValueError, match="292 years"):
        nanoseconds(sent)


def test_points_in_time_are_rfc_3339() -> None:
    assert rfc3339(1_700_000_000.25) == "2023-11-14T22:13:20.250000Z"
