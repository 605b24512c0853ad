"""Calls are found in an answer as soon as each is whole, whatever the events."""

from __future__ import annotations

from typing import Any

import pytest

from anthropix_actors.conversation.request import CallFinder


def start(kind: str = "tool_use", **more: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, "id": "toolu_1", **more}}


def part(text: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text}}


STOP = {"type": "content_block_stop", "index": 0}
TOOLS = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
CUT = {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}
TEXT = start("text")


def found(*events: Any) -> list[Any]:
    calls: list[Any] = []
    finder = CallFinder(calls.append)
    for event in events:
        finder.look(event)
    return calls


def test_a_call_is_whole_when_the_next_block_starts_or_the_answer_wants_it_run() -> None:
    call = [start(input={}), part('{"a": '), part("1}"), STOP]
    assert found(*call) == []
    assert [each["input"] for each in found(*call, TEXT)] == [{"a": 1}]
    assert [each["input"] for each in found(*call, TOOLS)] == [{"a": 1}]
    assert found(*call, CUT) == []
    assert [each["input"] for each in found(start(input={"b": 2}), STOP, TOOLS)] == [{"b": 2}]
    assert found(TEXT, STOP, TOOLS) == []


def test_a_call_before_a_fallback_is_none() -> None:
    call = [start(input={}), STOP]
    assert found(*call, start("fallback"), *call, TOOLS) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "content_block_start"},
        {"type": "content_block_start", "content_block": 3},
        {"type": "content_block_delta"},
        {"type": "message_delta"},
        {"type": "ping"},
        {},
        part(3),
    ],
)
def test_odd_events_are_passed_by(odd: Any) -> None:
    assert len(found(start(input={}), odd, TEXT, TOOLS)) <= 1
    assert found(odd) == []


def test_a_call_whose_input_is_no_json_is_left_to_the_whole_answer() -> None:
    assert found(start(input={}), part('{"a": '), STOP, TEXT) == []
