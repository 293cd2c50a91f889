"""Holds GraphQL documents and their answers against graphql.graphql. Problems, as in contract.py, hold no value."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    build_schema,
    get_operation_ast,
    is_enum_type,
    is_input_object_type,
    is_interface_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    parse,
    type_from_ast,
    validate,
)

SDL = Path(__file__).with_name("graphql.graphql")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

Selection = dict[str, list[FieldNode]]
"""Key in the answer → the fields of the document that are merged under it."""

SCALARS: dict[str, Callable[[Any], bool]] = {
    "String": lambda value: isinstance(value, str),
    "ID": lambda value: isinstance(value, str),
    "Boolean": lambda value: isinstance(value, bool),
    "Int": lambda value: type(value) is int and abs(value) < 2**31,
    "Float": lambda value: type(value) in (int, float),
    "BigInt": lambda value: isinstance(value, str) and value.isdecimal(),  # Fly's own client reads it as text
    "ISO8601DateTime": lambda value: isinstance(value, str) and RFC3339.fullmatch(value) is not None,
    "JSON": lambda _: True,
}
REQUEST_FIELDS = {"query", "variables", "operationName"}
ERROR_FIELDS = {"message", "path", "locations", "extensions"}


class GraphqlContract:
    """Public attribute: schema."""

    def __init__(self, sdl: str) -> None:
        self.schema: GraphQLSchema = build_schema(sdl)

    def name(self, body: Any) -> str:
        """What a request asks for, for people: `mutation createAddOn`. Fly's own client gives few of its own a name."""
        try:
            chosen = get_operation_ast(parse(body["query"]), body.get("operationName"))
        except (GraphQLError, TypeError, KeyError, AttributeError):
            chosen = None  # check_request says why
        if chosen is None:
            return "graphql"
        fields = [node.name.value for node in chosen.selection_set.selections if isinstance(node, FieldNode)]
        return f"{chosen.operation.value} {' '.join(fields)}"

    def check_request(self, body: Any) -> list[str]:
        """`body` is the JSON of the request: query, variables, operationName."""
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            return ["graphql: body: must be an object with a query"]
        problems = [f"graphql: body: unknown field {name}" for name in sorted(body.keys() - REQUEST_FIELDS)]
        query, operation, variables = body["query"], body.get("operationName"), body.get("variables") or {}
        try:
            document = parse(query)
        except GraphQLError:
            return [*problems, "graphql: query: is not GraphQL"]
        if not isinstance(variables, dict):
            return [*problems, "graphql: variables: must be an object"]
        name = self.name(body)
        problems += [f"{name}: {_without_literals(error.message)}" for error in validate(self.schema, document)]
        chosen = get_operation_ast(document, operation)
        if chosen is None:
            return [*problems, f"{name}: operationName: names no single operation"]
        declared = {definition.variable.name.value for definition in chosen.variable_definitions or ()}
        problems += [f"{name}: variables: unknown {variable}" for variable in variables.keys() - declared]
        for definition in chosen.variable_definitions or ():
            kind = type_from_ast(self.schema, definition.type)
            variable = definition.variable.name.value
            defaulted = definition.default_value is not None and variable not in variables
            if kind is not None and not defaulted:
                found = _input_problems(kind, variables.get(variable), f"variables.{variable}")
                problems += [f"{name}: {problem}" for problem in found]
        return problems

    def check_answer(self, body: Any, answer: Any) -> list[str]:
        """`body` as for check_request, which must have found no problem; `answer` is the JSON of the answer."""
        document, operation = parse(body["query"]), body.get("operationName")
        name = self.name(body)
        if not isinstance(answer, dict):
            return [f"{name}: must be an object"]
        problems = [f"unknown field {field}" for field in answer.keys() - {"data", "errors", "extensions"}]
        errors = answer.get("errors")
        problems += _error_problems(errors)
        if "data" not in answer and not errors:
            problems.append("has neither data nor errors")
        if answer.get("data") is None and not errors:
            problems.append("data: null without an error")
        if answer.get("data") is not None:
            chosen = get_operation_ast(document, operation)
            assert chosen is not None
            root = self.schema.get_root_type(chosen.operation)
            assert root is not None
            walk = _Walk(document)
            problems += walk.object(root, walk.fields(root, [chosen.selection_set]), answer["data"], "data")
        return [f"{name}: {problem}" for problem in problems]

    def check_refusal(self, status: int, answer: Any) -> list[str]:
        """An answer that never came to GraphQL: no token, say. `answer` is the JSON."""
        if not isinstance(answer, dict) or not ("error" in answer or "errors" in answer):
            return [f"graphql: {status}: must be an object with error or errors"]
        return []


