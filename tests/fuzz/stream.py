"""What has to hold for the bytes of a stream, and for the events of an answer, whatever they are."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from anthropix_actors._checks.resolving import fits
from anthropix_actors._checks.shapes import Tagged
from anthropix_actors._decode.sse import MAX_EVENT_BYTES, MAX_EVENT_LINES
from anthropix_actors.chat.accumulate import GROWING, RAW_INPUT, Accumulator
from anthropix_actors.chat.block import kind_of
from anthropix_actors.chat.parameters import BLOCKS, chat_body
from anthropix_actors.errors import ProtocolError

from actors import going_on
from decoding import events
from fuzz.odd import Dice, bytewise, cut, sizes
from fuzz.odd import events as odd_events
from fuzz.reference import Unsure, json_value, parse, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fuzz.reference import Found

_LIMITS = [MAX_EVENT_BYTES, MAX_EVENT_BYTES, 200, 50, 20, 7, 1, 0]
_LINE_ENDS = [b"\n", b"\n", b"\r\n", b"\r"]
_BEFORE = [b"", b"", b": comment\n", b"id: 7\n", b"id: \0\n", b"\n", b"retry: 1\n", b"data\n", b"\xff: \xe2\n"]
_NAMES = [
    *[b"event: %s\n", b"event: %s\n", b"", b"event: ping\n", b"event: x\nevent: %s\n", b"event\n", b"event:%s\n"],
    *[b"event: error\n", b"event: metrics\n"],
]
_AFTER = [
    b"",
    b"",
    b"",
    b"data: [DONE]\n\n",
    b"event: metrics\ndata: x\n\n",
    b"data:\n\n",
    b"event: error\ndata: x\n\n",
]
_LAST = [
    b"",
    b"",
    b"",
    b'event: message_stop\ndata: {"type":"message_stop"}',
    b"data: [DONE]\n",
    b'data: {"type":"mess',
]
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


def outcome(chunks: Iterable[bytes], limit: int = MAX_EVENT_BYTES, *, lenient: bool = False) -> Outcome:
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
        for event in events(counted(), max_event_bytes=limit, lenient=lenient):
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
    document = b"".join(_written(event, dice if decorated else Dice(b"")) for event in given)
    if decorated:
        document = dice.pick([b"", b"", b"\xef\xbb\xbf"]) + document + dice.pick(_LAST)
    found = check_document(document.replace(b"\n", line_end), lengths, MAX_EVENT_BYTES)
    if not decorated and "\\ud8" not in (plain := json.dumps(given)) and "\\ude" not in plain:
        rest = iter(found)
        fine = [
            event for event in given if isinstance(event.get("type"), str) and event["type"] not in ("ping", "error")
        ]
        assert all(event in rest for event in fine), "an event was lost, or told in another order"
    check_answer(found)


def _written(event: dict[str, Any], dice: Dice) -> bytes:
    name = dice.pick(_NAMES)
    if b"%s" in name:
        name %= json.dumps(event.get("type", "")).strip('"').encode()
    text = json.dumps(event, ensure_ascii=dice.byte() % 2 == 0, separators=(",", ":"))
    data = text.encode(errors="backslashreplace")  # half a surrogate pair is an escape, as JSON has it
    return dice.pick(_BEFORE) + name + b"data: " + data + b"\n\n" + dice.pick(_AFTER)


def as_decoded(given: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Get events as they are when they have been written and decoded."""
    return list(events([_written(event, Dice(b"")) for event in given], lenient=True))


