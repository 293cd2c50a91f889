"""What `random` and `command` have in common: the engine's protocol for resources that live in the state only."""
# ruff: noqa: N802 - the methods have the protocol's names

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2
from pulumi.runtime.proto import provider_pb2 as messages
from pulumi.runtime.proto import provider_pb2_grpc as service

from toolchain.plugins import values
from toolchain.plugins.values import Properties


class ResourceError(Exception):
    """An operation failed; the text is for the user."""


class Kind(ABC):
    """One resource type. Its outputs hold its inputs too: the engine compares new inputs with nothing else."""

    computed: frozenset[str]
    """Outputs that only creating or updating tells."""

    @abstractmethod
    def problems(self, inputs: Properties) -> Mapping[str, str]:
        """Property → what is wrong with it. A value that is unknown yet is not judged."""

    @abstractmethod
    def planned(self, inputs: Properties) -> dict[str, Any]:
        """The outputs known before creating: inputs and defaults."""

    @abstractmethod
    def secrets(self, inputs: Properties) -> frozenset[str]:
        """Outputs to mark as secret."""

    @abstractmethod
    def replaced_by(self, changed: frozenset[str]) -> frozenset[str]:
        """Of the changed inputs, those that need a new resource; the rest is an update."""

    @abstractmethod
    def create(self, name: str, urn: str, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Identifier and computed outputs. Raises ResourceError."""

    @abstractmethod
    def update(self, urn: str, outputs: Properties, inputs: Properties) -> dict[str, Any]:
        """Computed outputs. Raises ResourceError."""

    @abstractmethod
    def delete(self, urn: str, outputs: Properties) -> None:
        """Raises ResourceError."""

    def changed(self, outputs: Properties, inputs: Properties) -> frozenset[str]:
        """Inputs that differ from the recorded ones; one that is unknown yet counts as different."""
        planned = self.planned(inputs)
        names = planned.keys() | (outputs.values.keys() - self.computed)
        differing = {name for name in names if planned.get(name) != outputs.values.get(name)}
        return frozenset(differing) | inputs.unknown


class Provider(service.ResourceProviderServicer):
    """Serves the types in `kinds`, by their token such as `random:index/randomId:RandomId`."""

    def __init__(self, name: str, version: str, kinds: Mapping[str, Kind]) -> None:
        self._name = name
        self._version = version
        self._kinds = kinds

    def Handshake(
        self, request: messages.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> messages.ProviderHandshakeResponse:
        return messages.ProviderHandshakeResponse(accept_secrets=True)

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=self._version)

    def GetSchema(
        self, request: messages.GetSchemaRequest, context: grpc.ServicerContext
    ) -> messages.GetSchemaResponse:
        return messages.GetSchemaResponse(schema=json.dumps({"name": self._name, "version": self._version}))

    def CheckConfig(self, request: messages.CheckRequest, context: grpc.ServicerContext) -> messages.CheckResponse:
        return messages.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: messages.DiffRequest, context: grpc.ServicerContext) -> messages.DiffResponse:
        # Neither package has a setting, and a new version of one does not replace its resources.
        return messages.DiffResponse(changes=messages.DiffResponse.DIFF_NONE)

    def Configure(
        self, request: messages.ConfigureRequest, context: grpc.ServicerContext
    ) -> messages.ConfigureResponse:
        return messages.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request: messages.CheckRequest, context: grpc.ServicerContext) -> messages.CheckResponse:
        problems = self._kind(request.type, context).problems(values.read(request.news))
        failures = [messages.CheckFailure(property=name, reason=reason) for name, reason in problems.items()]
        return messages.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request: messages.DiffRequest, context: grpc.ServicerContext) -> messages.DiffResponse:
        kind = self._kind(request.type, context)
        changed = kind.changed(values.read(request.olds), values.read(request.news))
        return messages.DiffResponse(
            changes=messages.DiffResponse.DIFF_SOME if changed else messages.DiffResponse.DIFF_NONE,
            diffs=sorted(changed),
            replaces=sorted(kind.replaced_by(changed)),
        )

    def Create(self, request: messages.CreateRequest, context: grpc.ServicerContext) -> messages.CreateResponse:
        kind = self._kind(request.type, context)
        inputs = values.read(request.properties)
        if request.preview:
            return messages.CreateResponse(properties=_outputs(kind, inputs, _unknown(kind)))
        try:
            identifier, computed = kind.create(request.name, request.urn, inputs)
        except ResourceError as error:
            _abort(context, grpc.StatusCode.UNKNOWN, str(error))
        return messages.CreateResponse(id=identifier, properties=_outputs(kind, inputs, computed))

    def Update(self, request: messages.UpdateRequest, context: grpc.ServicerContext) -> messages.UpdateResponse:
        kind = self._kind(request.type, context)
        inputs = values.read(request.news)
        if request.preview:
            return messages.UpdateResponse(properties=_outputs(kind, inputs, _unknown(kind)))
        try:
            computed = kind.update(request.urn, values.read(request.olds), inputs)
        except ResourceError as error:
            _abort(context, grpc.StatusCode.UNKNOWN, str(error))
        return messages.UpdateResponse(properties=_outputs(kind, inputs, computed))

    def Read(self, request: messages.ReadRequest, context: grpc.ServicerContext) -> messages.ReadResponse:
        """There is nothing but the state to read from, so it is as the state says."""
        self._kind(request.type, context)
        if not request.properties.fields:
            _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"Import of {request.type} needs {self._official}.")
        return messages.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Delete(self, request: messages.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        try:
            self._kind(request.type, context).delete(request.urn, values.read(request.properties))
        except ResourceError as error:
            _abort(context, grpc.StatusCode.UNKNOWN, str(error))
        return empty_pb2.Empty()

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self.stop()
        return empty_pb2.Empty()

    def stop(self) -> None:
        """Ends what runs; overridden where something does."""

    def _kind(self, token: str, context: grpc.ServicerContext) -> Kind:
        if token not in self._kinds:
            _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"The resource type {token} needs {self._official}.")
        return self._kinds[token]

    @property
    def _official(self) -> str:
        return (
            f"the official plugin `{self._name}`; this one comes with the project's toolchain and has less. "
            "Install Pulumi (https://www.pulumi.com/docs/install), which then fetches the official one"
        )


def _unknown(kind: Kind) -> dict[str, Any]:
    return dict.fromkeys(kind.computed, values.UNKNOWN)


def _outputs(kind: Kind, inputs: Properties, computed: Mapping[str, Any]) -> struct_pb2.Struct:
    return values.write({**kind.planned(inputs), **computed}, kind.secrets(inputs))


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    context.abort(code, message)
    raise AssertionError("abort raises")
