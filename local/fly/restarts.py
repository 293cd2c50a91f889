"""What happens to a machine whose main process ended by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.contract import Exit

LONGEST_PAUSE_S = 30.0
# A machine that ran for so long has recovered: earlier failures no longer count. Fly does not say its figure.
STEADY_S = 60.0


def restarts(policy: Mapping[str, Any], exit: Exit, restarts_so_far: int) -> bool:
    """Whether the restart policy starts it again."""
    match policy["policy"]:
        case "always":
            return True
        case "on-failure":
            return exit.exit_code != 0 and restarts_so_far < int(policy["max_retries"])
    return False


def pause(first_s: float, restarts_so_far: int) -> float:
    """Seconds before the next start: doubling, so that a machine which cannot run does not keep the host busy."""
    return float(min(first_s * 2 ** min(restarts_so_far, 10), max(first_s, LONGEST_PAUSE_S)))
