"""`pulumi-resource-command`: `local.Command` of pulumi-command.

Left out, each with an error that says so: assets and archives, `local.run`, everything `remote`.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc
from pulumi.runtime.proto import provider_pb2_grpc as service

from toolchain.plugins import groups, server
from toolchain.plugins.provider import Kind, Provider, ResourceError
from toolchain.plugins.values import Properties

VERSION = "1.2.1"
"""The version of pulumi-command whose inputs and outputs these are."""
INTERPRETER = ["/bin/sh", "-c"]
LOGGED = {
    None: {"stdout", "stderr"},
    "stdoutAndStderr": {"stdout", "stderr"},
    "stdout": {"stdout"},
    "stderr": {"stderr"},
    "none": set[str](),
}
"""The input `logging` → the streams that are shown while the command runs."""
LAST_LINES = 20
"""How much of its output a failed command's error repeats."""
LOG_TIMEOUT_S = 10.0

Log = Callable[[str, str], None]
"""URN, line."""


class Command(Kind):
    """Runs a shell command when it is created, updated or deleted."""

    computed = frozenset({"stdout", "stderr"})

    def __init__(self, running: groups.Groups, log: Log) -> None:
        self._running = running
        self._log = log

    def problems(self, inputs: Properties) -> Mapping[str, str]:
        refused = {
            name: "needs the official plugin `command`: this one, of the project's toolchain, knows no assets"
            for name in ("assetPaths", "archivePaths")
            if inputs.values.get(name)
        }
        logging = inputs.values.get("logging")
        if "logging" not in inputs.unknown and logging not in LOGGED:
            refused["logging"] = f"must be one of stdout, stderr, stdoutAndStderr and none; it is {logging}"
        return refused

    def planned(self, inputs: Properties) -> dict[str, Any]:
        return {name: value for name, value in inputs.values.items() if value is not None}

    def secrets(self, inputs: Properties) -> frozenset[str]:
        # What a command prints may hold any of its inputs.
        return inputs.secret | (self.computed if inputs.secret else frozenset())

    def replaced_by(self, changed: frozenset[str]) -> frozenset[str]:
        return changed & {"triggers"}

    def create(self, name: str, urn: str, inputs: Properties) -> tuple[str, dict[str, Any]]:
        return f"{name}{secrets.token_hex(4)}", self._run("create", urn, inputs, previous={})

    def update(self, urn: str, outputs: Properties, inputs: Properties) -> dict[str, Any]:
        operation = "update" if inputs.values.get("update") else "create"
        return self._run(operation, urn, inputs, previous=outputs.values)

    def delete(self, urn: str, outputs: Properties) -> None:
        self._run("delete", urn, outputs, previous=outputs.values)

    def _run(self, operation: str, urn: str, inputs: Properties, previous: Mapping[str, Any]) -> dict[str, Any]:
        script = inputs.values.get(operation)
        if not script:
            return {name: previous.get(name, "") for name in self.computed}
        logged = LOGGED[inputs.values.get("logging")]
        name = urn.rsplit("::", 1)[-1]
        try:
            process = self._running.start(
                [*(inputs.values.get("interpreter") or INTERPRETER), script],
                cwd=inputs.values.get("dir"),
                env=_environment(inputs.values, previous),
                stdin=groups.PIPE, stdout=groups.PIPE, stderr=groups.PIPE,
            )  # fmt: skip
        except groups.StoppedError:
            raise ResourceError(
                f"The {operation} command of {name} was not started: the operation was cancelled."
            ) from None
        except OSError as error:
            raise ResourceError(f"The {operation} command of {name} cannot be started: {error}.") from None
        printed: dict[str, list[str]] = {"stdout": [], "stderr": []}
        readers = [
            threading.Thread(target=self._collect, args=(stream, printed[label], urn if label in logged else None))
            for label, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        for reader in readers:
            reader.start()
        groups.feed(process.stdin, inputs.values.get("stdin") or "")
        code = self._running.wait(process)
        for reader in readers:
            reader.join()
        if code:
            shown = "".join(line for label in ("stdout", "stderr") if label in logged for line in printed[label])
            raise ResourceError(
                f"The {operation} command of {name} {groups.ending(code)}. {_last(shown, bool(logged))}"
            )
        return {label: "".join(lines).removesuffix("\n") for label, lines in printed.items()}

    def _collect(self, stream: IO[bytes], lines: list[str], urn: str | None) -> None:
        for line in stream:
            lines.append(line.decode(errors="replace"))
            if urn:
                self._log(urn, lines[-1].rstrip("\n"))


def _environment(inputs: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, str]:
    variables = {**os.environ, **(inputs.get("environment") or {})}
    if inputs.get("addPreviousOutputInEnv") is not False:
        for name in ("stdout", "stderr"):
            if name in previous:
                variables[f"PULUMI_COMMAND_{name.upper()}"] = previous[name]
    return variables


def _last(output: str, logged: bool) -> str:
    if not logged:
        return "It ran with logging: none, so its output is not shown; run it by hand to see it."
    lines = output.rstrip().splitlines()[-LAST_LINES:]
    return "It printed:\n" + "\n".join(lines) if lines else "It printed nothing."


class EngineLog:
    """Lines to the engine's display, under the resource they belong to."""

    def __init__(self, address: str) -> None:
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    def __call__(self, urn: str, line: str) -> None:
        request = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=line, urn=urn)
        try:
            self._engine.Log(request, timeout=LOG_TIMEOUT_S)
        except grpc.RpcError:
            return  # The engine is gone; the command is about to be ended.


class CommandProvider(Provider):
    def __init__(self, log: Log) -> None:
        self._running = groups.Groups()
        super().__init__("command", VERSION, {"command:local:Command": Command(self._running, log)})

    def stop(self) -> None:
        self._running.stop()


def main(arguments: Sequence[str]) -> None:
    """`[flags of the engine] ENGINE_ADDRESS`."""
    provider = CommandProvider(EngineLog(arguments[-1]))
    server.serve(
        lambda grpc_server: service.add_ResourceProviderServicer_to_server(provider, grpc_server), provider.stop
    )