def check_document(document: bytes, lengths: Sequence[int], limit: int) -> list[dict[str, Any]]:
    """Decode a document in many ways, and compare; get its events."""
    lenient = lengths[0] % 2 == 0
    whole, ended = outcome([document], limit, lenient=lenient), parse(document)
    for way in (cut(document, lengths), bytewise(document) if len(document) <= _SHORT else cut(document, [7, 1, 50])):
        other = outcome(way, limit, lenient=lenient)
        assert (other.events, other.error) == (whole.events, whole.error), "how it is cut makes a difference"
        _check_reference(*ended, limit, other, lenient=lenient)
    json.dumps(whole.events, ensure_ascii=False, allow_nan=False).encode()
    assert all(type(event["type"]) is str for event in whole.events)
    shorter = outcome([document[: sum(lengths)]], limit, lenient=lenient)
    seen = shorter.events
    if seen and _is_an_end(seen[-1]):  # its empty line may be missing, and what follows it then is not seen
        seen = seen[:-1]
    assert seen == whole.events[: len(seen)], "what comes later changes what was told"
    assert shorter.error in (None, whole.error)
    _check_endless(document, limit)
    return whole.events


def _is_an_end(event: dict[str, Any]) -> bool:
    return event["type"] in ("message_stop", "error") or str(event.get("data")).strip() == "[DONE]"


def _check_reference(ended: list[Found], tail: int, rest: Found, limit: int, found: Outcome, *, lenient: bool) -> None:
    """Compare with the specification: the events, at which byte each is told, and whether there is an error."""
    expected, fails = _expected(ended, limit, lenient=lenient)
    if fails is False and tail <= limit + 1 and (last := _last(rest, lenient=lenient)) is not None:
        if last is ...:
            return
        assert found.events[len(expected) :] == [last], "the end of the answer is not told"
        found = found._replace(events=found.events[:-1])
    assert found.events[: len(expected)] == [value for value, _ in expected], "not as the specification says"
    for (_, end), (before, after) in zip(expected, found.taken, strict=False):
        assert before < end <= after, "an event is told too early, or too late"
    if fails is not None:
        fails = fails or tail > limit + 1  # the LF of its last line, which may be no line of it yet
        assert len(found.events) == len(expected), "more is told than the specification says"
        assert (found.error is not None) == fails, f"{found.error!r} is told"


def _last(rest: Found, *, lenient: bool) -> Any:
    """Get what is told for an event without an empty line at its end: only one that is whole, and the end."""
    if rest.data is None or rest.lines >= MAX_EVENT_LINES or rest.name == "ping":
        return None
    try:
        value = json_value(rest.data)
        event, _ = told(rest.name, rest.data, lenient=lenient)
    except Unsure:
        return ...
    if rest.data.strip() != "[DONE]" and not isinstance(value, dict):
        return None
    return event if event is not None and _is_an_end(event) and _says_it_itself(rest.name, value) else None


def _says_it_itself(name: str, value: Any) -> bool:
    """Whether the data say that it is the end, not the name alone."""
    return not isinstance(value, dict) or name == "error" or value.get("type") in ("message_stop", "error")


def _expected(ended: list[Found], limit: int, *, lenient: bool) -> tuple[list[tuple[dict[str, Any], int]], bool | None]:
    """Get the events to be told, with their ends, and whether an error follows; None where both are right."""
    expected: list[tuple[dict[str, Any], int]] = []
    for event in ended:
        if event.size > limit or event.lines > MAX_EVENT_LINES + 1:
            return expected, True
        if event.lines > MAX_EVENT_LINES:
            return expected, None  # a line less, if it is a name that the data repeat
        try:
            value, fails = told(event.name, event.data, lenient=lenient)
        except Unsure:
            return expected, None
        if fails:
            return expected, True
        if value is not None:
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
    answer, unseen, late = Accumulator(), Accumulator(), Accumulator()
    before: Any = None
    given = list(itertools.islice(found, _MOST_EVENTS))
    for number, event in enumerate(given):
        if number == len(given) // 2:  # somebody joins
            for each in answer.replay():
                late.add(each)
        written = json.dumps(event)
        accepted = _accepted(answer, event)
        assert _accepted(unseen, event) == accepted, "looking changes what is accepted"
        after: Any = answer.snapshot()
        json.dumps(after, allow_nan=False)
        if accepted:
            _check_step(before, event, after)
        else:
            assert after == before, "an event that was refused changed the answer"
        if number >= len(given) // 2:
            assert _accepted(late, event) == accepted, "who joins late is told what he cannot take"
            assert late.snapshot() == after, "who joins late has another answer"
        check_sendable(after)
        check_replay(answer)
        assert json.dumps(event) == written, "an event was changed"
        before = after
    assert unseen.snapshot() == answer.snapshot(), "looking changes the answer"


