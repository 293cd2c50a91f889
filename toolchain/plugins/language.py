"""`pulumi-language-python`: runs a Python program for the engine.

Pulumi's own host has no Go module at the registry. This one serves `options: {toolchain: pip, virtualenv: …}`, which
is all this project uses; any other option is an error rather than ignored.
"""
# ruff: noqa: N802 - the methods have the protocol's names

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2 as messages
from pulumi.runtime.proto import language_pb2_grpc as service
from pulumi.runtime.proto import plugin_pb2

from toolchain.plugins import groups, packages, server

MESSAGE_SHOWN = 32
"""Exit code of a program whose error the user has already seen (`pulumi-language-python-exec`)."""
OPTIONS = {"toolchain": "pip", "virtualenv": None}
"""Runtime options that are understood, and the one value that is, where it matters."""


class HostError(Exception):
    """The program cannot be started; the text is for the user."""


class LanguageHost(service.LanguageRuntimeServicer):
    """`engine` is the engine's address, `executor` the script that sets the SDK up around a program."""

    def __init__(self, engine: str, executor: Path) -> None:
        self._engine = engine
        self._executor = executor
        self._programs = groups.Groups()

    def Handshake(
        self, request: messages.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> messages.LanguageHandshakeResponse:
        return messages.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo()

    def GetRequiredPackages(
        self, request: messages.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> messages.GetRequiredPackagesResponse:
        """The plugins that the packages in the program's environment name."""
        found = packages.plugins(_environment(request.info, context))
        return messages.GetRequiredPackagesResponse(
            packages=[
                plugin_pb2.PackageDependency(
                    name=plugin.name, kind="resource", version=plugin.version, server=plugin.server
                )
                for plugin in found
            ]
        )

    def GetProgramDependencies(
        self, request: messages.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> messages.GetProgramDependenciesResponse:
        found = packages.installed(_environment(request.info, context), transitive=request.transitiveDependencies)
        return messages.GetProgramDependenciesResponse(
            dependencies=[messages.DependencyInfo(name=name, version=version) for name, version in found]
        )

    def About(self, request: messages.AboutRequest, context: grpc.ServicerContext) -> messages.AboutResponse:
        python = _environment(request.info, context) / "bin" / "python"
        answer = subprocess.run([python, "-V"], capture_output=True, text=True, timeout=10, check=True)
        return messages.AboutResponse(executable=str(python), version=answer.stdout.split()[-1])

    def InstallDependencies(
        self, request: messages.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[messages.InstallDependenciesResponse]:
        """`pulumi install`: the environment, if it is missing, and in it what requirements.txt names."""
        environment = _environment(request.info, context, must_exist=False)
        python = environment / "bin" / "python"
        base = getattr(sys, "_base_executable", sys.executable)
        make = [base, "-I", "-m", "venv", str(environment)]
        pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"]
        for command in [pip] if python.exists() else [make, pip]:
            process = self._programs.start(
                command,
                cwd=request.info.program_directory,
                env=_activated(environment),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for line in process.stdout or ():
                yield messages.InstallDependenciesResponse(stdout=line)
            if code := self._programs.wait(process):
                _refuse(context, f"{' '.join(command)} {groups.ending(code)}.")

    def Run(self, request: messages.RunRequest, context: grpc.ServicerContext) -> messages.RunResponse:
        environment = _environment(request.info, context)
        configuration = {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        try:
            # Its output goes straight to the engine, which reads this host's.
            program = self._programs.start(
                [environment / "bin" / "python", "-u", self._executor, *self._arguments(request)],
                cwd=request.pwd,
                env=_activated(environment) | configuration,
            )
        except groups.StoppedError:
            _refuse(context, "The operation was cancelled before the program began.")
        # A cancelled operation ends this call, and with it the program.
        if not context.add_callback(lambda: groups.end(program)):
            groups.end(program)
        code = self._programs.wait(program)
        if code in (0, MESSAGE_SHOWN):
            return messages.RunResponse(bail=code == MESSAGE_SHOWN)
        return messages.RunResponse(error=f"The program {groups.ending(code)}; what it printed is above.")

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self.stop()
        return empty_pb2.Empty()

    def stop(self) -> None:
        """Ends every program that runs and starts no other."""
        self._programs.stop()

    def _arguments(self, request: messages.RunRequest) -> Iterator[str]:
        named = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "project": request.project,
            "stack": request.stack,
            "pwd": request.pwd,
            "dry_run": str(request.dryRun).lower(),
            "parallel": str(request.parallel),
            "organization": request.organization,
            "root_directory": request.info.root_directory,
        }
        for name, value in named.items():
            if value:
                yield from (f"--{name}", value)
        # Of a folder, the executor runs the `__main__.py`.
        yield str(Path(request.info.program_directory, request.info.entry_point))
        yield from request.args


def environment_of(info: messages.ProgramInfo, *, must_exist: bool = True) -> Path:
    """The virtual environment that Pulumi.yaml names. Raises HostError."""
    options = dict(info.options)
    for name, value in options.items():
        if name not in OPTIONS or OPTIONS[name] not in (None, value):
            raise HostError(
                f"Pulumi.yaml: runtime option `{name}: {value}` is beyond the language host that comes with this "
                "project's toolchain, which knows `toolchain: pip` and `virtualenv`. "
                "Install Pulumi (https://www.pulumi.com/docs/install) to use it."
            )
    virtualenv = options.get("virtualenv")
    if not isinstance(virtualenv, str) or not virtualenv:
        raise HostError("Pulumi.yaml: set `virtualenv` under `runtime.options` to the program's virtual environment.")
    environment = Path(info.root_directory, virtualenv)
    if must_exist and not (environment / "bin" / "python").exists():
        raise HostError(
            f"The virtual environment {environment}, which Pulumi.yaml names, does not exist. "
            "Make it with `pulumi install`."
        )
    return environment


def _environment(info: messages.ProgramInfo, context: grpc.ServicerContext, *, must_exist: bool = True) -> Path:
    try:
        return environment_of(info, must_exist=must_exist)
    except HostError as error:
        _refuse(context, str(error))


def _refuse(context: grpc.ServicerContext, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)
    raise AssertionError("abort raises")


def _activated(environment: Path) -> dict[str, str]:
    """This process's variables as `source …/bin/activate` would leave them."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    path = os.pathsep.join([str(environment / "bin"), variables.get("PATH", os.defpath)])
    return variables | {"VIRTUAL_ENV": str(environment), "PATH": path}


def main(arguments: Sequence[str]) -> None:
    """`EXECUTOR [flags of the engine] ENGINE_ADDRESS`."""
    host = LanguageHost(engine=arguments[-1], executor=Path(arguments[0]))
    server.serve(lambda grpc_server: service.add_LanguageRuntimeServicer_to_server(host, grpc_server), host.stop)
