"""Where our contract says something else than the documents Fly publishes.

Each difference is one line that names its place. What we allow must be allowed by the document. What the document has
and we leave out is no difference: this contract is only as large as what the project relies on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from graphql import GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema, is_enum_type

from tests.contracts.contract import Call, Contract
from tests.contracts.schema import Direction, Schema, Schemas

Document = Mapping[str, Any]


def of_rest(contract: Contract, document: Document) -> set[str]:
    """`document` is the OpenAPI description."""
    (server,) = document["servers"]
    base = re.sub(r"https://[^/]+", "", server["url"])
    described = {_shape(base + path): item for path, item in document["paths"].items()}
    found: set[str] = set()
    for call in contract.calls:
        operation = described.get(_shape(call.template), {}).get(call.method.lower())
        found |= {str(call)} if operation is None else set(_of_call(contract, document, call, operation))
    return found


def _of_call(contract: Contract, document: Document, call: Call, operation: Document) -> Iterator[str]:
    for where, ours in (("query", call.query), ("header", call.header)):
        theirs = {p["name"]: p for p in operation.get("parameters", []) if p["in"] == where}
        required = ours.get("required", {})
        for name, notation in {**required, **ours.get("optional", {})}.items():
            place = f"{call} {where} {name}"
            if name not in theirs:
                yield place
                continue
            # A query is text: what it spells is ours to say.
            schema = theirs[name]["schema"]
            if "enum" in schema:
                yield from _Comparison(contract.sent, document, "sent").of(contract.sent.of(notation), schema, place)
        for name, parameter in theirs.items():
            if parameter.get("required") and name not in required:
                yield f"{call} {where} {name} required"

    if call.body != "nothing":
        body = operation.get("requestBody")
        if body is None:
            yield f"{call} body"
        else:
            if "nothing" in call.body and body.get("required"):
                yield f"{call} body absent"
            schema = contract.sent.of(call.body.removesuffix(" | nothing"))
            comparison = _Comparison(contract.sent, document, "sent")
            yield from comparison.of(schema, body["content"]["application/json"]["schema"], f"{call} body")

    for status, notation in call.answers.items():
        place = f"{call} {status}"
        answer = operation["responses"].get(str(status))
        content = (answer or {}).get("content", {}).get("application/json")
        if answer is None:
            yield place
        elif content is None:
            if notation != "nothing":
                yield f"{place} body"
        else:
            comparison = _Comparison(contract.answered, document, "answered")
            yield from comparison.of(contract.answered.of(notation), content["schema"], place)


class _Comparison:
    def __init__(self, schemas: Schemas, document: Document, direction: Direction) -> None:
        self._schemas = schemas
        self._document = document
        self._direction = direction
        self._seen: set[tuple[str, int]] = set()

    def of(self, ours: Schema, theirs: Schema, place: str) -> Iterator[str]:
        theirs = self._their_meaning(theirs)
        if "$ref" in ours:
            name = ours["$ref"].rpartition("/")[2]
            ours = self._schemas.definitions[name]
            if ours.get("type") == "object":
                if (name, id(theirs)) in self._seen:
                    return
                self._seen.add((name, id(theirs)))
                place = name
        for alternative in ours.get("anyOf", []):
            yield from self.of(alternative, theirs, place)
        kinds = ours.get("type", [])
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            if theirs.get("type", kind) not in ({kind, "number"} if kind == "integer" else {kind}):
                yield f"{place} {kind}"
            elif kind == "object":
                yield from self._of_object(ours, theirs, place)
            elif kind == "array":
                yield from self.of(ours["items"], theirs["items"], f"{place}[]")
            elif kind == "string":
                yield from self._of_words(ours, theirs, place)

    def _of_object(self, ours: Schema, theirs: Schema, place: str) -> Iterator[str]:
        if not theirs.get("properties") and "additionalProperties" not in theirs:
            return  # any object
        if isinstance(values := ours["additionalProperties"], dict):
            yield from self.of(values, theirs["additionalProperties"], f"{place}.*")
            return
        for name, schema in ours["properties"].items():
            if name not in theirs["properties"]:
                yield f"{place}.{name}"
            else:
                yield from self.of(schema, theirs["properties"][name], f"{place}.{name}")
        if set(ours["required"]) - set(theirs.get("required", [])):
            yield "required fields"

    def _of_words(self, ours: Schema, theirs: Schema, place: str) -> Iterator[str]:
        our_words, their_words = set(ours.get("enum", [])), set(theirs.get("enum", []))
        if our_words and their_words:
            yield from (f"{place} {word}" for word in sorted(our_words - their_words))
            if self._direction == "answered":
                yield from (f"{place} without {word}" for word in sorted(their_words - our_words))
        elif their_words:
            yield f"{place} any text"
        elif our_words and self._direction == "answered":
            yield f"{place} words"

    def _their_meaning(self, schema: Schema) -> Schema:
        """Follows references, and an allOf of one."""
        while True:
            if "$ref" in schema:
                schema = self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            elif "allOf" in schema:
                (schema,) = schema["allOf"]
            else:
                return schema


def of_graphql(ours: GraphQLSchema, theirs: GraphQLSchema) -> set[str]:
    return {place for name in ours.type_map if not name.startswith("__") for place in _of_type(ours, theirs, name)}


def _of_type(ours: GraphQLSchema, theirs: GraphQLSchema, name: str) -> Iterator[str]:
    roots = {"Query": theirs.query_type, "Mutation": theirs.mutation_type}
    ours_here, theirs_here = ours.type_map[name], roots.get(name) or theirs.type_map.get(name)
    if type(ours_here) is not type(theirs_here):
        yield name
    elif is_enum_type(ours_here) and is_enum_type(theirs_here):
        yield from (f"{name} {word}" for word in ours_here.values.keys() - theirs_here.values.keys())
    elif isinstance(ours_here, GraphQLObjectType) and isinstance(theirs_here, GraphQLObjectType):
        for field, wanted in ours_here.fields.items():
            if (found := theirs_here.fields.get(field)) is None:
                yield f"{name}.{field}"
                continue
            yield from _of_kind(f"{name}.{field}", wanted.type, found.type)
            for argument, taken in wanted.args.items():
                if argument not in found.args:
                    yield f"{name}.{field}({argument})"
                else:
                    yield from _of_kind(f"{name}.{field}({argument})", taken.type, found.args[argument].type)
    elif isinstance(ours_here, GraphQLInputObjectType) and isinstance(theirs_here, GraphQLInputObjectType):
        for field, sent in ours_here.fields.items():
            if field not in theirs_here.fields:
                yield f"{name}.{field}"
            else:
                yield from _of_kind(f"{name}.{field}", sent.type, theirs_here.fields[field].type)
        required = {f for f, one in theirs_here.fields.items() if str(one.type).endswith("!")}
        yield from (f"{name}.{field} required" for field in required - ours_here.fields.keys())


def _of_kind(place: str, ours: object, theirs: object) -> Iterator[str]:
    if str(ours) != str(theirs):
        yield f"{place} {ours}"


def _shape(template: str) -> str:
    """Names of parameters differ."""
    return re.sub(r"\{\w+\}", "{}", template)
