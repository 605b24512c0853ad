"""What has to hold for the bytes of a stream, and for the events of an answer, whatever they are."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from anthropix_actors._accumulate import GROWING, RAW_INPUT, Accumulator
from anthropix_actors._sse import MAX_EVENT_BYTES, MAX_EVENT_LINES, events
from anthropix_actors.errors import ProtocolError

from fuzz.odd import Dice, bytewise, cut, sizes
from fuzz.odd import events as odd_events
from fuzz.reference import Unsure, json_object, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fuzz.reference import Found

_LIMITS = [MAX_EVENT_BYTES, MAX_EVENT_BYTES, 200, 50, 20, 7, 1, 0]
_LINE_ENDS = [b"\n", b"\n", b"\r\n", b"\r"]
_BEFORE = [b"", b"", b": comment\n", b"id: 7\n", b"id: \0\n", b"\n", b"retry: 1\n", b"data\n", b"\xff: \xe2\n"]
_NAMES = [b"event: %s\n", b"event: %s\n", b"", b"event: ping\n", b"event: x\nevent: %s\n", b"event\n", b"event:%s\n"]
_NAME = re.compile("(?<=the data of ).*?(?= are not)", re.DOTALL)
"""An event's name in an error; the guard drops most of them."""

_MOST_EVENTS = 64
_SHORT = 500
"""Longer documents are not cut into single bytes: that takes long."""


class Outcome(NamedTuple):
    """What came of a document.

    Attributes:
        events: Its events.
        taken: How many bytes had been taken for each, before its last chunk and with it.
        error: What was raised.
    """

    events: list[dict[str, Any]]
    taken: list[tuple[int, int]]
    error: str | None


def outcome(chunks: Iterable[bytes], limit: int = MAX_EVENT_BYTES) -> Outcome:
    """Decode; nothing but a ProtocolError is caught, so anything else is a finding."""
    before = after = 0

    def counted() -> Iterator[bytes]:
        nonlocal before, after
        for chunk in chunks:
            before, after = after, after + len(chunk)
            yield chunk

    found: list[dict[str, Any]] = []
    taken: list[tuple[int, int]] = []
    try:
        for event in events(counted(), max_event_bytes=limit):
            found.append(event)
            taken.append((before, after))
    except ProtocolError as exc:
        return Outcome(found, taken, _NAME.sub("", str(exc)))
    return Outcome(found, taken, None)


def raw(data: bytes) -> None:
    """Any bytes: the first ones say how the rest is cut, and how large an event may be."""
    dice = Dice(data)
    limit, lengths = dice.pick(_LIMITS), sizes(dice)
    document = dice.rest()
    found = check_document(document, lengths, limit)
    if document.count(b"[") + document.count(b"{") < 300:  # what is nested deeply has its own tests
        check_answer(found)


def structured(data: bytes) -> None:
    """The events of an answer, some of them odd, in bytes that are written in odd ways."""
    dice = Dice(data)
    lengths, line_end, decorated = sizes(dice), dice.pick(_LINE_ENDS), dice.byte() % 2
    given = odd_events(dice)
    written = [_written(event, dice if decorated else Dice(b"")) for event in given]
    found = check_document(b"".join(written).replace(b"\n", line_end), lengths, MAX_EVENT_BYTES)
    if not decorated:
        assert found == [event for event in given if event.get("type") != "ping"]
    check_answer(given)


def _written(event: dict[str, Any], dice: Dice) -> bytes:
    name = dice.pick(_NAMES)
    if b"%s" in name:
        name %= json.dumps(event.get("type", "")).strip('"').encode()
    data = json.dumps(event, ensure_ascii=dice.byte() % 2 == 0, separators=(",", ":")).encode()
    return dice.pick(_BEFORE) + name + b"data: " + data + b"\n\n"


def check_document(document: bytes, lengths: Sequence[int], limit: int) -> list[dict[str, Any]]:
    """Decode a document in many ways, and compare; get its events."""
    whole, ended = outcome([document], limit), parse(document)
    for way in (cut(document, lengths), bytewise(document) if len(document) <= _SHORT else cut(document, [7, 1, 50])):
        other = outcome(way, limit)
        assert (other.events, other.error) == (whole.events, whole.error), "how it is cut makes a difference"
        _check_reference(*ended, limit, other)
    shorter = outcome([document[: sum(lengths)]], limit)
    assert shorter.events == whole.events[: len(shorter.events)], "what comes later changes what was told"
    assert shorter.error in (None, whole.error)
    _check_endless(document, limit)
    return whole.events


