"""Structured output: schemas as the API takes them, and answers as values."""

from __future__ import annotations

import dataclasses
import datetime as dt  # noqa: TC003 - msgspec looks at the annotations
import enum
import json
import uuid  # noqa: TC003 - the same
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar, assert_type

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from anthropix_actors import ChatDone, ChatFailed, Client, OutputError, ParameterError, Parsed
from anthropix_actors._output import decode_output, output_format
from anthropix_actors.emulator import Emulator, Reply
from anthropix_actors.emulator._schema import fitting

from actors import ASK, HELLO, Inbox

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Colour(enum.Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Inner:
    """An inner thing."""

    x: Annotated[int, Meta(ge=0, le=10, description="the x")]


@dataclass
class Outer:
    name: str
    inner: Inner
    several: list[Inner]
    pair: tuple[int, str]
    same: tuple[int, int]
    when: Annotated[dt.datetime, Meta(tz=True)]
    key: uuid.UUID
    colour: Colour = Colour.RED
    kind: Literal["a", "b"] = "a"
    maybe: int | None = None
    data: bytes = b""
    tags: Annotated[list[str], Meta(min_length=1, max_length=3)] = dataclasses.field(default_factory=list)
    two: Annotated[list[str], Meta(min_length=2)] = dataclasses.field(default_factory=list)


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    breed: Annotated[str, Meta(pattern="^[a-z]+$")]


class Home(msgspec.Struct):
    """Who lives there."""

    pets: list[Cat | Dog]


class Place(TypedDict):
    """Somewhere."""

    name: str
    height: NotRequired[float]


class Node(msgspec.Struct):
    value: int
    next: Node | None = None


class Box(msgspec.Struct, Generic[T]):
    content: T


class Plain(msgspec.Struct):
    a: int
    b: str
    c: bool


KINDS: list[Any] = [Outer, Home, Place, Node, Inner, Plain, Box[int]]


def schema_of(kind: Any) -> dict[str, Any]:
    schema: dict[str, Any] = output_format(kind)["schema"]
    return schema


def message_of(text: str, stop_reason: str = "end_turn") -> Any:
    return {"content": [{"type": "text", "text": text}], "stop_reason": stop_reason}


def objects_in(part: Any) -> list[Any]:
    found = []
    if isinstance(part, dict):
        found = [part] if part.get("type") == "object" else []
        part = list(part.values())
    if isinstance(part, list):
        found += [each for value in part for each in objects_in(value)]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_schema_is_one_that_the_api_takes(kind: Any) -> None:
    schema = schema_of(kind)
    assert schema["type"] == "object"
    for each in objects_in(schema):
        assert each["additionalProperties"] is False
    text = json.dumps(schema)
    for word in (
        "maximum",
        "minimum",
        "maxItems",
        "pattern",
        "prefixItems",
        "oneOf",
        "default",
        "title",
        "discriminator",
    ):
        assert f'"{word}"' not in text
    assert schema_of(kind) == schema


@pytest.mark.parametrize("kind", [Home, Place, Inner, Plain, Box[int]])
def test_what_fits_the_schema_is_decoded_into_the_type(kind: Any) -> None:
    value = fitting(schema_of(kind))
    if kind is Home:
        value["pets"] = [{"type": "cat", "lives": 9}, {"type": "dog", "breed": "pug"}]
    decoded = decode_output(kind, message_of(json.dumps(value)))
    assert msgspec.to_builtins(decoded).items() >= {key: item for key, item in value.items() if key != "pets"}.items()


def test_what_the_api_does_not_take_is_told_in_descriptions() -> None:
    schema = schema_of(Outer)
    assert schema["$defs"]["Inner"]["properties"]["x"]["description"] == "the x (minimum: 0, maximum: 10)"
    assert schema["$defs"]["Inner"]["description"] == "An inner thing."
    assert "description" not in schema, "the signature that dataclasses write for a docstring is none"
    properties = schema["properties"]
    assert properties["when"] == {"type": "string", "format": "date-time"}
    assert properties["key"] == {"type": "string", "format": "uuid"}
    assert properties["data"] == {"type": "string", "description": "(contentEncoding: base64)"}
    assert properties["tags"] == {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "description": "(maxItems: 3)",
    }
    assert properties["two"]["description"] == "(minItems: 2)"
    assert properties["pair"]["items"] == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert properties["same"]["items"] == {"type": "integer"}
    assert properties["kind"] == {"enum": ["a", "b"]}
    assert set(schema["required"]) == {"name", "inner", "several", "pair", "same", "when", "key"}


def test_a_type_that_contains_itself_refers_to_itself() -> None:
    schema = schema_of(Node)
    assert schema["$defs"]["Node"]["properties"]["next"]["anyOf"][0] == {"$ref": "#/$defs/Node"}


class Anything(msgspec.Struct):
    free: dict[str, int]
    any: Any
    nested: list[dict[str, str]]
    bare: list  # type: ignore[type-arg]
    inner: Box[Any]


def test_all_fields_that_no_schema_of_the_api_describes_are_named_at_once() -> None:
    with pytest.raises(ParameterError) as raised:
        output_format(Anything)
    places = [problem.place for problem in raised.value.problems]
    assert places == [
        *("output.free", "output.any", "output.nested[]", "output.bare[]", "output.Box_Any_.content"),
    ]


class Positional(msgspec.Struct, array_like=True):
    a: int


class Strange(msgspec.Struct):
    what: object
    how: Callable[[], int]


@pytest.mark.parametrize("kind", [int, 5, "City", Inner(1), list[Inner], Positional, Strange, Literal["a"], None, dict])
def test_what_is_no_record_is_refused(kind: Any) -> None:
    with pytest.raises(ParameterError, match="output"):
        output_format(kind)


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("no json", "end_turn", "does not fit the type"),
        ('{"x": 11}', "end_turn", "<= 10"),
        ('{"y": 1}', "end_turn", "x"),
        ('{"x"', "max_tokens", "cut by max_tokens"),
        ("I will not.", "refusal", "refused"),
        ("", "end_turn", "does not fit"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_error_with_its_text(text: str, reason: str, words: str) -> None:
    with pytest.raises(OutputError, match=words) as raised:
        decode_output(Inner, message_of(text, reason))
    assert raised.value.text == text


@given(a=st.integers(-(2**63), 2**63 - 1), b=st.text(), c=st.booleans())
def test_every_value_comes_back(a: int, b: str, c: bool) -> None:  # noqa: FBT001
    value = Plain(a, b, c)
    text = msgspec.json.encode(value).decode()
    half = len(text) // 2
    content = [{"type": "text", "text": text[:half]}, {"type": "thinking"}, {"type": "text", "text": text[half:]}]
    assert decode_output(Plain, {"content": content}) == value  # type: ignore[typeddict-item]


# From end to end


def test_a_chat_answers_with_a_value_in_all_three_ways(
    anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client, inbox = connect(anthropix_emulator.url), Inbox()
    parsed = client.chat(model="m", messages=HELLO, output=Plain, output_config={"effort": "low"})
    assert_type(parsed, Parsed[Plain])
    assert isinstance(parsed.output, Plain)
    block: Any = parsed.message["content"][0]
    assert json.loads(block["text"]) == msgspec.to_builtins(parsed.output)
    body = anthropix_emulator.requests[0].body
    assert body["output_config"] == {"effort": "low", "format": output_format(Plain)}
    with client.chat(**ASK, output=Plain, stream=True) as stream:
        assert isinstance(stream.output(), Plain)
    chat = client.chat(**ASK, output=Place, stream=inbox)
    assert chat.output(5) == {"name": "name"}
    assert inbox.until_end()[-1] == ChatDone(chat, chat.result(), {"name": "name"})
    assert client.chat(**ASK, stream=Inbox()).output(5) is None


def test_an_answer_that_does_not_fit_fails_with_the_whole_message(
    anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client: Any = connect(anthropix_emulator.url)
    inbox = Inbox()
    anthropix_emulator.queue(*[Reply(["no json"])] * 3)
    for stream in (False, True):
        with pytest.raises(OutputError) as raised:
            given: Any = client.chat(**ASK, output=Plain, stream=stream)
            given.output()
        assert raised.value.partial is not None
        assert raised.value.partial["stop_reason"] == "end_turn"
        assert raised.value.request_id
    client.chat(**ASK, output=Plain, stream=inbox)
    *before, failed = inbox.until_end()
    assert before[-1].data == {"type": "message_stop"}
    assert isinstance(failed, ChatFailed)
    assert isinstance(failed.error, OutputError)
    assert failed.usage.estimate is False


def test_a_format_and_a_type_at_once_are_refused(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> None:
    client: Any = connect(anthropix_emulator.url)
    with pytest.raises(ParameterError, match=r"output_config\.format"):
        client.chat(**ASK, output=Plain, output_config={"format": {"type": "json_schema", "schema": {}}})
    with pytest.raises(ParameterError, match="output_config"):
        client.chat(**ASK, output=Plain, output_config=5)
    with pytest.raises(ParameterError, match="dataclass"):
        client.chat(**ASK, output=int)
    assert anthropix_emulator.requests == []
