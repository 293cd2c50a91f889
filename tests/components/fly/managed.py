"""What the engine does with one resource, as far as a provider can tell, and as values cross the wire.

Each call is a run of its own; `begin_run` is what a new process means to a provider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pulumi.dynamic import CheckResult

from components.fly.provider import FlyProvider

Props = dict[str, Any]
Make = Callable[[type[FlyProvider]], FlyProvider]
"""The fixture `provider`."""


class InvalidError(Exception):
    """Failures of a check."""


class Managed:
    """A resource in a state. `up` returns what the engine would call it: create, same, update or replace."""

    def __init__(self, provider: FlyProvider) -> None:
        self.provider = provider
        self.id: str | None = None
        self.inputs: Props = {}
        self.outputs: Props = {}

    def begin_run(self) -> None:
        self.provider.api.adopted.clear()

    def up(self, **inputs: Any) -> str:
        self.begin_run()
        news = self._checked(self.inputs, inputs)
        if self.id is None:
            self._create(news)
            return "create"
        diff = self.provider.diff(self.id, on_wire(self.outputs), on_wire(news))
        if not diff.changes:
            self.inputs = news
            return "same"
        if not diff.replaces:
            updated = self.provider.update(self.id, on_wire(self.outputs), on_wire(news))
            self.inputs, self.outputs = news, on_wire(updated.outs or {})
            return "update"
        old_id, old = self.id, self.outputs
        if diff.delete_before_replace:
            self.provider.delete(old_id, on_wire(old))
        self._create(self._checked({}, inputs))
        if not diff.delete_before_replace:
            self.provider.delete(old_id, on_wire(old))
        return "replace"

    def refresh(self) -> bool:
        """Whether the resource is still there, and as it was."""
        assert self.id is not None
        before = self.inputs
        read = self.provider.read(self.id, on_wire(self.outputs))
        if not read.id:
            self.id, self.inputs, self.outputs = None, {}, {}
            return False
        self.outputs = on_wire(read.outs or {})
        assert read.inputs is not None, "without inputs a preview shows no property of a drift"
        self.inputs = on_wire(read.inputs)
        return not self.provider.diff(self.id, on_wire(self.outputs), on_wire(before)).changes

    def destroy(self) -> None:
        assert self.id is not None
        self.begin_run()
        self.provider.delete(self.id, on_wire(self.outputs))
        self.id, self.inputs, self.outputs = None, {}, {}

    def _create(self, news: Props) -> None:
        created = self.provider.create(on_wire(news))
        self.id, self.inputs, self.outputs = created.id, news, on_wire(created.outs or {})

    def _checked(self, olds: Props, inputs: Props) -> Props:
        result: CheckResult = self.provider.check(on_wire(olds), on_wire(inputs))
        if result.failures:
            raise InvalidError("; ".join(f"{failure.property}: {failure.reason}" for failure in result.failures))
        checked: Props = on_wire(result.inputs)
        return checked


def on_wire(value: Any) -> Any:
    """A copy with numbers as floats and without what is None."""
    if isinstance(value, dict):
        return {key: on_wire(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [on_wire(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