def check_sendable(message: Any) -> None:
    """What is taken in can be sent back: as a turn of the assistant's, through the check of parameters, as JSON."""
    if message is None:
        return
    asked, after = {"role": "user", "content": "Hello"}, going_on(message["content"])
    calls = [block["tool_use_id"] for block in after["content"][:-1]]
    if len(set(calls)) < len(calls):
        return  # one answer with two calls of one id: no result could tell which it is for
    turns = [asked, {"role": "assistant", "content": message["content"]}, after]
    body = chat_body({"model": "m", "max_tokens": 1, "messages": turns}, api_version="2023-06-01")
    sent = json.loads(msgspec.json.encode(body))["messages"]
    kept = [_without(block, RAW_INPUT) if _is_call(block) else block for block in message["content"]]
    kept = [block for block in kept if not (block["type"] == "text" and not block["text"].strip())]
    assert sent == (
        [asked, {"role": "assistant", "content": kept}, after] if kept or not message["content"] else [asked, after]
    )


def _is_call(block: dict[str, Any]) -> bool:
    return block["type"] in ("tool_use", "server_tool_use", "mcp_tool_use")


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
    assert [part.open for part in other.partial_blocks()] == [part.open for part in answer.partial_blocks()]
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
            assert new[:-1] == old
            assert len(new) == len(old) + 1
            _check_start(event["content_block"], new[-1])
            assert _without(after, "content", "model") == _without(before, "content", "model")
        case "content_block_delta":
            assert _without(after, "content") == _without(before, "content")
            changed = _changed(old, new)
            assert len(changed) <= 1, "a delta changed two blocks"
            for at in changed:
                _check_delta(old[at], event["delta"], new[at])
        case "content_block_stop" | "message_stop":
            changed = _changed(old, new)
            assert len(changed) <= 1 or kind == "message_stop", "a stop changed two blocks"
            for at in changed:
                assert _without(new[at], RAW_INPUT, "input") == _without(old[at], RAW_INPUT, "input")
            assert _without(after, "content") == _without(before, "content")
        case "message_delta":
            assert new == old, "a message_delta changed a block"
            said = [key for key in ("stop_reason", "stop_sequence") if before.get(key) is not None]
            assert all(after[key] is not None for key in said), "what was said was erased"
        case _:
            assert after == before, "an event that means nothing changed the answer"


def _changed(old: list[Any], new: list[Any]) -> list[int]:
    assert len(new) == len(old)
    return [at for at, (one, other) in enumerate(zip(old, new, strict=True)) if one != other]


def _check_start(given: dict[str, Any], new: dict[str, Any]) -> None:
    """A block that fits its type is as it came; of another one, what fits is."""
    if fits(given, Tagged(BLOCKS, "a block").type):
        assert new == given
    known = [
        key for key, value in given.items() if isinstance(value, str) and value and key not in ("input", RAW_INPUT)
    ]
    assert all(new.get(key) in (given[key], None) for key in known), "a text was changed"


def _check_delta(old: dict[str, Any], delta: dict[str, Any], new: dict[str, Any]) -> None:
    kind = kind_of(delta)
    piece_key = GROWING.get(kind)
    if piece_key is None:
        grown = ("text", "thinking", RAW_INPUT)
        assert [new.get(key) for key in grown] == [old.get(key) for key in grown], (
            "a text was changed by something else"
        )
    else:
        target = RAW_INPUT if piece_key == "partial_json" else piece_key
        assert new[target] == (old.get(target) or "") + delta[piece_key], "a text did not grow by its delta"
        assert _without(new, target) == _without(old, target)
        wanted = {"text": "text", "thinking": "thinking"}.get(new["type"])
        assert wanted in (None, target), "a delta changed a block of another type"


def _without(mapping: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item for key, item in mapping.items() if key not in keys}
