"""`scripts/local faults`: what can go wrong at Fly, on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from local import settings
from local.fly.faults import KINDS
from local.state import DEFAULT_FOLDER, LocalError

TIMEOUT_S = 10

show = Console(highlight=False, markup=False)

KIND_LINES = "\n".join(
    f"  {name:<21} {kind.summary} ({', '.join(kind.moments) or 'until it is cleared'})" for name, kind in KINDS.items()
)
HELP = f"""Makes Fly fail on purpose, to see what the program does then.

A rule says what goes wrong (KIND), at which calls (METHOD, PATH and options) and how often (once).
Rules are in memory: `clear` ends them, and so does a restart of the embedded Fly.
`calls` shows what was called, and under which number.

\b
kinds, and whether they happen before or after the call is carried out (the usual one first):
{KIND_LINES}

\b
examples:
  # a machine is made, but the answer is lost
  scripts/local faults add reset POST '/v1/apps/{{app}}/machines'
  # the second database is made, but the call times out
  scripts/local faults add timeout --operation createAddOn --nth 2
  # HTML in place of JSON, three times, from whatever is below apps
  scripts/local faults add html --regex '/v1/apps/.*' --times 3
  # Fly is busy: 429 with Retry-After
  scripts/local faults add rate_limit GET '/v1/apps/{{app}}/machines/{{machine}}' --seconds 2
  # the embedded Fly dies after the 17th call of a run; `scripts/local up` starts it again
  scripts/local faults calls --mark
  scripts/local faults add crash --call 17 --when after
  scripts/local up
  # a gateway that does not become healthy, until it may
  scripts/local faults add check_fails --object gateway
  scripts/local faults clear
"""

app = typer.Typer(
    help=HELP, short_help="Makes Fly fail on purpose, and shows the calls there were.", no_args_is_help=True
)

StateFolder = Annotated[Path, typer.Option("--state", help="Folder of the stack's state.", show_default=".local")]


@app.command("list")
def list_faults(state: StateFolder = DEFAULT_FOLDER) -> None:
    """The rules in force, and how often each has fired."""
    rules = _ask(state, "GET", "faults")
    table = Table("id", "kind", "fired", "rule")
    for rule in rules:
        said = " ".join(f"{name}={value}" for name, value in rule.items() if name not in ("id", "kind", "fired"))
        table.add_row(str(rule["id"]), rule["kind"], str(rule["fired"]), said)
    show.print(table if rules else "No rule: Fly behaves.")


@app.command()
def add(
    kind: Annotated[str, typer.Argument(help="What goes wrong: `scripts/local faults --help` has the list.")],
    method: Annotated[str | None, typer.Argument(help="GET, POST, PUT, PATCH or DELETE; all where missing.")] = None,
    path: Annotated[
        str | None, typer.Argument(help="A template: '/v1/apps/{app}/machines'. Names may stand in it.")
    ] = None,
    *,
    regex: Annotated[str | None, typer.Option(help="Of the whole path, in place of PATH.")] = None,
    operation: Annotated[str | None, typer.Option(help="A field of GraphQL: createAddOn, or query addOn.")] = None,
    nth: Annotated[int | None, typer.Option(help="From the nth matching call on.")] = None,
    call: Annotated[int | None, typer.Option(help="Only the call of this number: see `calls`.")] = None,
    times: Annotated[int | None, typer.Option(help="How often; 0 is without end.", show_default="1")] = None,
    when: Annotated[str | None, typer.Option(help="before or after the call is carried out.")] = None,
    status: Annotated[int | None, typer.Option(help="Of error and html.")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Of delay, rate_limit (Retry-After), lease_held, and how long a condition holds."),
    ] = None,
    object_: Annotated[
        str | None, typer.Option("--object", help="Machine, process group, hostname or database; all where missing.")
    ] = None,
    state: StateFolder = DEFAULT_FOLDER,
) -> None:
    """Makes one more rule. It counts calls from now on."""
    rule = {
        "kind": kind,
        "method": method and method.upper(),
        "path": path,
        "regex": regex,
        "operation": operation,
        "nth": nth,
        "call": call,
        "times": times,
        "when": when,
        "status": status,
        "seconds": seconds,
        "object": object_,
    }
    made = _ask(state, "POST", "faults", {name: value for name, value in rule.items() if value is not None})
    show.print(f"rule {made['id']}: {KINDS[made['kind']].summary}")


@app.command()
def clear(state: StateFolder = DEFAULT_FOLDER) -> None:
    """Ends all rules. What they did stays done."""
    _ask(state, "DELETE", "faults")


@app.command()
def calls(
    state: StateFolder = DEFAULT_FOLDER,
    mark: Annotated[bool, typer.Option("--mark", help="Forgets them: the next call is number 1.")] = False,
) -> None:
    """What was called since the mark. No status: the answer was not, or not wholly, sent."""
    if mark:
        _ask(state, "DELETE", "calls")
        return
    table = Table("call", "method", "what", "status", "faults")
    for call in _ask(state, "GET", "calls"):
        what = call["operation"] or call["template"]
        table.add_row(str(call["number"]), call["method"], what, str(call["status"] or "-"), " ".join(call["faults"]))
    show.print(table)


def _ask(state: Path, method: str, what: str, body: dict[str, Any] | None = None) -> Any:
    """Raises LocalError: no embedded Fly there, or what it says against the rule."""
    try:
        known = settings.load(state.resolve())
        answer = httpx.request(
            method,
            f"http://127.0.0.1:{known.api_port}/_embedded/{what}",
            headers={"Authorization": f"Bearer {known.token}"},
            json=body,
            timeout=TIMEOUT_S,
            trust_env=False,
        )
    except settings.SettingsError:
        raise LocalError(f"there is no local stack in {state}; `scripts/local up` makes one") from None
    except httpx.TransportError:
        raise LocalError(f"the embedded Fly of {state} does not answer; `scripts/local up` starts it") from None
    if answer.is_error:
        raise LocalError(answer.json()["error"])
    return answer.json() if answer.content else None
