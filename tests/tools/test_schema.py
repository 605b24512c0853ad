"""From a function to a schema, and from an input to its arguments. The other half of signatures."""

from __future__ import annotations

import datetime as dt
import enum
import functools
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from anthropix_actors import ParameterError, Tool, tool
from anthropix_actors.chat.parameters import chat_problems
from anthropix_actors.tools import InputError
from anthropix_actors.tools.schema import InputCheck
from anthropix_actors.tools.signature import Argument, Signature

from actors import ASK


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(msgspec.Struct):
    """Somewhere."""

    name: str
    inside: list[Place] = []


class Size(TypedDict):
    width: int
    height: NotRequired[int]


@dataclass
class Person:
    name: str
    born: dt.date | None = None

    def __post_init__(self) -> None:
        if self.name == "Nemo":
            raise SystemError("nobody")


def everything(  # noqa: PLR0917 - it is never called
    city: str,
    unit: Literal["C", "F"],
    days: Annotated[int, Meta(ge=1, le=7, description="How many, at most a week.")],
    size: Size,
    person: Person,
    place: Place,
    colour: Colour = Colour.RED,
    when: Optional[dt.datetime] = None,  # noqa: UP045 - as older code has it
    numbers: list[int] = [1, 2],  # noqa: B006
    named: dict[int, float] | None = None,
    key: object = None,
) -> None:
    """Do everything.

    Args:
        city: Its name.
        days: Not this.
        place: Where.
    """


EVERYTHING = Tool.of(functools.partial(everything, key=object()))
INPUT: dict[str, Any] = {
    "city": "Bergen",
    "unit": "C",
    "days": 2,
    "size": {"width": 1},
    "person": {"name": "Ada", "born": "1815-12-10"},
    "place": {"name": "here", "inside": [{"name": "there"}]},
}


def accepted(made: Tool[..., Any]) -> bool:
    return not chat_problems({**ASK, "max_tokens": 9, "tools": [made.wire]}, api_version="2023-06-01")


