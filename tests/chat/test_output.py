"""Structured output: schemas as the API takes them, and answers as values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import uuid
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    TypedDict,
    TypeVar,
    assert_type,
)

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from anthropix_actors import ChatDone, ChatFailed, Client, OutputError, ParameterError, Parsed
from anthropix_actors.chat.output import decode_output, output_format
from anthropix_actors.emulator import Emulator, Reply
from anthropix_actors.emulator._model.schema_example import example_for

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


KINDS: list[Any] = [Outer, Home, Place, Inner, Plain, Box[int]]


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
    value = example_for(schema_of(kind))
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


@dataclass
class Chicken:
    eggs: list[Egg]


@dataclass
class Egg:
    inside: Chicken | None


class Farm(msgspec.Struct):
    first: Chicken


@pytest.mark.parametrize(
    ("kind", "circle"), [(Node, "Node in Node"), (Chicken, "Chicken in Egg in Chicken"), (Farm, "Chicken in Egg in C")]
)
def test_a_type_that_contains_itself_is_refused(kind: Any, circle: str) -> None:
    with pytest.raises(ParameterError, match=f"does not contain itself.*; got {circle}") as raised:
        output_format(kind)
    assert [problem.place for problem in raised.value.problems] == ["output"]


class Call(msgspec.Struct, tag=True):
    at: dt.datetime
    who: str


class Mail(msgspec.Struct, tag=True):
    at: str
    answer_by: dt.time | None = None


class Pair(NamedTuple):
    when: dt.datetime
    what: str


class Reminder(TypedDict):
    at: Annotated[dt.time, Meta(description="when")]
    until: NotRequired[dt.datetime]


class Row(msgspec.Struct, array_like=True, tag=True):
    at: dt.datetime


@dataclass
class Diary:
    at: dt.datetime
    time: dt.time
    day: dt.date
    takes: dt.timedelta
    key: uuid.UUID
    price: decimal.Decimal
    words: str
    local: Annotated[dt.datetime, Meta(tz=False)]
    local_time: Annotated[dt.time, Meta(tz=False)]
    aware: Annotated[dt.datetime, Meta(tz=True)]
    maybe: Annotated[dt.datetime, Meta(description="perhaps")] | None
    several: list[dt.datetime]
    some: set[dt.time]
    slot: tuple[dt.time, int]
    talks: list[Call | Mail | dt.date | int]
    last: Call | Mail | None
    pair: Pair
    row: Row
    reminder: Reminder | list[dt.time] | None
    anything: list  # type: ignore[type-arg]
    aliased: Renamed


class Renamed(msgspec.Struct, rename="camel"):
    at_time: dt.datetime


def test_times_have_the_formats_that_the_api_makes_sure_of() -> None:
    with pytest.raises(ParameterError, match=r"output\.anything\[\]") as raised:
        output_format(Diary)
    assert len(raised.value.problems) == 1

    @dataclass
    class Whole(Diary):
        anything: list[int]

    schema = schema_of(Whole)
    fields, inner = schema["properties"], schema["$defs"]
    moment, time = {"type": "string", "format": "date-time"}, {"type": "string", "format": "time"}
    assert fields["at"] == fields["aware"] == moment
    assert fields["time"] == time
    assert fields["day"] == {"type": "string", "format": "date"}
    assert fields["takes"]["format"] == "duration"
    assert "no weeks" in fields["takes"]["description"], "msgspec does not read them"
    assert fields["key"] == {"type": "string", "format": "uuid"}
    assert fields["price"] == {"type": "string", "description": "(format: decimal)"}
    assert fields["words"] == {"type": "string"}
    assert fields["local"] == {"type": "string", "description": "(format: date-time without an offset)"}
    assert fields["local_time"] == {"type": "string", "description": "(format: time without an offset)"}
    assert fields["maybe"]["anyOf"] == [{**moment, "description": "perhaps"}, {"type": "null"}]
    assert fields["several"]["items"] == moment
    assert fields["some"]["items"] == time
    assert fields["slot"]["items"]["anyOf"] == [time, {"type": "integer"}]
    assert fields["talks"]["items"]["anyOf"][0] == {"type": "string", "format": "date"}
    assert fields["reminder"]["anyOf"][1]["items"] == time
    assert inner["Call"]["properties"]["at"] == moment
    assert inner["Call"]["properties"]["who"] == inner["Mail"]["properties"]["at"] == {"type": "string"}
    assert inner["Mail"]["properties"]["answer_by"]["anyOf"][0] == time
    assert inner["Pair"]["items"]["anyOf"] == [moment, {"type": "string"}]
    assert inner["Row"]["items"]["anyOf"] == [{"enum": ["Row"]}, moment]
    assert inner["Reminder"]["properties"] == {"at": {**time, "description": "when"}, "until": moment}
    assert inner["Renamed"]["properties"]["atTime"] == moment


TIMES: list[tuple[Any, Any]] = [
    (dt.datetime, st.datetimes(timezones=st.just(dt.UTC))),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(0), dt.timedelta(days=9))),
    (uuid.UUID, st.uuids()),
    (decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Annotated[dt.datetime, Meta(tz=False)], st.datetimes()),
]


@given(st.sampled_from(TIMES), st.data())
def test_every_time_comes_back(kind_and_values: tuple[Any, Any], data: st.DataObject) -> None:
    kind, values = kind_and_values
    record: Any = msgspec.defstruct("Record", [("value", kind)])
    value = record(data.draw(values))
    assert decode_output(record, message_of(msgspec.json.encode(value).decode())) == value


class Picky(msgspec.Struct):
    a: int

    def __post_init__(self) -> None:
        if self.a == 1:
            raise KeyError("one")
        if self.a == 2:
            raise SystemExit
        raise UnspeakableError


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(("a", "words"), [(1, "'one'"), (2, "SystemExit"), (3, "UnspeakableError")])
def test_what_a_type_raises_itself_is_an_answer_that_does_not_fit(
    a: int, words: str, anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    anthropix_emulator.queue(Reply([f'{{"a": {a}}}']), Reply([f'{{"a": {a}}}']))
    client, inbox = connect(anthropix_emulator.url), Inbox()
    with pytest.raises(OutputError, match=words):
        client.chat(**ASK, output=Picky)
    client.chat(**ASK, output=Picky, stream=inbox)
    failed = inbox.until_end()[-1]
    assert isinstance(failed, ChatFailed)
    assert isinstance(failed.error, OutputError)


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
    with pytest.raises(ParameterError, match="output_format"):
        client.chat(**ASK, output=Plain, output_format={"type": "json_schema", "schema": {}})
    with pytest.raises(ParameterError, match=r"output_format: .*a type goes to output"):
        client.chat(**ASK, output_format=Plain)
    with pytest.raises(ParameterError, match="output_config"):
        client.chat(**ASK, output=Plain, output_config=5)
    with pytest.raises(ParameterError, match="dataclass"):
        client.chat(**ASK, output=int)
    assert anthropix_emulator.requests == []


def test_a_field_of_any_type_is_refused_without_advice_on_hooks() -> None:
    @dataclass
    class Loose:
        what: object

    with pytest.raises(ParameterError, match=r"^output: \w*(: )?type <class 'object'> is not supported$"):
        output_format(Loose)
