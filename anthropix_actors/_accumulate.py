"""Events → Message, in linear time.

The rules:

- `message_start` gives the Message; `content_block_start` appends a block; a delta changes the block of its `index`;
- text, thinking and tool input grow; signatures and compactions are replaced; citations are appended;
- tool input is parsed once, when its block stops; what is not JSON stays as text under `RAW_INPUT`;
- `message_delta` overwrites: its totals are cumulative, so nothing is ever added up. Null never overwrites a count;
- an event or a delta of an unknown type changes nothing;
- a block is found by its place: `index` 2 is the third that started. A second `message_start` changes nothing;
- a delta for a block that never started is an error: applying it anywhere would be a guess. One that makes a text of a
  block grow that has stopped opens it again;
- an event that is refused changes nothing.

Text is kept in pieces and joined when somebody looks: appending to a growing string would be quadratic.

Source: https://docs.claude.com/en/docs/build-with-claude/streaming, read 2026-11-23.
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any, ClassVar

from anthropix_actors._resume import MISSHAPEN, Part, misshapen
from anthropix_actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anthropix_actors.types import Event, Message

RAW_INPUT = "input_json"
"""The key of a tool call that holds its input as text: while it is incomplete, and for good if it is not JSON."""

GROWING = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""Delta type → the key of its piece."""

_PIECES_PER_RUN = 1024

_NOT_COMPACTED = frozenset({"type", "text", "thinking", RAW_INPUT, "to"})
"""Keys that a compaction does not replace: what grows is changed by its own deltas alone, a fallback by nothing."""

_TARGET = {"text": "text", "thinking": "thinking", "partial_json": RAW_INPUT}
"""Key of a piece → key of the block that the pieces make."""


class _Block:
    """One content block, and the pieces that are not joined to it yet.

    Every so many pieces are joined to a run: a million pieces on their own would need more memory than their text.
    """

    __slots__ = ("data", "open", "pieces", "runs", "target")

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.open = True
        self.target = ""
        self.pieces: list[str] = []
        self.runs: list[str] = []

    def grow(self, target: str, piece: str) -> None:
        if type(piece) is not str:  # found now, or the join would fail in whoever looks
            raise TypeError(f"{target} grew by a {type(piece).__name__}")
        if target != self.target:
            self.join()
            if type(self.data.get(target) or "") is not str:
                raise TypeError(f"{target} began as a {type(self.data[target]).__name__}")
            self.target = target
            self.open = True  # should it have stopped before
        self.pieces.append(piece)
        if len(self.pieces) >= _PIECES_PER_RUN:
            self.runs.append("".join(self.pieces))
            self.pieces.clear()

    def join(self) -> None:
        if self.pieces or self.runs:
            begun = self.data.get(self.target)
            # A later delta may have put anything there; that must not fail in whoever looks.
            self.data[self.target] = "".join([begun if isinstance(begun, str) else "", *self.runs, *self.pieces])
            self.pieces.clear()
            self.runs.clear()

    def stop(self) -> None:
        self.join()
        self.open = False
        self.target = ""
        if isinstance(self.data.get(RAW_INPUT), str):
            try:
                self.data["input"] = _decode(self.data[RAW_INPUT] or "{}")
            except (ValueError, RecursionError):
                return  # the text stays where it is
            del self.data[RAW_INPUT]


