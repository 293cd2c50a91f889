"""Our `random`, driven as the engine drives it and held against the published SDK."""

from __future__ import annotations

import base64
import inspect
import re
import string
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pulumi_random
import pulumi_random.random_bytes
import pulumi_random.random_id
import pulumi_random.random_integer
import pulumi_random.random_password
import pulumi_random.random_string
import pulumi_random.random_uuid
import pytest
from pulumi.runtime.proto import provider_pb2 as messages
from pulumi.runtime.proto import provider_pb2_grpc as service

from tests.toolchain.conftest import ANSWER_TIMEOUT_S, Start
from toolchain import pulumi
from toolchain.plugins import random, values

SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
# Every input of every type that is served.
INPUTS: dict[str, dict[str, Any]] = {
    "RandomBytes": {"length": 4, "keepers": {"a": "b"}},
    "RandomId": {"byteLength": 4, "prefix": "p-", "keepers": {"a": "b"}},
    "RandomInteger": {"min": -3, "max": 3, "keepers": {"a": "b"}},
    "RandomUuid": {"keepers": {"a": "b"}},
    **{
        name: {
            "length": 12, "lower": True, "upper": True, "numeric": True, "number": True, "special": True,
            "minLower": 1, "minUpper": 1, "minNumeric": 1, "minSpecial": 1, "overrideSpecial": "_-",
            "keepers": {"a": "b"},
        }
        for name in ("RandomPassword", "RandomString")
    },
}  # fmt: skip
# The official plugin draws from a seed what Go's generator draws; ours refuses.
REFUSED = {"RandomInteger": {"seed"}}


class Random:
    """The plugin, in the words of the engine's protocol."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = service.ResourceProviderStub(channel)

    def check(self, name: str, inputs: dict[str, Any]) -> dict[str, str]:
        answer = self.stub.Check(
            messages.CheckRequest(type=token(name), news=values.write(inputs, ())), timeout=ANSWER_TIMEOUT_S
        )
        return {failure.property: failure.reason for failure in answer.failures}

    def create(
        self, name: str, inputs: dict[str, Any], *, secret: tuple[str, ...] = (), preview: bool = False
    ) -> tuple[str, values.Properties]:
        assert self.check(name, inputs) == {}
        request = messages.CreateRequest(
            type=token(name), name="it", properties=values.write(inputs, secret), preview=preview
        )
        answer = self.stub.Create(request, timeout=ANSWER_TIMEOUT_S)
        return answer.id, values.read(answer.properties)

    def diff(self, name: str, outputs: dict[str, Any], inputs: dict[str, Any]) -> messages.DiffResponse:
        request = messages.DiffRequest(
            type=token(name), id="x", olds=values.write(outputs, ()), news=values.write(inputs, ())
        )
        answer = self.stub.Diff(request, timeout=ANSWER_TIMEOUT_S)
        assert isinstance(answer, messages.DiffResponse)
        return answer


def token(name: str) -> str:
    return f"random:index/{name[0].lower()}{name[1:]}:{name}"


@pytest.fixture(scope="module")
def plugin(start_plugin: Start) -> Random:
    return Random(start_plugin("random").channel)


def published(name: str) -> tuple[set[str], set[str]]:
    """The inputs and the outputs of the SDK's class."""
    module = getattr(pulumi_random, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())
    return tuple(  # type: ignore[return-value] # a pair, of a pair
        {
            re.sub(r"_(\w)", lambda match: match[1].upper(), parameter)
            for parameter in inspect.signature(each.__init__).parameters
            if parameter != "__self__"
        }
        for each in (getattr(module, f"{name}Args"), getattr(module, f"_{name}State"))
    )


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_and_outputs_are_the_published_ones(plugin: Random, name: str) -> None:
    inputs, outputs = published(name)
    assert INPUTS[name].keys() == inputs - REFUSED.get(name, set()), "the test leaves an input out"
    _, made = plugin.create(name, INPUTS[name])
    assert made.values.keys() == outputs - REFUSED.get(name, set())
    assert {key: made.values[key] for key in INPUTS[name]} == INPUTS[name]


def test_each_type_that_is_served_is_tested() -> None:
    assert {token(name) for name in INPUTS} == set(random.KINDS)
    assert pulumi.locked("pulumi-random") == random.VERSION


@pytest.mark.parametrize("name", INPUTS)
def test_a_preview_knows_the_inputs_and_no_result(plugin: Random, name: str) -> None:
    _, made = plugin.create(name, INPUTS[name])
    identifier, planned = plugin.create(name, INPUTS[name], preview=True)
    assert identifier == ""
    assert planned.unknown == made.values.keys() - INPUTS[name].keys()
    assert planned.secret == made.secret


