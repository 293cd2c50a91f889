"""`scripts/local`: the whole stack on this machine."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local import faults_cli
from local.stack import LocalStack
from local.state import DEFAULT_FOLDER, ROOT, LocalError, State
from toolchain import caddy, litellm
from toolchain.errors import ToolchainError

app = typer.Typer(
    help="The whole stack on this machine: the same Pulumi program, against an embedded Fly.io on loopback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(faults_cli.app, name="faults")
# Names, paths and other programs' words are printed as they are: brackets and colons in them are no markup.
say = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
show = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def state_folder(given: str | Path) -> Path:
    """Raises BadParameter: an empty name would be the current folder."""
    if not str(given):
        raise typer.BadParameter("the name is empty: name a folder")
    return Path(given).resolve()


StateFolder = Annotated[
    Path,
    typer.Option(
        "--state",
        help="Folder of the stack's state; another folder is another stack.",
        show_default=".local",
        metavar="FOLDER",
        parser=state_folder,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs. Holds secrets.")]


@app.command()
def up(state: StateFolder = DEFAULT_FOLDER) -> None:
    """Starts the embedded Fly.io and runs `pulumi up`. Again: changes only what differs."""
    stack = LocalStack(State(state))
    with stack.state.held():
        with say.status("programs for machines: Caddy, LiteLLM"):
            caddy.ensure()
            litellm.ensure()
        with say.status("embedded Fly.io and provider"):
            stack.start_fly()
            openai_base_url, openai_api_key = stack.start_provider()
        with say.status("stack and configuration"):
            stack.configure(openai_base_url, openai_api_key)
        code = stack.pulumi.run("up", "--yes", "--skip-preview", "--suppress-permalink=true")
        if code:
            for machine in stack.machines():
                if machine["failure"]:
                    say.print(
                        f"machine {machine['name']} cannot run: {machine['failure']}", markup=False, soft_wrap=True
                    )
            say.print("pulumi up did not finish. What it made is kept; `scripts/local up` goes on from there.")
            raise typer.Exit(code)
        stack.publish_dns()
    print_summary(stack)


def print_summary(stack: LocalStack) -> None:
    program = "scripts/local" if Path.cwd() == ROOT else shlex.quote(str(ROOT / "scripts/local"))
    option = "" if stack.state.folder == DEFAULT_FOLDER else f" --state {shlex.quote(str(stack.state.folder))}"
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]})
    show.print(f"\nThe gateway answers at {stack.url('gateway')}. Try:\n")
    show.print(
        f"curl {stack.url('gateway')}/v1/chat/completions -H 'content-type: application/json' "
        f"-H \"authorization: Bearer $({program} key prod_customer{option})\" -d '{body}'\n",
    )


@app.command()
def down(state: StateFolder = DEFAULT_FOLDER) -> None:
    """Ends every process and keeps the state; `up` continues from it."""
    stack = existing(state)
    with stack.state.held(), say.status("ending machines, databases and the embedded Fly.io"):
        stack.down()
    say.print("down: no process is left, the state is kept")


@app.command()
def reset(state: StateFolder = DEFAULT_FOLDER) -> None:
    """`down`, then forgets everything: state, keys, ports."""
    stack = LocalStack(State(state))
    stack.state.check()
    kept: list[str] = []
    if stack.state.is_ours:
        with stack.state.held(), say.status("ending machines, databases and the embedded Fly.io"):
            kept = stack.reset()
    say.print("reset: nothing is left of the local stack")
    if kept:
        say.print(f"{state} stays, for what is not the stack's: {', '.join(kept)}")


@app.command()
def status(state: StateFolder = DEFAULT_FOLDER, as_json: AsJson = False) -> None:
    """What runs, where it answers, what stands in for what."""
    stack = existing(state)
    description = stack.describe()
    if as_json:
        print(json.dumps(description, indent=2))  # noqa: T201 - the answer itself, for programs
    else:
        print_status(description)
    if description["problems"]:
        raise typer.Exit(1)


def print_status(description: dict[str, Any]) -> None:
    cells = ("name", "group", "state", "address", "pid", "failure")
    table = Table(*cells)
    for machine in description["machines"]:
        table.add_row(*(str(machine[cell] or "-") for cell in cells))
    for problem in description["problems"]:
        show.print(f"problem: {problem}")
    if description["machines"]:
        show.print(table, soft_wrap=False)
    elif not description["problems"]:
        show.print("No machine runs. `scripts/local up` starts them.")
    for name in ("gateway_url", "langfuse_url", "fly_api_url", "state_folder"):
        show.print(f"{name:<13} {description[name]}")
    for name, text in description["stand_ins"].items():
        show.print(f"stand-in      {name}: {text}")


@app.command()
def logs(
    group: Annotated[str, typer.Argument(help="edge, gateway, …; or fly, provider")],
    state: StateFolder = DEFAULT_FOLDER,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines of each log.")] = 100,
) -> None:
    """Logs of a process group, of the embedded Fly (fly), or of the provider."""
    stack = existing(state)
    own = {"fly": [stack.state.logs / "fly.log", stack.state.daemon_log], "provider": [stack.provider_log]}
    kept = stack.state.machine_logs()
    machines = [] if group in own else [machine for machine in stack.machines() if machine["group"] == group]
    for machine in machines:
        if machine["failure"]:
            show.print(f"{machine['name']}: {machine['failure']}")
    wanted = own.get(group) or [Path(machine["log"]) for machine in machines] or kept.get(group, [])
    files = [file for file in wanted if file.exists()]
    if not files:
        raise LocalError(f"no log of {group!r}; there are {', '.join(sorted(kept.keys() | own.keys()))}")
    subprocess.run(
        ["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), "--", *map(str, files)], check=False
    )


@app.command()
def env(state: StateFolder = DEFAULT_FOLDER) -> None:
    """Prints what points pulumi, curl and Fly's own client here: `eval "$(scripts/local env)"`."""
    for name, value in existing(state).environment().items():
        print(f"export {name}={shlex.quote(value)}")  # noqa: T201 - the answer itself, for the shell


@app.command()
def key(
    team: Annotated[str, typer.Argument(help="a team of the stack, for example prod_customer")],
    state: StateFolder = DEFAULT_FOLDER,
) -> None:
    """Prints a team's key."""
    keys = existing(state).team_keys()
    if team not in keys:
        raise LocalError(f"no team {team!r}; there are {', '.join(sorted(keys)) or 'none yet: run scripts/local up'}")
    print(keys[team])  # noqa: T201 - the answer itself, for $(…)


def existing(folder: Path) -> LocalStack:
    stack = LocalStack(State(folder))
    if not stack.state.exists:
        raise LocalError(f"there is no local stack in {folder}; `scripts/local up` makes one")
    return stack


def main() -> None:
    os.umask(0o077)  # what is written here and by pulumi holds secrets
    try:
        app(prog_name="scripts/local")
    except (LocalError, ToolchainError, OSError) as error:
        say.print(Text("error:", "red"), str(error))
        sys.exit(1)
