"""Tools, and their options."""

from __future__ import annotations

import copy
import pickle
from typing import Any, assert_type

import pytest

import anthropix_actors
from anthropix_actors import ParameterError, Tool, tool
from anthropix_actors.tools import InputError
from anthropix_actors.tools.definition import tool_of_actor

from actors import Inbox


@tool
def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
    """
    return a + b


def subtract(a: int, b: int) -> int:
    return a - b


class Counter:
    def __init__(self) -> None:
        self.count = 0

    @tool(timeout=2)
    def increase(self, by: int) -> int:
        """Increase it."""
        self.count += by
        return self.count


def test_a_tool_is_its_function_with_a_schema() -> None:
    assert_type(add(1, b=2), int)
    assert add(1) == 2
    assert (add.name, add.description, add.timeout, add.grace) == ("add", "Add two numbers.", None, 2.0)
    assert not any((add.safe, add.idempotent, add.alone, add.approve, add.process))
    assert (add.actor, add.call_parameter) == (None, None)
    assert add.__name__ == "add"  # type: ignore[attr-defined]
    assert add.__doc__ is not None
    assert add.wire == {
        "name": "add",
        "description": "Add two numbers.",
        "input_schema": {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "The first."},
                "b": {"type": "integer", "default": 1},
            },
            "required": ["a"],
            "additionalProperties": False,
        },
    }
    assert repr(add) == "<Tool add>"


def test_a_tool_without_a_description_says_none() -> None:
    assert Tool.of(subtract).wire.keys() == {"name", "input_schema"}


def test_a_tool_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="cannot be changed; make another"):
        add.name = "subtract"
    with pytest.raises(AttributeError, match="name stays"):
        del add.name
    add.wire["input_schema"]["properties"].clear()
    add.input_schema.clear()
    assert len(add.wire["input_schema"]["properties"]) == 2


def test_another_tool_is_made_with_other_options() -> None:
    other = Tool.of(
        add, name="plus", description="", timeout=3, grace=0, safe=True, cache_control={"type": "ephemeral"}
    )
    assert Tool.of(add) is add
    assert (other.timeout, other.grace, other.safe, other(1)) == (3.0, 0.0, True, 2)
    assert other.wire["cache_control"] == {"type": "ephemeral"}
    assert (other.wire["name"], other.wire["description"]) == ("plus", "")


def test_other_keys_for_the_api_may_be_given() -> None:
    made = Tool.of(subtract, defer_loading=True, extra={"brand_new": {"a": 1}})
    assert made.wire["defer_loading"] is True
    assert made.wire["brand_new"] == {"a": 1}


def test_methods_are_tools_of_their_objects() -> None:
    one, other = Counter(), Counter()
    assert one.increase(by=2) == 2
    assert other.increase(by=1) == 1
    bound = one.increase
    assert bound.function(by=1) == 3
    assert bound.wire["input_schema"]["required"] == ["by"]
    assert bound.timeout == 2
    assert bound.bound_problem() is None
    assert Counter.increase.bound_problem() == "a method: expected that of an object, such as thing.increase"


def test_a_tool_that_is_an_attribute_stays_as_it_is() -> None:
    class Holder:
        adds = add

    assert Holder().adds is add


def test_a_tool_is_copied_and_pickled_by_its_name() -> None:
    assert copy.deepcopy(add) is add
    assert pickle.loads(pickle.dumps(add)) is add
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Tool.of(lambda_like()))


def lambda_like() -> Any:
    class Named:
        def __call__(self) -> int:
            return 1

    return Named()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timout": 3}, "timout: unknown parameter; did you mean timeout?"),
        ({"timeout": 0}, "timeout: expected seconds above 0, or None, got 0"),
        ({"unknown": "guess"}, "unknown: expected 'tell' or 'ask', got 'guess'"),
        ({"timeout": True}, "timeout: expected seconds above 0, or None, got True"),
        ({"timeout": float("inf")}, "timeout: expected seconds above 0, or None, got inf"),
        ({"grace": -1}, "grace: expected seconds from 0, got -1"),
        ({"safe": 1}, "safe: expected True or False, got 1"),
        ({"name": 1}, "name: expected a string, got 1"),
        ({"description": b""}, "description: expected a string, got bytes"),
        ({"actor": print}, "actor: expected an actor's ref, or something else with a tell method, got a function"),
        ({"actor": Inbox(), "process": True}, "process: expected none with an actor, which has a thread of its own"),
        ({"extra": [1]}, "extra: expected a dict of other keys for the API, got list"),
        ({"extra": {"a": {1}}}, "a: expected JSON, got set"),
    ],
)
def test_options_are_checked(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Tool.of(subtract, **options)
    assert [str(each)[: len(problem)] for each in caught.value.problems] == [problem]


@pytest.mark.parametrize("name", ["", "two words", "größe", "a" * 129, "a\n"])
def test_a_name_that_the_api_refuses_is_refused(name: str) -> None:
    def sizes() -> None: ...

    sizes.__name__ = name
    with pytest.raises(ParameterError, match="the API takes names of 1 to 128 letters, digits, _ and -, got"):
        Tool.of(sizes)
    assert Tool.of(sizes, name="a" * 128).name == "a" * 128


def test_a_process_must_find_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def inner() -> None: ...

    for thing, words in (
        (inner, "got one inside another, test_a_process_must_find_its_function.<locals>.inner"),
        (Counter().increase.function, "expected a def at the top of a module, got method"),
        (lambda_like(), "expected a def at the top of a module"),
    ):
        with pytest.raises(ParameterError, match="process=True: ") as caught:
            Tool.of(thing, process=True)
        assert words in str(caught.value)
    assert Tool.of(subtract, process=True).process
    import __main__  # noqa: PLC0415

    monkeypatch.setattr(subtract, "__module__", "__main__")
    monkeypatch.setattr(__main__, "__file__", "program.py", raising=False)
    assert Tool.of(subtract, process=True).process
    monkeypatch.delattr(__main__, "__file__")
    monkeypatch.setattr(__main__, "__spec__", None)
    with pytest.raises(ParameterError, match="expected a def in a file, got one that was typed in"):
        Tool.of(subtract, process=True)


def test_an_actor_may_have_a_stub() -> None:
    @tool(actor=(inbox := Inbox()), timeout=60)
    def ask_user(question: str) -> str:  # type: ignore[empty-body]
        """Ask the user."""

    assert ask_user.actor is inbox
    assert ask_user.wire["input_schema"]["required"] == ["question"]


def test_an_actor_alone_takes_any_object() -> None:
    made = tool_of_actor("ask_user", Inbox())
    assert made.wire == {"name": "ask_user", "input_schema": {"type": "object"}}
    assert made.arguments({"a": 1}) == {"a": 1}
    with pytest.raises(InputError, match="expected an object, got list"):
        made.arguments([])
    with pytest.raises(TypeError, match="the tool ask_user is an actor"):
        made()


def test_everything_public_says_where_it_is() -> None:
    assert {
        getattr(anthropix_actors, name).__module__ for name in ("Tool", "tool", "Call", "ToolError", "run_tools")
    } == {"anthropix_actors"}
    assert {*dir(anthropix_actors.tools)} >= {*anthropix_actors.tools.__all__}