class Accumulator:
    """The Message that a chat's events make. Not thread-safe: its owner sees to that.

    Example:
        >>> answer = Accumulator()
        >>> answer.add({"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": {}}})
        >>> answer.add({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        >>> answer.add({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}})
        >>> answer.snapshot()
        {'id': 'msg_1', 'content': [{'type': 'text', 'text': 'Hi'}], 'usage': {}}
    """

    __slots__ = ("_blocks", "_message", "_stopping")

    def __init__(self) -> None:
        """Start with nothing."""
        self._message: dict[str, Any] | None = None
        self._blocks: list[_Block] = []
        self._stopping = False  # a message_delta has come

    def add(self, event: Event | dict[str, Any]) -> None:
        """Take the next event.

        Raises:
            ProtocolError: the event belongs to a message or a block that never started, or lacks what its type has.
        """
        try:
            handler = self._HANDLERS.get(event["type"])
            if handler is not None:
                handler(self, event)  # type: ignore[arg-type] # an Event is a dict
        except MISSHAPEN as exc:
            raise misshapen(event, exc) from exc

    def snapshot(self) -> Message | None:
        """Get the Message so far: a copy of the caller's own, or None before `message_start`."""
        if self._message is None:
            return None
        for block in self._blocks:
            block.join()
        copy: Message = _copy(self._message)
        return copy

    def usage(self) -> dict[str, Any] | None:
        """Get the usage as the API told it at the end, not a copy; None before."""
        return self._message.get("usage") if self._message is not None and self._stopping else None

    def parts(self) -> list[Part]:
        """Get the blocks so far, to go on from; not copies."""
        for block in self._blocks:
            block.join()
        return [Part(block.data, block.open) for block in self._blocks]

    def go_on(self, kept: int, usage: Mapping[str, Any]) -> None:
        """Take another answer's events from now on: for those blocks to keep, and with what was used until now."""
        message = self._started()
        del self._blocks[kept:], message["content"][kept:]
        message["usage"] = dict(usage)

    def replay(self) -> Iterator[Event]:
        """Get events that rebuild the present state in another accumulator: few, however many deltas came."""
        message: Any = self.snapshot()
        if message is None:
            return
        content, message["content"] = message["content"], []
        yield {"type": "message_start", "message": message}
        for index, (block, data) in enumerate(zip(self._blocks, content, strict=True)):
            yield from _replay_block(index, data, is_open=block.open)
        if self._stopping:
            ends = ["stop_reason", "stop_sequence", "stop_details", "container"]
            if any(block.data.get("type") == "fallback" for block in self._blocks):
                ends.append("model")  # it may have been changed after that block named it
            delta = {key: message[key] for key in ends if key in message}
            end: Any = {"type": "message_delta", "delta": delta}
            if message.get("usage"):
                end["usage"] = _copy(message["usage"])
            yield end

    def _started(self) -> dict[str, Any]:
        if self._message is None:
            raise ProtocolError("an event came before message_start")
        return self._message

    def _block(self, event: dict[str, Any]) -> _Block:
        index = event["index"]
        if not 0 <= index < len(self._blocks):
            raise ProtocolError(f"{event['type']} for block {index}, which never started", body=event)
        block: _Block = self._blocks[index]
        return block

    def _message_start(self, event: dict[str, Any]) -> None:
        if self._message is not None:
            return
        message = _copy(event["message"])
        message["content"] = []
        if not isinstance(message.get("usage") or {}, dict):  # found now, or whoever counts would fail
            raise TypeError("the usage is no mapping")
        self._message = message

    def _content_block_start(self, event: dict[str, Any]) -> None:
        message = self._started()
        data = _copy(event["content_block"])
        if data.get("type") == "fallback":  # another model goes on from here
            message["model"] = (data.get("to") or {}).get("model", message.get("model"))
        self._blocks.append(_Block(data))
        message["content"].append(data)

    def _content_block_delta(self, event: dict[str, Any]) -> None:
        block = self._block(event)
        delta = event["delta"]
        kind = delta.get("type")
        piece_key = GROWING.get(kind)
        if piece_key is not None:
            block.grow(_TARGET[piece_key], delta[piece_key])
        elif kind == "signature_delta":
            block.data["signature"] = delta["signature"]
        elif kind == "citations_delta":
            block.data["citations"] = [*(block.data.get("citations") or ()), _copy(delta["citation"])]
        elif kind == "compaction_delta":
            block.data.update({key: value for key, value in delta.items() if key not in _NOT_COMPACTED})

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        self._block(event).stop()

    def _message_delta(self, event: dict[str, Any]) -> None:
        message = self._started()
        told = {key: value for key, value in event.items() if key not in ("type", "delta")} | event.get("delta", {})
        if told.get("container", message) is None:
            del told["container"]
        told.pop("content", None)  # the blocks are what started, whatever else is said
        if "usage" in event:
            counts = {name: count for name, count in (event["usage"] or {}).items() if count is not None}
            told["usage"] = (message.get("usage") or {}) | counts
        else:
            told.pop("usage", None)
        message.update(_copy(told))
        self._stopping = True

    _HANDLERS: ClassVar[dict[str, Callable[[Accumulator, dict[str, Any]], None]]] = {
        "message_start": _message_start,
        "content_block_start": _content_block_start,
        "content_block_delta": _content_block_delta,
        "content_block_stop": _content_block_stop,
        "message_delta": _message_delta,
    }


def _replay_block(index: int, data: dict[str, Any], *, is_open: bool) -> Iterator[Any]:
    """Say a block again: its start as it would be empty, one delta for each thing that grew, its stop."""
    raw = data.pop(RAW_INPUT) if isinstance(data.get(RAW_INPUT), str) else None
    hollow = dict[str, Any]()
    if raw is None and data.get("input") and not is_open and RAW_INPUT not in data:
        with contextlib.suppress(RecursionError):  # nested so deeply it goes with the start
            raw = json.dumps(data["input"])
            hollow["input"] = {}
    texts = [key for key in ("text", "thinking", "signature") if data.get(key) and isinstance(data[key], str)]
    citations = data["citations"] if isinstance(data.get("citations"), list) else []
    deltas = [{"type": f"{key}_delta", key: data[key]} for key in texts]
    deltas += [{"type": "citations_delta", "citation": citation} for citation in citations]
    if raw is not None:
        deltas.append({"type": "input_json_delta", "partial_json": raw})
    start = {**data, **hollow, **dict.fromkeys(texts, "")}
    if citations:
        start["citations"] = []
    yield {"type": "content_block_start", "index": index, "content_block": start}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    if not is_open:
        yield {"type": "content_block_stop", "index": index}


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


_decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode
"""Decodes what others can read again: Python's own way takes NaN, and numbers so large that they become infinite."""


def _copy(value: Any) -> Any:
    """Copy JSON: faster than `copy.deepcopy`, which must be ready for anything, and not limited in depth."""
    if not isinstance(value, (dict, list)):
        return value
    whole = value.copy()
    todo: list[Any] = [whole]
    while todo:
        part = todo.pop()
        for key, item in part.items() if isinstance(part, dict) else enumerate(part):
            if isinstance(item, (dict, list)):
                part[key] = inner = item.copy()
                todo.append(inner)
    return whole
