"""Whatever is killed at whatever call to Fly, the next run converges.

Every call of a first `up`, of a change of an image, of a secret and of a size, and of a `destroy` is interrupted:
before it reaches Fly, and after Fly has carried it out (a read only before: on both its sides everything is the same).
Killed is the program, the provider's process, or the engine. What an engine leaves running goes on, as it does for a
person.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from tests.interruptions import inventory
from tests.interruptions.calls import Call, Side, load
from tests.interruptions.record import command, recorded
from tests.interruptions.stack import CHANGES, NAME, Run, Stack, Victim

pytestmark = pytest.mark.end_to_end

CALLS = load()
KILL_S = 10
QUICK = {
    "up: POST interrupted #1 after engine",
    "up: POST interrupted/ip_assignments v6 #1 after engine",
    "up: mutation createAddOn #1 after provider",
    "up: POST interrupted/machines gateway-1 #1 after program",
    "image: POST interrupted/machines/gateway-1 #1 after provider",
    "secret: POST interrupted/secrets #1 after provider",
    "size: POST interrupted/machines/gateway-1/lease #1 after engine",
    "destroy: DELETE interrupted/machines/gateway-2 #1 after provider",
}


@dataclass(frozen=True)
class Case:
    phase: str
    call: Call
    side: Side
    victim: Victim

    def __str__(self) -> str:
        return f"{self.phase}: {self.call} {self.side} {self.victim}"


def cases() -> Iterator[Any]:
    for phase, calls in CALLS.items():
        for call in calls:
            for side in call.sides:
                for victim in get_args(Victim):
                    case = Case(phase, call, side, victim)
                    yield pytest.param(case, id=str(case), marks=[] if str(case) in QUICK else pytest.mark.full)


@pytest.mark.parametrize("case", list(cases()))
def test_the_next_run_converges(stack: Stack, case: Case, record_property: Any) -> None:
    with stack.at(case.phase):
        run = stack.begin(command(case.phase), "--yes", "--skip-preview")
        try:
            record_property("interruption", (case.phase, str(case.call), interrupt(stack, case, run)))
            stack.gate.begin()
            converge(stack, case.phase)
        finally:
            run.end()


def interrupt(stack: Stack, case: Case, run: Run) -> str:
    """`killed`; `ended` when the victim had nothing left to do; `not reached` when the run had no such call."""
    killed: queue.SimpleQueue[bool] = queue.SimpleQueue()
    stack.gate.arm(case.call, case.side, lambda: killed.put(run.kill(case.victim)))
    code = run.wait()
    sprung = stack.gate.sprung
    check_listed(case.phase, stack.gate.calls[: stack.gate.calls.index(case.call)] if sprung else stack.gate.calls)
    if not sprung:
        assert not case.call.changes and case.call.number > 1, f"no run has the call {case.call}:\n{run.out}"
        assert code == 0, run.out
        return "not reached"
    if case.victim == "engine":
        stack.pulumi("cancel", "--yes")
    # The gate's thread says so a moment after the run has ended of it.
    return "killed" if killed.get(timeout=KILL_S) else "ended"


def converge(stack: Stack, phase: str) -> None:
    """The same command again, which has to mend everything, and a third one, which has nothing to do."""
    stack.pulumi(command(phase), "--yes", "--skip-preview")
    if phase == "destroy":
        inventory.check_nothing_is_left(stack)
        stack.gate.begin()
        stack.pulumi("destroy", "--yes", "--skip-preview")
        assert not stack.gate.calls, "there was something left to ask Fly about"
    else:
        inventory.check_everything_is_there(stack, CHANGES[phase])
        stack.pulumi("preview", "--expect-no-changes")


@pytest.mark.full
def test_a_killed_runs_lease_is_waited_for(stack: Stack) -> None:
    """With the minute that the program asks for; the cases above have it shortened."""
    case = Case("image", Call(f"POST {NAME}/machines/gateway-1/lease", 1), "after", "provider")
    stack.gate.short_leases = False
    try:
        with stack.at(case.phase):
            run = stack.begin("up", "--yes", "--skip-preview")
            try:
                assert interrupt(stack, case, run) == "killed"
                stack.gate.begin()
                converge(stack, case.phase)
            finally:
                run.end()
            tries = [call for call in stack.gate.calls if call.name == case.call.name]
        assert len(tries) > 1, "the lease was in the way"
    finally:
        stack.gate.short_leases = True


@pytest.mark.full
def test_the_warning_that_a_killed_engine_leaves_can_be_cleared(stack: Stack) -> None:
    case = Case("up", Call(f"POST {NAME}", 1), "after", "engine")
    with stack.at(case.phase):
        run = stack.begin("up", "--yes", "--skip-preview")
        try:
            assert interrupt(stack, case, run) == "killed"
            converge(stack, case.phase)
            assert stack.pulumi_state()["pending_operations"]
            stack.pulumi("refresh", "--yes", "--skip-preview", "--clear-pending-creates")
            assert not stack.pulumi_state().get("pending_operations")
            inventory.check_everything_is_there(stack, {})
        finally:
            run.end()


def test_the_backend_has_no_file_that_a_kill_can_leave_half_written(stack: Stack) -> None:
    """It writes the state itself at once; the headers that it may keep beside each file it does not."""
    kept = [path for path in (stack.snapshots / "finished" / "backend").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if path.suffix == ".attrs"]


@pytest.mark.parametrize("phase", ["up", *(pytest.param(p, marks=pytest.mark.full) for p in CALLS if p != "up")])
def test_every_call_has_its_cases(stack: Stack, phase: str) -> None:
    seen = stack.first_up if phase == "up" else recorded(stack, phase)
    check_listed(phase, seen)
    assert {call.name for call in seen} == {call.name for call in CALLS[phase]}


def check_listed(phase: str, seen: list[Call]) -> None:
    """How often something is read may differ between two runs; everything else is known."""
    known, names = set(CALLS[phase]), {call.name for call in CALLS[phase]}
    missing = [str(call) for call in seen if call not in known and (call.changes or call.name not in names)]
    assert not missing, f"calls without a case; write the list anew (tests/interruptions/record.py): {missing}"
