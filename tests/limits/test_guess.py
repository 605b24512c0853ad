"""The first guess at a request's tokens: right where it may be, and no harm whatever the body is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors.emulator import Emulator
from anthropix_actors.emulator._model.tokens import count, count_input
from anthropix_actors.limits.guess import input_guess

from servers import Server, answering

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import Client

MEDIUM = {"type": "base64", "media_type": "image/png", "data": "A" * 9000}
SCHEMA = {"type": "object", "properties": {"type": {"type": ["string", "null"]}}}


def message(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"content": list(blocks)}]}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, 0),
        ({"messages": [{"role": "user", "content": "12345678"}]}, 3),  # the role's four letters, too
        ({"system": [{"type": "text", "text": "1234"}]}, 2),
        (message({"source": MEDIUM}), 1500),
        (message({"source": {"type": "url", "url": "x" * 400}}, {"source": {"type": "file", "file_id": "x"}}), 3000),
        ({"messages": [{"content": ({"source": {"type": "text", "data": "A" * 8000}},)}]}, 2001),
        (message({"source": {"type": "content", "content": [{"source": MEDIUM}]}}), 1501.75),
        (message({"type": "tool_result", "content": [{"type": "image", "source": MEDIUM}]}), 1504),
        ({"tools": [{"name": "tool", "input_schema": None}]}, 1),
        # What looks like a medium and is none: in schemas, in a tool's input, in a system prompt
        ({"tools": [{"input_schema": SCHEMA}]}, 4),
        ({"tools": [{"input_schema": {"content": {"source": {"type": "url", "url": "x" * 40}}}}]}, 10.75),
        (message({"type": "tool_use", "input": {"type": "url", "url": "x" * 40}}), 12.75),
        (message({"type": "tool_use", "input": {"content": [{"source": MEDIUM}]}}), 2255.75),
        ({"system": [{"source": MEDIUM}]}, 2253.75),
        (message({"source": {"type": ["base64"]}}, {"source": {"type": {"base64": 1}}}), 1.5),
    ],
)
def test_the_input_is_guessed_from_its_texts_and_media(body: dict[str, Any], tokens: float) -> None:
    assert input_guess(body) == tokens


class Raises(dict[Any, Any]):
    def get(self, *_: Any) -> Any:
        raise RuntimeError("mine")

    def items(self) -> Any:
        raise RuntimeError("mine")


class Unequal:
    def __hash__(self) -> int:
        return hash("type")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("mine")


def circle() -> list[Any]:
    around: list[Any] = []
    around += [around, {"content": around}, "1234"]
    return around


def deep() -> Any:
    inner: Any = "1234"
    for number in range(50_000):
        inner = [inner] if number % 2 else {"content": inner}
    return inner


@pytest.mark.parametrize(
    ("content", "least"),
    [
        (circle(), 1),
        (deep(), 1),
        ({1: "1234", None: "1234", ("a",): "1234", b"type": 5, "type": 2.5}, 3),
        ("\ud800" * 8, 2),
        ([Raises(a="x" * 400), "1234"], 1),  # what comes after it is not looked at: the last goes first
        ([{Unequal(): 1}, "1234"], 1),
        ([float("nan"), 10**400, b"bytes", object(), {1, 2}], 0),
        ([["12345678"] * 1000] * 1000, 2 * 90_000),
        (["12345678"] * 2_000_000, 2 * 90_000),
    ],
)
def test_no_body_whatever_is_in_it_fails_a_guess_or_keeps_it_long(content: Any, least: float) -> None:
    begun = time.thread_time()
    assert input_guess({"messages": [{"role": "user", "content": content}], "system": content}) >= least
    assert time.thread_time() - begun < 5


def test_a_body_that_is_no_mapping_is_guessed_at_nothing() -> None:
    body: Any = None
    assert input_guess(body) == 0.0
    assert input_guess(Raises()) == 0.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["type", "content", "source", "base64", "url"]) | st.integers(), inner)
        ),
        max_leaves=20,
    )
)
def test_a_guess_is_a_number(content: Any) -> None:
    assert 0.0 <= input_guess({"messages": content, "tools": content, "system": content}) < 10**6


TYPED = [
    {"tools": [{"name": "t", "input_schema": SCHEMA}]},
    {
        "tools": [{"name": "t", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "t", "input": SCHEMA}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}]},
        ],
    },
]


@pytest.mark.parametrize("params", TYPED)
def test_a_tool_may_have_a_property_named_type(connect: Callable[..., Client], params: dict[str, Any]) -> None:
    hello: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    with Server(answering("fine")) as server:
        assert connect(server).chat(**(hello | params))["stop_reason"] == "end_turn"


@pytest.mark.parametrize("params", TYPED)
def test_in_the_emulator_too(connect: Callable[..., Client], params: dict[str, Any]) -> None:
    hello: dict[str, Any] = {"model": "claude-test", "messages": [{"role": "user", "content": "Hi"}]}
    with Emulator(handler=lambda _: "fine") as emulator:
        client = connect(emulator.url)
        assert client.chat(**(hello | params))["stop_reason"] == "end_turn"
        assert client.count_tokens(**(hello | params))["input_tokens"] > 0


PICTURE = {"type": "image", "source": MEDIUM}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (message(PICTURE), 1500),
        (message({"type": "tool_result", "tool_use_id": "x", "content": [PICTURE]}), 1501),
        (message({"type": "tool_use", "name": "t", "input": {"type": "image", "data": "a b c"}}), 5),
        ({"tools": [{"input_schema": {"properties": {"type": {"type": "image"}, "data": {"enum": ["a", "b"]}}}}]}, 3),
        ({"tools": [{"input_schema": SCHEMA}]}, 3),
        (message({"type": ["image"], "text": "a b"}), 2),
    ],
)
def test_the_emulator_counts_media_where_the_api_has_them(body: dict[str, Any], tokens: int) -> None:
    assert count_input(body) == tokens


def test_the_emulator_counts_what_is_nested_deeply() -> None:
    assert count(deep()) == 1