def test_an_input_that_is_unknown_yet_passes_through_a_preview(plugin: Random) -> None:
    inputs = {"length": values.UNKNOWN, "keepers": {"version": values.UNKNOWN}}
    _, planned = plugin.create("RandomPassword", inputs, preview=True)
    assert planned.unknown == {"length", "keepers", "result", "bcryptHash"}


@pytest.mark.parametrize("name", ["RandomPassword", "RandomBytes"])
def test_results_of_secret_types_are_secret(plugin: Random, name: str) -> None:
    identifier, made = plugin.create(name, {"length": 20})
    assert made.secret == {"RandomPassword": {"result", "bcryptHash"}, "RandomBytes": {"base64", "hex"}}[name]
    assert not any(made.values[key] in identifier for key in made.secret)


def test_a_secret_input_is_secret_in_the_outputs(plugin: Random) -> None:
    _, made = plugin.create("RandomId", {"byteLength": 2, "prefix": "p", "keepers": {"k": "v"}}, secret=("keepers",))
    assert made.secret == {"keepers"}
    assert made.values["keepers"] == {"k": "v"}


def test_defaults_are_those_of_the_published_plugin(plugin: Random) -> None:
    _, made = plugin.create("RandomString", {"length": 8})
    del made.values["result"]
    assert made.values == {
        "length": 8, "lower": True, "upper": True, "number": True, "numeric": True, "special": True,
        "minLower": 0, "minUpper": 0, "minNumeric": 0, "minSpecial": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "alphabet"),
    [
        ({}, string.ascii_letters + string.digits + SPECIAL),
        ({"special": False}, string.ascii_letters + string.digits),
        ({"numeric": False, "special": False}, string.ascii_letters),
        ({"number": False, "special": False}, string.ascii_letters),
        ({"lower": False, "upper": False, "overrideSpecial": "_~"}, string.digits + "_~"),
        ({"lower": False, "upper": False, "special": False}, string.digits),
    ],
)
def test_a_string_uses_its_whole_alphabet_and_nothing_else(
    plugin: Random, inputs: dict[str, Any], alphabet: str
) -> None:
    _, made = plugin.create("RandomString", {"length": 5000, **inputs})
    # 5000 draws miss a given one of at most 83 characters once in 10^26 runs.
    assert set(made.values["result"]) == set(alphabet)
    assert len(made.values["result"]) == 5000


def test_minimums_are_kept_at_random_places(plugin: Random) -> None:
    inputs = {"length": 12, "minUpper": 3, "minLower": 4, "minNumeric": 3, "minSpecial": 2, "overrideSpecial": "+"}
    shapes = set()
    for _ in range(5):
        _, made = plugin.create("RandomString", inputs)
        shape = re.sub(r"[0-9]", "0", re.sub(r"[A-Z]", "A", re.sub(r"[a-z]", "a", made.values["result"])))
        assert Counter(shape) == {"A": 3, "a": 4, "0": 3, "+": 2}
        shapes.add(shape)
    # Of 277200 arrangements, five draws are all one in less than 10^21 runs.
    assert len(shapes) > 1


@pytest.mark.parametrize("length", [20, 100])
def test_a_password_fits_its_hash(plugin: Random, plugin_environment: Path, length: int) -> None:
    _, made = plugin.create("RandomPassword", {"length": length})
    hashed = made.values["bcryptHash"]
    # bcrypt looks at 72 bytes, and is installed only where the plugins run.
    script = f"import bcrypt, sys; print(bcrypt.checkpw(sys.stdin.buffer.read()[:72], {hashed.encode()!r}))"
    answer = subprocess.run(
        [plugin_environment / "bin" / "python", "-I", "-c", script],
        input=made.values["result"].encode(), capture_output=True, timeout=ANSWER_TIMEOUT_S, check=True,
    )  # fmt: skip
    assert answer.stdout == b"True\n"
    assert hashed.split("$")[2] == "10"


def test_an_id_is_one_number_in_four_writings(plugin: Random) -> None:
    identifier, made = plugin.create("RandomId", {"byteLength": 5, "prefix": "a-"})
    plain = {key: made.values[key].removeprefix("a-") for key in ("hex", "dec", "b64Std", "b64Url")}
    drawn = bytes.fromhex(plain["hex"])
    assert len(drawn) == 5
    assert int(plain["dec"]) == int.from_bytes(drawn, "big")
    assert base64.b64decode(plain["b64Std"]) == drawn
    assert identifier == plain["b64Url"] == base64.urlsafe_b64encode(drawn).decode().rstrip("=")
    assert all(made.values[key].startswith("a-") for key in plain)


