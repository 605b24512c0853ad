"""What fuzzing has found, once more; and a little of it anew. See fuzz/README.md."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sseclient
from hypothesis import given, settings
from hypothesis import strategies as st

from anthropix_actors._decode.sse import MAX_EVENT_BYTES
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.errors import ParameterError, ProtocolError

from fuzz import stream
from fuzz.odd import Dice, bytewise, cut, events, sizes
from fuzz.reference import Unsure, json_object, parse
from fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HERE = Path(__file__).parent / "fuzz"


def inputs(kind: str, target: str) -> list[Path]:
    return sorted((HERE / kind / target).glob("*"))


def tried(target: str, paths: Iterable[Path]) -> int:
    count = 0
    for path in paths:
        try:
            TARGETS[target](path.read_bytes())
        except BaseException as exc:
            exc.add_note(f"the input is {path}")
            raise
        count += 1
    return count


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_fuzzer_has_kept_holds(target: str) -> None:
    assert tried(target, inputs("corpus", target)) >= 10


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_fuzzer_has_found_is_not_found_again(target: str) -> None:
    tried(target, inputs("findings", target))


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_what_holds_holds_for_any_bytes(target: str, data: bytes) -> None:
    TARGETS[target](data)


def test_what_is_kept_is_small() -> None:
    kept = [path for kind in ("corpus", "findings") for target in TARGETS for path in inputs(kind, target)]
    assert len(kept) <= 320
    assert sum(path.stat().st_size for path in kept) <= 300_000


def test_a_decoder_without_the_guard_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unguarded(chunks: Iterable[bytes], *, max_event_bytes: int, lenient: bool) -> Iterator[Any]:
        assert max_event_bytes >= 0
        assert lenient in (True, False)
        for event in sseclient.SSEClient(iter(chunks)).events():
            yield json.loads(event.data)

    monkeypatch.setattr(stream, "events", unguarded)
    for document in (b"data: {}\n\ndata: {}", b"data: {}\n\r\ndata: {}\n\n", b"\xef\xbb\xbfdata: {}\n\n"):
        with pytest.raises((AssertionError, json.JSONDecodeError)):
            stream.check_document(document, [3], MAX_EVENT_BYTES)


def test_an_accumulator_that_forgets_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Accumulator):
        def replay(self) -> Iterator[Any]:
            return iter(list(super().replay())[:-1])

    monkeypatch.setattr(stream, "Accumulator", Forgetful)
    with pytest.raises(AssertionError, match="a replay makes another answer"):
        stream.check_answer(events(Dice(bytes(20))))


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_what_is_taken_in_can_be_sent_back(data: bytes) -> None:
    """Whatever events come: as a turn of the assistant's, through our own check of parameters, as JSON."""
    answer = Accumulator()
    for event in stream.as_decoded(events(Dice(data))):
        with contextlib.suppress(ProtocolError):
            answer.add(event)
        stream.check_sendable(answer.snapshot())
    replayed = Accumulator()
    for each in answer.replay():
        replayed.add(each)
    assert replayed.snapshot() == answer.snapshot()


def test_an_answer_that_cannot_be_sent_back_is_found_out() -> None:
    for odd in ({"type": "text", "text": 5}, {"type": "new", "a": "\ud800"}, {"type": "tool_use", "input": {}}):
        with pytest.raises((ParameterError, AssertionError)):
            stream.check_sendable({"content": [odd]})


@given(st.binary(max_size=50))
def test_the_same_bytes_make_the_same_odd_events(data: bytes) -> None:
    made = events(Dice(data))
    assert made == events(Dice(data))
    assert json.loads(json.dumps(made)) == made


def test_zeros_make_an_answer_that_is_in_order() -> None:
    assert [event["type"] for event in events(Dice(bytes(9)))][:2] == ["message_start", "content_block_delta"]


@given(st.binary(max_size=50), st.binary(min_size=3, max_size=3))
def test_what_is_cut_is_the_same_together(data: bytes, lengths: bytes) -> None:
    assert b"".join(cut(data, sizes(Dice(lengths)))) == b"".join(bytewise(data)) == data


def test_the_reference_knows_where_an_event_ends() -> None:
    found, tail, rest = parse(b"\xef\xbb\xbfevent: a\r\ndata: 1\r\n\r\n: x\n\ndata: cut\n")
    assert [(event.end, event.name, event.data) for event in found] == [(23, "a", "1"), (29, "message", None)]
    assert (tail, rest.data) == (10, "cut")


@pytest.mark.parametrize("text", ['{"a":"\\ud800"}', "[" * 1000])
def test_the_reference_does_not_decide_what_readers_disagree_on(text: str) -> None:
    with pytest.raises(Unsure):
        json_object(text)


@pytest.mark.parametrize("text", ["[1]", "{", '{"a":NaN,}', ""])
def test_the_reference_refuses_what_is_no_object(text: str) -> None:
    assert json_object(text) is None