def test_the_schema_says_all_that_the_types_say() -> None:
    schema = EVERYTHING.input_schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["city", "unit", "days", "size", "person", "place"]
    properties = schema["properties"]
    assert [*properties] == [*INPUT, "colour", "when", "numbers", "named"]
    assert properties["city"] == {"type": "string", "description": "Its name."}
    assert properties["unit"] == {"enum": ["C", "F"]}
    assert properties["days"]["maximum"] == 7
    assert properties["days"]["description"] == "How many, at most a week."
    assert properties["place"] == {"$ref": "#/$defs/Place", "description": "Where."}
    assert properties["colour"] == {"$ref": "#/$defs/Colour", "default": "red"}
    assert properties["when"] == {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
    assert properties["numbers"] == {"type": "array", "items": {"type": "integer"}, "default": [1, 2]}
    assert {*schema["$defs"]} == {"Place", "Colour", "Size", "Person"}
    assert schema["$defs"]["Place"]["description"] == "Somewhere."
    assert "title" not in schema["$defs"]["Place"]
    assert accepted(EVERYTHING)


def test_what_the_model_passes_arrives_as_the_types_say() -> None:
    arguments = EVERYTHING.arguments({**INPUT, "when": "2026-01-02T03:04:05", "named": {"1": 2}})
    assert arguments["person"] == Person("Ada", dt.date(1815, 12, 10))
    assert arguments["place"] == Place("here", [Place("there")])
    assert arguments["size"] == {"width": 1}
    assert arguments["when"] == dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - as it was given
    assert arguments["named"] == {1: 2.0}
    assert "colour" not in arguments, "its default is the function's"


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({"city": None}, ["city: Expected `str`, got `null`"]),
        ({"days": 9, "unit": "K"}, ["unit: Invalid enum value 'K'", "days: Expected `int` <= 7"]),
        ({"place": {"name": "a", "inside": [{}]}}, ["place.inside[0]: Object missing required field `name`"]),
        ({"town": "Oslo", "dayz": 1}, ["town: unknown parameter; expected one of", "dayz: unknown parameter; did you"]),
        ({"person": {"name": "Nemo"}}, ["person: nobody"]),
        ({"size": {"width": "wide"}}, ["size.width: Expected `int`, got `str`"]),
        ({"when": "soon"}, ["when: Invalid RFC3339"]),
    ],
)
def test_what_does_not_fit_is_said_with_each_place(change: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        EVERYTHING.arguments({**INPUT, **change})
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == len(problems)
    assert all(text.startswith(start) for text, start in zip(found, problems, strict=True)), found


def test_types_of_one_name_are_two() -> None:
    def other() -> Any:
        @dataclass
        class Person:
            age: int

        return Person

    Other = other()  # noqa: N806

    @tool
    def meet(one: Person, two: Other) -> None: ...  # type: ignore[valid-type]

    definitions = meet.input_schema["$defs"]
    assert [sorted(each["properties"]) for each in definitions.values()] == [["born", "name"], ["age"]]


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(InputError) as caught:
        EVERYTHING.arguments({})
    assert [problem.place for problem in caught.value.problems] == [*INPUT]


@pytest.mark.parametrize("given", [None, [], "{}", 1])
def test_an_input_that_is_no_object_does_not_fit(given: Any) -> None:
    with pytest.raises(InputError, match="input: expected an object"):
        EVERYTHING.arguments(given)


def test_a_type_that_changes_its_mind_is_an_input_that_does_not_fit() -> None:
    moods = iter([True, False, False])

    @dataclass
    class Moody:
        def __post_init__(self) -> None:
            if next(moods):
                raise SystemError("not now")

    @tool
    def moody(a: Moody) -> None:
        """Be moody."""

    with pytest.raises(InputError, match="input: not now"):
        moody.arguments({"a": {}})


def test_a_type_that_would_exit_is_a_problem_of_the_input() -> None:
    @dataclass
    class Fatal:
        def __post_init__(self) -> None:
            raise SystemExit("enough")

    @tool
    def fatal(a: Fatal) -> None:
        """Be fatal."""

    with pytest.raises(InputError, match="a: enough"):
        fatal.arguments({"a": {}})


def test_a_function_without_parameters_takes_none() -> None:
    @tool
    def now() -> str:
        return "now"

    assert now.input_schema == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert now.arguments({}) == {}
    assert accepted(now)
    with pytest.raises(InputError, match="zone: unknown parameter; there are none"):
        now.arguments({"zone": 1})


def test_a_default_that_is_no_json_is_the_function_s_own() -> None:
    @tool
    def search(text: str, limit: float = float("nan"), mark: Any = object()) -> None: ...  # noqa: B008

    assert [*search.input_schema["properties"]["limit"]] == ["type"]
    assert [*search.input_schema["properties"]["mark"]] == []


def test_a_type_without_a_schema_is_refused_with_its_place() -> None:
    def find(where: object, what: str, which: Person | Size, why: complex) -> None: ...

    with pytest.raises(ParameterError) as caught:
        Tool.of(find)
    assert [problem.place for problem in caught.value.problems] == ["find.where", "find.which", "find.why"]
    assert "there is no JSON schema for its type: type <class 'object'> is not supported" in str(caught.value)


def test_examples_that_are_no_json_are_refused() -> None:
    def find(what: Annotated[str, Meta(examples=[object()])]) -> None: ...

    with pytest.raises(ParameterError, match="examples"):
        Tool.of(find)


def test_a_schema_may_be_one_that_the_api_guarantees_to_match() -> None:
    def find(what: Annotated[str, Meta(max_length=9)], where: Place | None = None) -> None: ...

    made = Tool.of(find, strict=True)
    assert made.wire["strict"] is True
    assert made.input_schema["properties"]["what"] == {"type": "string", "description": "(maxLength: 9)"}
    assert made.input_schema["$defs"]["Place"]["additionalProperties"] is False
    with pytest.raises(ParameterError, match=r"count\.words: expected named fields"):

        @tool(strict=True)
        def count(words: dict[str, int]) -> None: ...


NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True)


@given(names=st.lists(NAMES, unique=True, max_size=5), required=st.integers(0, 5))
def test_a_parameter_may_have_any_name(names: list[str], required: int) -> None:
    """Also one that a field of a Struct cannot have."""
    arguments = tuple(
        Argument(name, int, Parameter.empty if index < required else 7) for index, name in enumerate(names)
    )
    check = InputCheck(Signature("f", None, arguments, None, unbound=False), {})
    assert [*check.schema["properties"]] == names
    assert check.schema["required"] == names[:required]
    assert check.arguments(dict.fromkeys(names, 1)) == dict.fromkeys(names, 1)