def _check_reference(ended: list[Found], tail: int, limit: int, found: Outcome) -> None:
    """Compare with the specification: the events, at which byte each is told, and whether there is an error."""
    expected, fails = _expected(ended, limit)
    assert found.events[: len(expected)] == [value for value, _ in expected], "not as the specification says"
    for (_, end), (before, after) in zip(expected, found.taken, strict=False):
        assert before < end <= after, "an event is told too early, or too late"
    if fails is not None:
        fails = fails or tail > limit + 1  # the LF of its last line, which may be no line of it yet
        assert len(found.events) == len(expected), "more is told than the specification says"
        assert (found.error is not None) == fails, f"{found.error!r} is told"


def _expected(ended: list[Found], limit: int) -> tuple[list[tuple[dict[str, Any], int]], bool | None]:
    """Get the events to be told, with their ends, and whether an error follows; None where both are right."""
    expected: list[tuple[dict[str, Any], int]] = []
    for event in ended:
        if event.size > limit or event.lines > MAX_EVENT_LINES + 1:
            return expected, True
        if event.lines > MAX_EVENT_LINES:
            return expected, None  # a line less, if it is a name that the data repeat
        if event.data is None or event.name == "ping":
            continue
        try:
            value = json_object(event.data)
        except Unsure:
            return expected, None
        if value is None:
            return expected, True
        if value.get("type") != "ping":
            expected.append((value, event.end))
    return expected, False


def _check_endless(document: bytes, limit: int) -> None:
    """An event without end is given up as soon as it is too large, so what is held has a bound."""
    line = document[:64].replace(b"\r", b"").replace(b"\n", b"")
    if limit == MAX_EVENT_BYTES or not line:
        return
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for chunk in itertools.repeat(line):
            taken += len(chunk)
            yield chunk

    try:
        next(events(endless(), max_event_bytes=limit))
    except ProtocolError:
        assert taken <= limit + 1 + 3 + len(line), "more is held than is allowed"  # 3: a byte order mark
    else:
        raise AssertionError("an event without end was told")


def check_answer(found: Iterable[dict[str, Any]]) -> None:
    """Accumulate events, and look at each step."""
    answer, unseen = Accumulator(), Accumulator()
    before: Any = None
    for event in itertools.islice(found, _MOST_EVENTS):
        written = json.dumps(event)
        accepted = _accepted(answer, event)
        assert _accepted(unseen, event) == accepted, "looking changes what is accepted"
        after: Any = answer.snapshot()
        json.dumps(after, allow_nan=False)
        if accepted:
            _check_step(before, event, after)
        else:
            assert after == before, "an event that was refused changed the answer"
        check_replay(answer)
        assert json.dumps(event) == written, "an event was changed"
        before = after
    assert unseen.snapshot() == answer.snapshot(), "looking changes the answer"


def _accepted(answer: Accumulator, event: dict[str, Any]) -> bool:
    try:
        answer.add(event)
    except ProtocolError:
        return False
    return True


def check_replay(answer: Accumulator) -> None:
    """A replay makes the same answer, in the same state."""
    other = Accumulator()
    for event in answer.replay():
        json.dumps(event, allow_nan=False)
        other.add(event)
    assert other.snapshot() == answer.snapshot(), "a replay makes another answer"
    assert [part.open for part in other.parts()] == [part.open for part in answer.parts()]
    assert other.usage() == answer.usage()


def _check_step(before: Any, event: dict[str, Any], after: Any) -> None:
    """One event changes what it is about, and nothing else."""
    kind: Any = event["type"]
    if before is None:
        assert after is None or (kind == "message_start" and after["content"] == [])
        return
    old, new = before["content"], after["content"]
    match kind:
        case "content_block_start":
            assert new == [*old, event["content_block"]]
            assert _without(after, "content", "model") == _without(before, "content", "model")
        case "content_block_delta":
            assert _without(after, "content") == _without(before, "content")
            at = event["index"]
            assert [*new[:at], *new[at + 1 :]] == [*old[:at], *old[at + 1 :]], "a delta changed another block"
            _check_delta(old[at], event["delta"], new[at])
        case "content_block_stop":
            at = event["index"]
            assert _without(new[at], RAW_INPUT, "input") == _without(old[at], RAW_INPUT, "input")
            assert [*new[:at], *new[at + 1 :]] == [*old[:at], *old[at + 1 :]], "a stop changed another block"
        case "message_delta":
            assert new == old, "a message_delta changed a block"
        case _:
            assert after == before, "an event that means nothing changed the answer"


def _check_delta(old: dict[str, Any], delta: dict[str, Any], new: dict[str, Any]) -> None:
    piece_key = GROWING.get(delta.get("type", ""))
    if piece_key is None:
        grown = ("text", "thinking", RAW_INPUT)
        assert [new.get(key) for key in grown] == [old.get(key) for key in grown], (
            "a text was changed by something else"
        )
    else:
        target = RAW_INPUT if piece_key == "partial_json" else piece_key
        assert new[target] == (old.get(target) or "") + delta[piece_key], "a text did not grow by its delta"
        assert _without(new, target) == _without(old, target)


def _without(mapping: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item for key, item in mapping.items() if key not in keys}