class _Walk:
    """Follows a document through its answer."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }

    def fields(self, kind: GraphQLObjectType | GraphQLInterfaceType, sets: list[SelectionSetNode]) -> Selection:
        """What the selections ask of an object of this kind, fragments included."""
        found: Selection = {}
        for node in (node for one in sets for node in one.selections):
            if isinstance(node, FieldNode):
                found.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
                continue
            assert isinstance(node, FragmentSpreadNode | InlineFragmentNode)
            fragment = self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            condition = fragment.type_condition
            if condition is None or condition.name.value == kind.name:
                for key, nodes in self.fields(kind, [fragment.selection_set]).items():
                    found.setdefault(key, []).extend(nodes)
        return found

    def object(
        self, kind: GraphQLObjectType | GraphQLInterfaceType, wanted: Selection, value: Any, place: str
    ) -> list[str]:
        if not isinstance(value, dict):
            return [f"{place}: must be an object"]
        problems = [f"{place}: {key} was not asked for" for key in sorted(value.keys() - wanted)]
        for key, nodes in wanted.items():
            if key not in value:
                problems.append(f"{place}: missing {key}")
            elif nodes[0].name.value == "__typename":
                problems += [] if value[key] == kind.name else [f"{place}.{key}: must be {kind.name}"]
            else:
                field = kind.fields[nodes[0].name.value]
                problems += self._value(field.type, nodes, value[key], f"{place}.{key}")
        return problems

    def _value(self, kind: Any, nodes: list[FieldNode], value: Any, place: str) -> list[str]:
        if is_non_null_type(kind):
            return [f"{place}: is null"] if value is None else self._value(kind.of_type, nodes, value, place)
        if value is None:
            return []
        if is_list_type(kind):
            if not isinstance(value, list):
                return [f"{place}: must be a list"]
            return [
                problem
                for index, item in enumerate(value)
                for problem in self._value(kind.of_type, nodes, item, f"{place}.{index}")
            ]
        if is_object_type(kind) or is_interface_type(kind):
            return self.object(
                kind, self.fields(kind, [n.selection_set for n in nodes if n.selection_set]), value, place
            )
        return _leaf_problems(kind, value, place)


def _error_problems(errors: Any) -> list[str]:
    if errors is None:
        return []
    if not isinstance(errors, list) or not errors:
        return ["errors: must be a list that is not empty"]
    problems = []
    for index, error in enumerate(errors):
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            problems.append(f"errors.{index}: must be an object with a message")
            continue
        problems += [f"errors.{index}: unknown field {field}" for field in sorted(error.keys() - ERROR_FIELDS)]
        code = (error.get("extensions") or {}).get("code")
        if code is not None and not isinstance(code, str):
            problems.append(f"errors.{index}.extensions.code: must be a string")
    return problems


def _input_problems(kind: Any, value: Any, place: str) -> list[str]:
    if is_non_null_type(kind):
        return [f"{place}: is null"] if value is None else _input_problems(kind.of_type, value, place)
    if value is None:
        return []
    if is_list_type(kind):
        if not isinstance(value, list):
            return [f"{place}: must be a list"]
        return [p for index, item in enumerate(value) for p in _input_problems(kind.of_type, item, f"{place}.{index}")]
    if is_input_object_type(kind):
        if not isinstance(value, dict):
            return [f"{place}: must be an object"]
        problems = [f"{place}: unknown field {field}" for field in sorted(value.keys() - kind.fields)]
        for name, field in kind.fields.items():
            problems += _input_problems(field.type, value.get(name), f"{place}.{name}")
        return problems
    return _leaf_problems(kind, value, place)


def _leaf_problems(kind: Any, value: Any, place: str) -> list[str]:
    if is_enum_type(kind):
        return (
            []
            if isinstance(value, str) and value in kind.values
            else [f"{place}: must be one of {', '.join(kind.values)}"]
        )
    return [] if SCALARS[kind.name](value) else [f"{place}: must be {kind.name}"]


def _without_literals(message: str) -> str:
    """graphql-core quotes what it was given."""
    return re.sub(r'"[^"]*"|(?<=value: ).*', "…", message)


@functools.cache
def load() -> GraphqlContract:
    return GraphqlContract(SDL.read_text())
