from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from anthropix_actors import Call, ParameterError, Tool, tool, tools
from anthropix_actors.tools.signature import read_signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class Station:
    """A place with a thermometer."""

    def read(self, hour: int) -> int:
        """Read it."""
        return hour

    @classmethod
    def open(cls, city: str) -> str:
        return city

    @staticmethod
    def close(city: str) -> str:
        return city

    def __call__(self, hour: int) -> int:
        return hour


def weather(city: str, days: int = 1, *, key: str = "secret") -> str:
    """Tell it."""
    return city + str(days) + key


@functools.wraps(weather)
def wrapped(*args: Any, **kwargs: Any) -> str:
    return weather(*args, **kwargs)


def named(thing: Any) -> list[str]:
    return [argument.name for argument in read_signature(thing).arguments]


@pytest.mark.parametrize(
    ("thing", "name", "doc", "arguments"),
    [
        (weather, "weather", "Tell it.", ["city", "days", "key"]),
        (wrapped, "weather", "Tell it.", ["city", "days", "key"]),
        (functools.partial(weather, "Oslo", key="k"), "weather", "Tell it.", ["days"]),
        (functools.partial(functools.partial(weather, key="k"), days=2), "weather", "Tell it.", ["city"]),
        (Station().read, "read", "Read it.", ["hour"]),
        (Station.open, "open", None, ["city"]),
        (Station.close, "close", None, ["city"]),
        (Station(), "Station", "A place with a thermometer.", ["hour"]),
    ],
)
def test_whatever_can_be_called_has_a_signature(thing: Any, name: str, doc: str | None, arguments: list[str]) -> None:
    found = read_signature(thing)
    assert (found.name, found.doc) == (name, doc)
    assert named(thing) == arguments
    assert not found.unbound


def test_hints_may_name_what_a_function_around_has() -> None:
    class Inner:
        pass

    later: Any

    def uses(a: Inner, b: list[Inner]) -> Any:  # noqa: ARG001
        return Inner, later

    assert [argument.hint for argument in read_signature(uses).arguments] == [Inner, list[Inner]]
    later = None


def test_a_decorator_also_sees_what_is_around_it() -> None:
    class Kind(msgspec.Struct):
        pass

    @tool
    def uses(a: Kind) -> None: ...

    @tool(timeout=1)
    def uses_too(a: Kind) -> None: ...

    made = tool(uses.function, name="again")
    for each in (uses, uses_too, made):
        assert each.input_schema["properties"]["a"] == {"$ref": "#/$defs/Kind"}


def quoted(a: int, *, the: "tools.Call") -> None: ...  # noqa: UP037
def bare(a: int, *, call) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001
def direct(a: int, *, call: Call) -> None: ...


direct.__annotations__["call"] = Call


@pytest.mark.parametrize(("function", "name"), [(quoted, "the"), (bare, "call"), (direct, "call")])
def test_the_call_is_no_parameter_of_the_model_s(function: Any, name: str) -> None:
    found = read_signature(function)
    assert found.call == name
    assert named(function) == ["a"]


def test_a_call_of_another_kind_is_one_of_the_model_s() -> None:
    def phone(*, call: str) -> None: ...

    assert named(phone) == ["call"]
    assert read_signature(phone).call is None


def passed(call: Call) -> None: ...


passed.__annotations__["call"] = Call


async def awaited(city: str) -> None: ...
async def awaited_in_parts(city: str) -> AsyncIterator[int]:  # noqa: ARG001
    yield 1


untyped = eval("lambda city: city")


def in_parts(city: str) -> Iterator[int]:  # noqa: ARG001
    yield 1


HOPELESS = "def hopeless(a: int, /, b: int, *c: int, d: Unknown, e: '1 +', größe: int, **f: int): ..."
exec(HOPELESS)


class Unreadable:
    @property
    def __signature__(self) -> Any:
        raise OSError("not today")

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("thing", "problems"),
    [
        (
            globals()["hopeless"],
            [
                "hopeless.a: the model passes each parameter by name: expected none before a /",
                "hopeless.c: the model passes each parameter by name: expected none with *",
                "hopeless.d: its type hint names what is not there (name 'Unknown' is not defined); import it outside",
                "hopeless.e: its type hint cannot be read: ",
                "hopeless.größe: the API takes names of at most 64 letters",
                "hopeless.f: the model passes each parameter by name: expected none with **; a dict is one parameter",
            ],
        ),
        (untyped, ["<lambda>.city: expected a type hint"]),
        (passed, ["passed.call: expected a * before it: the Call is passed by name"]),
        (awaited, ["awaited: expected a def whose parameters have type hints, got an async def, which nobody would"]),
        (awaited_in_parts, ["awaited_in_parts: expected a def whose parameters have type hints, got an async def"]),
        (in_parts, ["in_parts: expected a def whose parameters have type hints, got a generator function, and a call"]),
        (Station, ["Station: expected a def whose parameters have type hints, got a class"]),
        (5, ["tool: expected a def whose parameters have type hints, got 5"]),
        (
            Unreadable(),
            ["Unreadable: expected a def whose parameters have type hints, got one that cannot be read: not"],
        ),
        (
            vars(Station)["open"],
            ["open: expected a def whose parameters have type hints, got a classmethod: put @tool"],
        ),
        (vars(Station)["close"], ["close: expected a def whose parameters have type hints, got a staticmethod: put"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else None,
)
def test_what_a_model_cannot_call_is_refused_with_a_hint(thing: Any, problems: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        read_signature(thing)
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == len(problems), found
    assert all(text.startswith(start) for text, start in zip(found, problems, strict=True)), found


def test_what_asyncio_needs_is_said() -> None:
    with pytest.raises(ParameterError, match=r"a def may call asyncio\.run"):
        Tool.of(awaited)


def test_a_method_of_a_class_needs_an_object() -> None:
    found = read_signature(Station.read)
    assert found.unbound
    assert [argument.name for argument in found.arguments] == ["hour"]


def make(depth: int) -> Callable[..., Any]:
    def self_like(self: int) -> int:
        return self + depth

    return self_like


def test_a_parameter_that_is_called_self_is_one_in_a_function() -> None:
    assert named(make(1)) == ["self"]
