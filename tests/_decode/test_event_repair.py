from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ProtocolError
from anthropix_actors._decode.event_repair import COMMON, as_error
from anthropix_actors._decode.json import joined

from decoding import events


def told(*documents: str, lenient: bool = True) -> list[dict[str, Any]]:
    return list(events(["".join(f"{document}\n\n" for document in documents).encode()], lenient=lenient))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('event: metrics\ndata: {"latency": 5}', {"type": "metrics", "latency": 5}),
        ('event: metrics\ndata: {"type": null, "a": 1}', {"type": "metrics", "a": 1}),
        ('event: metrics\ndata: {"type": ["x"]}', {"type": "metrics"}),
        ('event: metrics\ndata: {"type": "other"}', {"type": "other"}),
        ('data: {"amazon-bedrock-invocationMetrics": {}}', {"type": "message", "amazon-bedrock-invocationMetrics": {}}),
        ('event: content_block_stop\ndata: {"index": 0}', {"type": "content_block_stop", "index": 0}),
        ("event: message_stop\ndata: {}", {"type": "message_stop"}),
        ("event: message_stop\ndata:", {"type": "message_stop"}),
        ("event: metrics\ndata: [1]", {"type": "metrics", "data": "[1]"}),
        ("event: metrics\ndata: {'a': 1}", {"type": "metrics", "data": "{'a': 1}"}),
        ("data: [DONE]", {"type": "message", "data": "[DONE]"}),
        ("event: done\ndata: [DONE] ", {"type": "done", "data": "[DONE]"}),
        ('event: a\ndata: {"type": "a", "x": NaN, "y": "\\ud800"}', {"type": "a", "x": None, "y": "\ufffd"}),
    ],
)
def test_an_odd_event_is_told_with_a_type(document: str, expected: dict[str, Any]) -> None:
    assert told(document, 'data: {"type": "next"}') == [expected, {"type": "next"}]


@pytest.mark.parametrize(
    "document", ["data:", "data: ", "data", "event: content_block_delta\ndata:", "event: ping\ndata: {", ": comment"]
)
def test_an_event_without_data_is_left_out(document: str) -> None:
    """As the official SDK does."""
    assert told(document, 'data: {"type": "next"}', lenient=False) == [{"type": "next"}]


@pytest.mark.parametrize("name", [*sorted(COMMON - {"error"}), "message"])
@pytest.mark.parametrize("data", ["nonsense", "[1]", "{", "5"])
def test_a_piece_of_an_answer_that_cannot_be_read_is_an_error(name: str, data: str) -> None:
    with pytest.raises(ProtocolError, match=f"the data of '{name}' are not a JSON object") as caught:
        told(f"event: {name}\ndata: {data}")
    assert caught.value.body == data


def test_outside_of_answers_any_event_may_be_a_piece() -> None:
    with pytest.raises(ProtocolError):
        told("event: metrics\ndata: [1]", lenient=False)


OVERLOADED = {"type": "overloaded_error", "message": "Overloaded"}


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ('event: error\ndata: {"error": %s}', OVERLOADED),
        ('event: error\ndata: {"type": "error", "error": %s}', OVERLOADED),
        ('event: error\ndata: {"type": "other", "error": %s}', OVERLOADED),
        ('event: error\ndata: {"type": "message_stop", "error": %s}', OVERLOADED),
        ("event: error\ndata: %s", OVERLOADED),
        ('data: {"error": %s}', OVERLOADED),
        ('event: message\ndata: {"type": null, "error": %s}', OVERLOADED),
        ('event: error\ndata: {"type": "overloaded_error", "error": "Overloaded"}', OVERLOADED),
        ('event: error\ndata: {"type": "error", "error": "Overloaded"}', "Overloaded"),
        ("event: error\ndata: Overloaded \\ud800", {"message": "Overloaded \\ud800"}),
        ("event: error\ndata: [5]", {"message": "[5]"}),
        ("event: error\ndata:", None),
        ('event: error\ndata: {"type": "error"}', None),
        ('event: error\ndata: {"type": "error", "message": "x"}', {"message": "x"}),
        ("event: error\ndata: {}", None),
    ],
)
def test_an_error_is_an_error_whatever_its_data_say(document: str, error: Any) -> None:
    (found,) = told(document.replace("%s", json.dumps(OVERLOADED)))
    assert found["type"] == "error"
    assert found.get("error") == error


def test_an_error_keeps_what_comes_with_it() -> None:
    given: dict[str, Any] = {"error": OVERLOADED, "request_id": "req_1", "type": "x"}
    assert as_error(given) == {"type": "error", "error": OVERLOADED, "request_id": "req_1"}
    assert given["type"] == "x"


# Halves of surrogate pairs


def delta(text: str, index: int = 0, kind: str = "text") -> dict[str, Any]:
    key = {"input_json": "partial_json"}.get(kind, kind)
    return {"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", key: text}}


def lines(*found: dict[str, Any]) -> list[str]:
    return [f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}" for event in found]


STOP = {"type": "content_block_stop", "index": 0}


def test_halves_in_two_deltas_are_joined() -> None:
    assert told(*lines(delta("a\ud83d"), delta("\ude00b"), STOP)) == [delta("a"), delta("\U0001f600b"), STOP]
    assert told(*lines(delta("a\ud83d"), {"type": "ping"}, delta("\ude00b"))) == [delta("a"), delta("\U0001f600b")]


@pytest.mark.parametrize("kind", ["text", "thinking", "input_json"])
def test_a_half_that_stays_alone_becomes_a_replacement_character(kind: str) -> None:
    half, more, other = delta("a\ud83d", kind=kind), delta("b", kind=kind), delta("\ude00", 1, kind)
    lost = delta("\ufffd", kind=kind)
    assert told(*lines(half, more)) == [delta("a", kind=kind), delta("\ufffdb", kind=kind)]
    assert told(*lines(half, STOP)) == [delta("a", kind=kind), lost, STOP]
    assert told(*lines(half, other)) == [delta("a", kind=kind), lost, delta("\ufffd", 1, kind)]
    assert told(*lines(delta("x\ude00\ud83dy", kind=kind))) == [delta("x\ufffd\ufffdy", kind=kind)]


def test_a_half_before_a_piece_that_is_none_is_not_lost() -> None:
    odd = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": None}}
    assert told(*lines(delta("\ud83d"), odd, STOP)) == [delta(""), delta("\ufffd"), odd, STOP]


@given(
    st.lists(
        st.tuples(
            st.text(st.sampled_from("ab\ud83d\ud800\ude00\udfff\U0001f600é"), max_size=3),
            st.integers(0, 1),
            st.sampled_from(["text", "thinking", "input_json"]),
        ),
        max_size=8,
    )
)
def test_no_half_is_ever_told_and_neighbours_make_the_text_that_they_would_as_one(made: list[Any]) -> None:
    given = [delta(*each) for each in made]
    found = told(*lines(*given, STOP))
    json.dumps(found, ensure_ascii=False).encode()
    assert found.pop() == STOP

    def texts(events: list[dict[str, Any]]) -> list[Any]:
        """Get the texts of neighbouring deltas of one kind in one block, joined."""

        def place(event: dict[str, Any]) -> Any:
            return event["index"], event["delta"]["type"]

        return [
            (key, joined("".join(next(reversed(event["delta"].values())) for event in run)))
            for key, run in itertools.groupby(events, place)
        ]

    assert texts(found) == texts(given)
