"""Bytes of a fuzzer → cuts, JSON values and events of the API, some of them odd. The same bytes give the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")

_DEEPEST = 3
_MOST_EVENTS = 16

_TEXTS = [
    *["", "x", " ", "\n ", "é🎭", '{"a":', "1}", "{}", "NaN", "[1e999]", '"\\ud800"', "text", "tool_use", "end_turn"],
    *["\ud83d", "\ude00x", "x\ud83d", '{"a":"\\ud83d', '\\ude00"}', "null", "[1]", "1" * 30, "error", "image"],
]
_PLAIN = [None, 0, 1, -1, 2, True, False, 1.5, 10**20, 10**4200, "", "x", " ", "5", "text_delta"]
_KEYS = [
    *["type", "text", "thinking", "signature", "partial_json", "input_json", "input", "citation", "citations", "index"],
    *["content", "encrypted_content", "usage", "model", "to", "id", "tool_use_id", "stop_reason", "container", "delta"],
    *["message", "content_block", "output_tokens", "iterations", "name", "data", "error", "x\ud83d"],
]
_BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": ""},
    {"type": "text", "text": "Once", "citations": []},
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}},
    {"type": "tool_use", "id": "toolu_2", "name": "t", "input": {"path": "a"}},
    {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "t", "input": ""},
    {"type": "thinking", "thinking": "Hm"},
    {"type": "news", "text": 5},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "t", "input": {"a": 1}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "compaction", "content": None},
    {"type": "fallback", "to": {"model": "other"}},
]
_DELTAS = ["text", "text", "thinking", "signature", "input_json", "citations", "compaction", "news"]
_KINDS = [
    *["content_block_delta", "content_block_start", "content_block_delta", "content_block_stop"],
    *["content_block_delta", "message_delta", "message_start", "ping", "message_stop", "news", "error", ""],
]
_BETWEEN = ["content_block_start", "content_block_start", "content_block_start", "message_delta"]
_WITHIN = ["content_block_delta", "content_block_delta", "content_block_stop"]
_NEXT = {
    "content_block_start": _WITHIN,
    "content_block_delta": _WITHIN,
    "message_delta": ["message_stop"],
    "message_stop": ["message_stop", "news"],
}
"""What follows a kind of event in an answer that is in order."""


class Dice:
    """Throws what the bytes say, and zeros when there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return max(0, len(self._data) - self._at)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def pick(self, values: Sequence[_T]) -> _T:
        return values[self.byte() % len(values)]

    def seldom(self) -> bool:
        return self.byte() >= 224  # not for zero: what the end of the bytes gives is plain

    def rest(self) -> bytes:
        return self._data[self._at :]


def sizes(dice: Dice) -> list[int]:
    """Get sizes of chunks; they are used over and over."""
    return [byte if byte < 64 else byte * 8 for byte in (dice.byte() for _ in range(3))]


def cut(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    """Cut data into chunks of these lengths; empty ones among them, which a caller may well hand over."""
    chunks: list[bytes] = []
    at = 0
    while at < len(data) and any(lengths):
        for length in lengths:
            chunks.append(data[at : at + length])
            at += length
    return chunks if any(lengths) else [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def value(dice: Dice, depth: int = 0) -> Any:
    """Get any JSON value, made of the API's own words."""
    kind = dice.byte() % 8
    if kind < 3 or depth >= _DEEPEST:
        return dice.pick(_PLAIN)
    if kind < 5:
        return dice.pick(_TEXTS)
    if kind == 5:
        return [value(dice, depth + 1) for _ in range(dice.byte() % 3)]
    return {dice.pick(_KEYS): value(dice, depth + 1) for _ in range(dice.byte() % 4)}


def events(dice: Dice) -> list[dict[str, Any]]:
    """Get the events of an answer, some of them odd, missing, or in the wrong place."""
    way = dice.byte()
    in_order = way % 4 == 1
    found = [_event(dice, "message_start", 0)] if way < 224 else []
    started, kind = 0, ""
    same = way % 8 == 2  # all blocks have one index
    while dice.left and len(found) < _MOST_EVENTS:
        kind = dice.pick(_NEXT.get(kind, _BETWEEN) if in_order else _KINDS)
        event = _event(dice, kind, started)
        if same and type(event.get("index")) is int:
            event["index"] = 0
        found.append(event)
        started += kind == "content_block_start"
    return found


def _event(dice: Dice, kind: str, started: int) -> dict[str, Any]:
    event: dict[str, Any] = {"type": kind} if kind else {}
    if kind == "message_start":
        usage = {"input_tokens": 3, "output_tokens": 1}
        event["message"] = {"id": "msg_1", "model": "m", "content": [], "stop_reason": None, "usage": usage}
    elif kind == "content_block_start":
        event |= {"index": started, "content_block": _copy(dice.pick(_BLOCKS))}
    elif kind == "content_block_delta":
        event |= {"index": max(0, started - 1), "delta": _delta(dice)}
    elif kind == "content_block_stop":
        event["index"] = max(0, started - 1)
    elif kind == "message_delta":
        event |= {"delta": {"stop_reason": "end_turn", "container": None}, "usage": {"output_tokens": 9}}
    elif kind == "error":
        event["error"] = {"type": "overloaded_error", "message": "Overloaded"}
    if dice.seldom():
        _spoil(dice, event)
    return event


def _delta(dice: Dice) -> dict[str, Any]:
    kind, text = dice.pick(_DELTAS), dice.pick(_TEXTS)
    match kind:
        case "input_json":
            more: dict[str, Any] = {"partial_json": text}
        case "citations":
            more = {"citation": {"cited_text": text}}
        case "compaction":
            more = {"content": text, "encrypted_content": "e"}
        case _:
            more = {kind: text}
    return {"type": f"{kind}_delta", **more}


def _spoil(dice: Dice, event: dict[str, Any]) -> None:
    """Drop, replace or add one thing in an event, or in a mapping within."""
    target = event
    inner = [item for item in event.values() if isinstance(item, dict)]
    if inner and dice.byte() % 2:
        target = inner[0]
    names = list(target)
    match dice.byte() % 4:
        case 0 if names:
            del target[dice.pick(names)]
        case 1 if names:
            target[dice.pick(names)] = value(dice)
        case _:
            target[dice.pick(_KEYS)] = value(dice)


def _copy(block: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(block))  # type: ignore[no-any-return]


def message(dice: Dice) -> dict[str, Any]:
    """Get a whole Message, perhaps an odd one."""
    content = [_copy(dice.pick(_BLOCKS)) for _ in range(dice.byte() % 4)]
    for block in content:
        if dice.seldom():
            _spoil(dice, block)
    usage = {"input_tokens": 3, "output_tokens": 9}
    made: dict[str, Any] = {"type": "message", "content": content, "stop_reason": "end_turn", "usage": usage}
    if dice.seldom():
        _spoil(dice, made)
    return made