def test_bytes_are_the_same_in_both_writings(plugin: Random) -> None:
    _, made = plugin.create("RandomBytes", {"length": 33})
    assert base64.b64decode(made.values["base64"]) == bytes.fromhex(made.values["hex"])
    assert len(bytes.fromhex(made.values["hex"])) == 33


def test_integers_take_both_ends(plugin: Random) -> None:
    drawn = {plugin.create("RandomInteger", {"min": 5, "max": 6})[1].values["result"] for _ in range(40)}
    # Forty draws miss one end in one of 5e11 runs.
    assert drawn == {5, 6}


@pytest.mark.parametrize(
    ("name", "inputs", "property_"),
    [
        ("RandomString", {}, "length"),
        ("RandomString", {"length": 0}, "length"),
        ("RandomString", {"length": 3, "minUpper": 2, "minLower": 2}, "length"),
        ("RandomString", {"length": 3, "lower": False, "upper": False, "numeric": False, "special": False}, "lower"),
        ("RandomString", {"length": 3, "number": True, "numeric": False}, "number"),
        ("RandomId", {}, "byteLength"),
        ("RandomId", {"byteLength": 0}, "byteLength"),
        ("RandomBytes", {"length": 0}, "length"),
        ("RandomInteger", {"min": 1}, "max"),
        ("RandomInteger", {"min": 2, "max": 1}, "max"),
        ("RandomInteger", {"min": 1, "max": 2, "seed": "s"}, "seed"),
    ],
)
def test_impossible_inputs_are_refused_by_name(
    plugin: Random, name: str, inputs: dict[str, Any], property_: str
) -> None:
    assert plugin.check(name, inputs).keys() == {property_}


TEXT_CHANGES: dict[str, dict[str, Any]] = {
    "length": {"length": 13}, "minUpper": {"minUpper": 2}, "overrideSpecial": {"overrideSpecial": "_"},
    "keepers": {"keepers": {"a": "c"}},
}  # fmt: skip
CHANGES: list[tuple[str, dict[str, Any], str]] = [
    *[(name, change, key) for name in ("RandomPassword", "RandomString") for key, change in TEXT_CHANGES.items()],
    ("RandomId", {"byteLength": 5}, "byteLength"),
    ("RandomId", {"prefix": None}, "prefix"),
    ("RandomBytes", {"length": 5}, "length"),
    ("RandomInteger", {"max": 4}, "max"),
    ("RandomUuid", {"keepers": {"a": "c"}}, "keepers"),
    ("RandomUuid", {"keepers": {"a": values.UNKNOWN}}, "keepers"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "key"), CHANGES)
def test_a_changed_input_replaces(plugin: Random, name: str, change: dict[str, Any], key: str) -> None:
    _, made = plugin.create(name, INPUTS[name])
    answer = plugin.diff(name, made.values, {**INPUTS[name], **change})
    assert (list(answer.diffs), list(answer.replaces)) == ([key], [key])


@pytest.mark.parametrize("name", INPUTS)
def test_the_same_inputs_change_nothing(plugin: Random, name: str) -> None:
    _, made = plugin.create(name, INPUTS[name])
    assert plugin.diff(name, made.values, INPUTS[name]).changes == messages.DiffResponse.DIFF_NONE


def test_a_default_that_is_written_out_changes_nothing(plugin: Random) -> None:
    _, made = plugin.create("RandomString", {"length": 3})
    written = {"length": 3, "lower": True, "minSpecial": 0, "numeric": True, "keepers": None}
    assert plugin.diff("RandomString", made.values, written).changes == messages.DiffResponse.DIFF_NONE


def test_reading_says_what_the_state_says(plugin: Random) -> None:
    identifier, made = plugin.create("RandomUuid", {})
    request = messages.ReadRequest(
        id=identifier, type=token("RandomUuid"), properties=values.write(made.values, ()), inputs=values.write({}, ())
    )
    answer = plugin.stub.Read(request, timeout=ANSWER_TIMEOUT_S)
    assert (answer.id, values.read(answer.properties)) == (identifier, made)


@pytest.mark.parametrize("name", ["RandomPet", "RandomShuffle"])
def test_a_type_that_is_left_out_says_where_it_is(plugin: Random, name: str) -> None:
    with pytest.raises(grpc.RpcError, match=f"{name}.*official plugin"):
        plugin.check(name, {})
