"""`pulumi-resource-random`: pulumi-random's types, with the operating system's randomness.

Left out, each with an error that says so: RandomPet (a list of words), RandomShuffle and the `seed` of RandomInteger
(Go's generator), RandomUuid4, RandomUuid7, import.
"""

from __future__ import annotations

import base64
import secrets
import string
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pulumi.runtime.proto import provider_pb2_grpc as service

from toolchain.plugins import server
from toolchain.plugins.provider import Kind, Provider
from toolchain.plugins.values import Properties

VERSION = "4.21.4"
"""The version of pulumi-random whose inputs and outputs these are."""
SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
BCRYPT_LIMIT = 72
"""Bytes of a password that bcrypt looks at."""
BCRYPT_ROUNDS = 10
NO_IDENTIFIER = "none"
"""Identifiers are never secret, so a secret result cannot be one."""


class _Random(Kind):
    """Made once and kept until an input changes."""

    required: tuple[str, ...] = ()
    defaults: ClassVar[dict[str, Any]] = {}
    """Optional input → its value where it is not given."""
    secret: frozenset[str] = frozenset()

    def problems(self, inputs: Properties) -> dict[str, str]:
        missing = {name: f"{name} is required" for name in self.required if inputs.values.get(name) is None}
        known = {name: value for name, value in self.planned(inputs).items() if name not in inputs.unknown}
        return missing or self.misfits(known)

    def misfits(self, known: Mapping[str, Any]) -> dict[str, str]:
        """What does not fit, among the values that are known."""
        return {}

    def planned(self, inputs: Properties) -> dict[str, Any]:
        planned = {**self.defaults, **{name: value for name, value in inputs.values.items() if value is not None}}
        if keepers := planned.get("keepers"):
            # A keeper without a value keeps nothing.
            planned["keepers"] = {name: value for name, value in keepers.items() if value is not None}
        return planned

    def secrets(self, inputs: Properties) -> frozenset[str]:
        return self.secret | inputs.secret

    def replaced_by(self, changed: frozenset[str]) -> frozenset[str]:
        return changed

    def create(self, name: str, urn: str, inputs: Properties) -> tuple[str, dict[str, Any]]:
        return self.draw(self.planned(inputs))

    def draw(self, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Identifier and results."""
        raise NotImplementedError

    def update(self, urn: str, outputs: Properties, inputs: Properties) -> dict[str, Any]:
        """Every change replaces, so an update changes no result."""
        return {name: outputs.values.get(name) for name in self.computed}

    def delete(self, urn: str, outputs: Properties) -> None:
        """It is nowhere but in the state."""


class RandomString(_Random):
    computed = frozenset({"result"})
    required = ("length",)
    defaults: ClassVar[dict[str, Any]] = {
        "lower": True, "upper": True, "numeric": True, "special": True,
        "minLower": 0, "minUpper": 0, "minNumeric": 0, "minSpecial": 0,
    }  # fmt: skip

    def planned(self, inputs: Properties) -> dict[str, Any]:
        planned = super().planned(inputs)
        # `number` is the former name of `numeric`; outputs have both.
        if inputs.values.get("numeric") is None and inputs.values.get("number") is not None:
            planned["numeric"] = planned["number"]
        return {**planned, "number": planned["numeric"]}

    def problems(self, inputs: Properties) -> dict[str, str]:
        given = {inputs.values.get(name) for name in ("number", "numeric")} - {None}
        if len(given) > 1:
            return {"number": "number is the former name of numeric: set numeric only"}
        return super().problems(inputs)

    def misfits(self, known: Mapping[str, Any]) -> dict[str, str]:
        classes = ("lower", "upper", "numeric", "special")
        if not any(known.get(name, True) for name in classes):
            return {"lower": "at least one of lower, upper, numeric and special must be true"}
        least = sum(known.get(name, 0) for name in ("minLower", "minUpper", "minNumeric", "minSpecial"))
        if "length" in known and known["length"] < max(1, least):
            return {"length": f"must be at least {max(1, least)}, the sum of the minimums; it is {known['length']}"}
        if known.get("special", True) and known.get("overrideSpecial") == "" and known.get("minSpecial", 0):
            return {"overrideSpecial": "is empty, so there are no special characters to take minSpecial of"}
        return {}

    def draw(self, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        result = self._text(inputs)
        return result, {"result": result}

    @staticmethod
    def _text(inputs: Mapping[str, Any]) -> str:
        alphabets = {
            "Lower": string.ascii_lowercase,
            "Upper": string.ascii_uppercase,
            "Numeric": string.digits,
            "Special": inputs.get("overrideSpecial") or SPECIAL,
        }
        characters = [
            secrets.choice(alphabet) for name, alphabet in alphabets.items() for _ in range(inputs[f"min{name}"])
        ]
        everything = "".join(alphabet for name, alphabet in alphabets.items() if inputs[name.lower()])
        characters += [secrets.choice(everything) for _ in range(inputs["length"] - len(characters))]
        # Else the minimums would always be in front.
        secrets.SystemRandom().shuffle(characters)
        return "".join(characters)


class RandomPassword(RandomString):
    computed = frozenset({"result", "bcryptHash"})
    secret = frozenset({"result", "bcryptHash"})

    def draw(self, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        import bcrypt  # type: ignore[import-not-found] # noqa: PLC0415 - in the plugins' environment; only for this

        result = self._text(inputs)
        hashed = bcrypt.hashpw(result.encode()[:BCRYPT_LIMIT], bcrypt.gensalt(BCRYPT_ROUNDS))
        return NO_IDENTIFIER, {"result": result, "bcryptHash": hashed.decode()}


class RandomBytes(_Random):
    computed = frozenset({"base64", "hex"})
    secret = computed
    required = ("length",)

    def misfits(self, known: Mapping[str, Any]) -> dict[str, str]:
        return _at_least_one(known, "length")

    def draw(self, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        drawn = secrets.token_bytes(inputs["length"])
        # pulumi-random takes the base64 text for the identifier, in clear. Nobody should.
        return NO_IDENTIFIER, {"base64": base64.b64encode(drawn).decode(), "hex": drawn.hex()}


class RandomId(_Random):
    computed = frozenset({"b64Std", "b64Url", "dec", "hex"})
    required = ("byteLength",)

    def misfits(self, known: Mapping[str, Any]) -> dict[str, str]:
        return _at_least_one(known, "byteLength")

    def draw(self, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        drawn = secrets.token_bytes(inputs["byteLength"])
        url = base64.urlsafe_b64encode(drawn).decode().rstrip("=")
        results = {
            "b64Std": base64.b64encode(drawn).decode(),
            "b64Url": url,
            "dec": str(int.from_bytes(drawn, "big")),
            "hex": drawn.hex(),
        }
        prefix = inputs.get("prefix", "")
        return url, {name: prefix + result for name, result in results.items()}


class RandomUuid(_Random):
    computed = frozenset({"result"})

    def draw(self, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        result = str(uuid.uuid4())
        return result, {"result": result}


class RandomInteger(_Random):
    computed = frozenset({"result"})
    required = ("min", "max")

    def misfits(self, known: Mapping[str, Any]) -> dict[str, str]:
        if known.get("seed"):
            return {"seed": "only the official plugin can draw what Go's generator draws from a seed"}
        if "min" in known and "max" in known and known["min"] > known["max"]:
            return {"max": f"must be at least min, {known['min']}; it is {known['max']}"}
        return {}

    def draw(self, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        result = inputs["min"] + secrets.randbelow(inputs["max"] - inputs["min"] + 1)
        return str(result), {"result": result}


def _at_least_one(known: Mapping[str, Any], name: str) -> dict[str, str]:
    return {name: f"must be at least 1; it is {known[name]}"} if known.get(name, 1) < 1 else {}


KINDS: dict[str, Kind] = {
    "random:index/randomBytes:RandomBytes": RandomBytes(),
    "random:index/randomId:RandomId": RandomId(),
    "random:index/randomInteger:RandomInteger": RandomInteger(),
    "random:index/randomPassword:RandomPassword": RandomPassword(),
    "random:index/randomString:RandomString": RandomString(),
    "random:index/randomUuid:RandomUuid": RandomUuid(),
}


def main(arguments: Sequence[str]) -> None:
    """`[flags of the engine] ENGINE_ADDRESS`."""
    provider = Provider("random", VERSION, KINDS)
    server.serve(
        lambda grpc_server: service.add_ResourceProviderServicer_to_server(provider, grpc_server), provider.stop
    )
