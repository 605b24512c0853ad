from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import BlockPiece, CancelledError, ChatEvent, Client, TextPiece, ThinkingPiece, ToolInputPiece
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.chat.growth import grown
from anthropix_actors.chat.pieces import PieceReader
from anthropix_actors.emulator import Drop, Emulator, Reply, ToolCall
from anthropix_actors.errors import ProtocolError
from anthropix_actors.subscribers import Handlers

from actors import ASK
from decoding import events
from servers import (
    STOP,
    Halt,
    Server,
    acquire,
    answer,
    answering,
    block_start,
    block_stop,
    chunks,
    head,
    message_delta,
    start,
    stream_of,
    text_delta,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


def pieces_of(found: Iterable[Any]) -> list[Any]:
    reader = PieceReader()
    return [piece for event in found for piece in reader.read(event)]


def delta(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


CALL: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
A_CALL = [
    block_start(1, **CALL),
    delta(1, type="input_json_delta", partial_json=""),
    delta(1, type="input_json_delta", partial_json='{"a"'),
    delta(1, type="input_json_delta", partial_json=": 1}"),
    block_stop(1),
]


def test_each_piece_of_text_comes_with_the_text_so_far() -> None:
    pieces = pieces_of([start(), block_start(), text_delta("Hel"), text_delta("lo")])
    assert pieces == [TextPiece("Hel"), TextPiece("lo")]
    assert [piece.so_far for piece in pieces] == ["Hel", "Hello"]


def test_the_input_of_a_tool_comes_in_pieces_and_then_as_a_whole() -> None:
    pieces = pieces_of([start(), *A_CALL])
    assert pieces == [
        ToolInputPiece('{"a"', index=1),
        ToolInputPiece(": 1}", index=1),
        BlockPiece({**CALL, "input": {"a": 1}}, index=1),  # type: ignore[arg-type] # a literal is a plain dict
    ]
    assert pieces[1].so_far == '{"a": 1}'


def test_thinking_is_no_text() -> None:
    found = [
        start(),
        block_start(type="thinking", thinking="", signature=""),
        delta(type="thinking_delta", thinking="Hm"),
    ]
    assert pieces_of(found) == [ThinkingPiece("Hm")]


def test_what_a_block_begins_with_is_a_piece_too() -> None:
    pieces = pieces_of([start(), block_start(type="text", text="A"), text_delta("B"), block_stop()])
    assert pieces == [TextPiece("A"), TextPiece("B"), BlockPiece({"type": "text", "text": "AB"})]
    assert pieces[1].so_far == "AB"
    thinking = pieces_of([start(), block_start(type="thinking", thinking="A", signature="s")])
    assert thinking == [ThinkingPiece("A")]


def test_a_block_of_any_type_comes_whole() -> None:
    block: Any = {"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"url": "u"}]}
    (piece,) = pieces_of([start(), block_start(**block), block_stop()])
    assert piece == BlockPiece(block)
    unknown = [block_start(type="new", deep=[1]), delta(type="new_delta", x=1), block_stop()]
    new: Any = {"type": "new", "deep": [1]}
    assert pieces_of([start(), *unknown]) == [BlockPiece(new)]


def test_a_block_that_is_not_ended_is_complete_when_the_answer_is() -> None:
    found = [start(), block_start(), text_delta("Hi"), message_delta()]
    assert pieces_of(found) == [TextPiece("Hi")]
    assert pieces_of([*found, STOP])[1:] == [BlockPiece({"type": "text", "text": "Hi"})]


def test_a_block_is_told_once_and_is_the_readers_to_change() -> None:
    found = [start(), block_start(type="new", deep=[1]), block_stop(), block_stop(), STOP]
    (piece,) = pieces_of(found)
    piece.block["deep"].append(2)
    assert found[1]["content_block"]["deep"] == [1]


def test_a_piece_made_by_hand_has_said_nothing_so_far() -> None:
    assert TextPiece("Hi").so_far == ""
    assert TextPiece("Hi") == TextPiece("Hi", index=0) != TextPiece("Hi", index=1)
    with pytest.raises(AttributeError):
        TextPiece("Hi").text = "Ho"  # type: ignore[misc]


def test_the_text_of_a_block_that_begins_again_begins_again() -> None:
    found = [start(), block_start(), text_delta("A"), block_start(), text_delta("B")]
    assert [piece.so_far for piece in pieces_of(found)] == ["A", "B"]


def test_of_a_block_whose_start_was_not_seen_come_the_pieces_and_not_the_block() -> None:
    pieces = pieces_of([text_delta("A"), text_delta("B"), block_stop(), *A_CALL])
    assert [type(piece) for piece in pieces] == [TextPiece, TextPiece, ToolInputPiece, ToolInputPiece, BlockPiece]
    assert pieces[1].so_far == "AB"


ODD = [
    {"type": "content_block_delta"},
    {"type": "content_block_delta", "index": 0, "delta": "x"},
    delta(),
    delta(type="text_delta"),
    delta(type="text_delta", text=None),
    delta(type="text_delta", text=["x"]),
    delta(type=["text_delta"], text=5),
    delta(type="citations_delta", citation={"n": 1}),
    {"type": "content_block_start"},
    {"type": "content_block_start", "index": 0, "content_block": "x"},
    block_start(type=["text"], text="x"),
    block_start(type="text", text=None),
    {"type": "content_block_stop"},
    {"type": "content_block_stop", "index": [0]},
    {"type": "new"},
    {"data": "[DONE]"},
    {"type": None},
]


class Texts(Handlers):
    """Keeps what its methods are told that an event adds."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def on_text(self, _chat: Any, /, text: str) -> None:
        self.told.append(("text_delta", text))

    def on_thinking(self, _chat: Any, /, text: str) -> None:
        self.told.append(("thinking_delta", text))

    def on_tool_input(self, _chat: Any, /, json_piece: str) -> None:
        self.told.append(("input_json_delta", json_piece))


class NoTexts(Texts):
    on_text = Handlers.on_text


MORE = [{**text_delta("x"), "type": "new"}, delta(text="x"), delta(type="text_delta", text="")]


@pytest.mark.parametrize("event", [*ODD, *answer("Hi"), *A_CALL, *MORE])
def test_the_methods_of_handlers_are_told_what_an_event_adds(event: dict[str, Any]) -> None:
    added = [] if (found := grown(event)) is None else [found]
    for kind, expected in ((Texts, added), (NoTexts, [each for each in added if each[0] != "text_delta"])):
        handlers = kind()
        handlers.handle(ChatEvent(SimpleNamespace(), event))  # type: ignore[arg-type]
        assert handlers.told == expected


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_makes_a_text_no_longer(odd: dict[str, Any]) -> None:
    assert grown(odd) is None
    if "type" in odd:
        assert pieces_of([start(), odd]) == []


def test_a_start_without_an_index_has_none_and_its_block_has() -> None:
    bare = {"type": "content_block_start", "content_block": {"type": "text", "text": "A"}}
    assert pieces_of([start(), bare, block_stop(0)]) == [
        TextPiece("A", index=-1),
        BlockPiece({"type": "text", "text": "A"}, index=0),
    ]


BEGINNINGS = st.sampled_from(
    [
        {"type": "text", "text": ""},
        {"type": "text", "text": "A", "citations": None},
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "tool_use", "id": "t", "name": "n", "input": {}},
        {"type": "new", "x": 1},
    ]
)
GROWTH = st.lists(
    st.one_of(
        st.text(max_size=4).map(lambda text: ("text_delta", "text", text)),
        st.text(max_size=4).map(lambda text: ("thinking_delta", "thinking", text)),
        st.sampled_from(['{"a": 1}', "{", ""]).map(lambda text: ("input_json_delta", "partial_json", text)),
        st.just(("signature_delta", "signature", "s")),
    ),
    max_size=6,
)


@given(st.lists(st.tuples(BEGINNINGS, GROWTH, st.sampled_from([1, 0, 2])), max_size=4))
def test_blocks_are_those_of_the_message_and_their_texts_are_its_texts(made: list[Any]) -> None:
    found: list[Any] = [start()]
    for index, (beginning, deltas, stops) in enumerate(made):
        found.append({"type": "content_block_start", "index": index, "content_block": beginning})
        found += [delta(index, type=kind, **{key: text}) for kind, key, text in deltas]
        found += [block_stop(index)] * stops
    found += [message_delta(), STOP]
    whole = Accumulator()
    for event in found:
        whole.add(event)
    pieces = pieces_of(found)
    message: Any = whole.snapshot()
    blocks = [piece for piece in pieces if isinstance(piece, BlockPiece)]
    assert [piece.block for piece in sorted(blocks, key=lambda piece: piece.index)] == message["content"]
    for index, block in enumerate(message["content"]):
        texts = [piece.text for piece in pieces if isinstance(piece, TextPiece) and piece.index == index]
        if block["type"] == "text":
            assert "".join(texts) == block["text"]


@given(st.lists(st.sampled_from([*ODD[:-2], *answer("Hi"), *A_CALL, *answer("")]), max_size=8))
def test_no_events_in_any_order_are_too_odd(found: list[Any]) -> None:
    whole = Accumulator()
    for event in found:
        try:
            whole.add(event)
        except ProtocolError:
            continue
    pieces_of(found)


def test_every_recorded_stream_comes_in_pieces_that_make_its_message(corpus: Path) -> None:
    streams = sorted(corpus.glob("streams/*.sse"))
    for path in streams:
        found = list(events([path.read_bytes()]))
        whole = Accumulator()
        for event in found:
            whole.add(event)
        message: Any = whole.snapshot()
        blocks: list[Any] = [piece.block for piece in pieces_of(found) if isinstance(piece, BlockPiece)]
        assert sorted(map(json.dumps, blocks)) == sorted(map(json.dumps, message["content"])), path
    assert streams


# As a loop over a stream


def test_a_stream_can_be_looped_over_piece_by_piece(connect: Callable[..., Client]) -> None:
    with Server(answering("Hel", "lo")) as server, connect(server).chat(**ASK, stream=True) as stream:
        pieces = list(stream.pieces)
        assert pieces == [TextPiece("Hel"), TextPiece("lo"), BlockPiece({"type": "text", "text": "Hello"})]
        assert stream.message()["content"] == [pieces[-1].block]  # type: ignore[union-attr]


def test_leaving_the_loop_over_pieces_cancels_the_request(connect: Callable[..., Client]) -> None:
    with Server(Halt(head(), chunks(answer("Hi", " there")[:4]))) as server:
        stream = connect(server).chat(**ASK, stream=True)
        for piece in stream.pieces:
            assert piece == TextPiece("Hi")
            break
        wait(stream.chat.actor_stopped)
        with pytest.raises(CancelledError):
            stream.message()
        acquire(server.hung_up)


def test_a_cancel_ends_the_loop_over_pieces(connect: Callable[..., Client]) -> None:
    with Server(Halt(head(), chunks(answer("Hi")[:3]))) as server:
        stream = connect(server).chat(**ASK, stream=True)
        pieces = iter(stream.pieces)
        assert next(pieces) == TextPiece("Hi")
        threading.Thread(target=stream.chat.cancel).start()
        with pytest.raises(CancelledError):
            next(pieces)


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-sonnet-5"], ids=["prefill", "none"])
@pytest.mark.parametrize("rest", [" Four.", Reply([ToolCall("clock", {"zone": "UTC"})])], ids=["text", "call"])
def test_the_pieces_of_a_resumed_answer_have_no_block_that_is_void(
    model: str, rest: Any, connect: Callable[..., Client]
) -> None:
    call = Reply(["Let me see.", ToolCall("clock", {"zone": "UTC, or whatever it is that they have there"})])
    with Emulator() as emulator:
        emulator.queue(Drop(call, after_events=10), rest)
        tools: Any = [{"name": "clock", "input_schema": {"type": "object"}}]
        ask: Any = {**ASK, "model": model, "tools": tools}
        stream = connect(emulator.url, max_retries=1).chat(**ask, stream=True, resume=True)
        pieces = list(stream.pieces)
    blocks: Any = [piece for piece in pieces if isinstance(piece, BlockPiece)]
    latest = {piece.index: piece.block for piece in blocks}
    assert [*latest.values()] == stream.message()["content"]
    assert all(block["type"] != "tool_use" or block["input"] == {"zone": "UTC"} for block in latest.values())


def test_text_leaves_nothing_out_that_a_block_begins_with(connect: Callable[..., Client]) -> None:
    found = [start(), block_start(type="text", text="A"), text_delta(""), text_delta("B"), block_stop(), STOP]
    with Server(Halt(stream_of(*found))) as server, connect(server).chat(**ASK, stream=True) as stream:
        assert list(stream.text) == ["A", "B"]
