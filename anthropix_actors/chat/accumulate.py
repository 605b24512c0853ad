"""Events → Message, in linear time.

The rules:

- `message_start` gives the Message; `content_block_start` appends a block; a delta changes the block of its `index`;
- text, thinking and tool input grow; signatures and compactions are replaced; citations are appended;
- tool input is parsed once, when its block stops; input that is not a JSON object stays as text under `RAW_INPUT`;
- the finished blocks can be sent back to the API (see `block`);
- `message_delta` overwrites: its totals are cumulative, so nothing is ever added up. Null never overwrites anything;
- an event or a delta of an unknown type changes nothing;
- a block is found by its `index`: of several that started with the same one, the last that the delta fits; if none
  started with it, by its place, so `index` 2 is the third. A second `message_start` changes nothing;
- a delta for a block that never started is an error: applying it anywhere would be a guess, and skipping it would
  make an incomplete answer look complete. A delta that does not fit the block of its index changes nothing;
- a delta that makes a text grow reopens its block if that has stopped; `message_stop` stops all open blocks;
- an event that is refused changes nothing.

Text is kept in pieces and joined when it is read: appending to a growing string would be quadratic.

Source: https://docs.claude.com/en/docs/build-with-claude/streaming, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from anthropix_actors._decode.event_repair import GROWING
from anthropix_actors._decode.json import copied
from anthropix_actors.chat.block import MISSHAPEN, RAW_INPUT, Block, PartialBlock, kind_of, misshapen
from anthropix_actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anthropix_actors._wire.events import Event
    from anthropix_actors._wire.message import Message

__all__ = ["GROWING", "RAW_INPUT", "Accumulator", "events_of"]

_SAID_LATER = frozenset({"stop_reason", "stop_sequence", "stop_details"})
"""Keys of a Message that are null in its `message_start`."""


class Accumulator:
    """Builds the Message from a chat's events. Not thread-safe: its owner locks.

    Example:
        >>> answer = Accumulator()
        >>> answer.add({"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": {}}})
        >>> answer.add({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        >>> answer.add({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}})
        >>> answer.snapshot()
        {'id': 'msg_1', 'content': [{'type': 'text', 'text': 'Hi'}], 'usage': {}}
    """

    __slots__ = ("_blocks", "_by_index", "_message", "_stopping")

    def __init__(self) -> None:
        """Start without a Message."""
        self._message: dict[str, Any] | None = None
        self._blocks: list[Block] = []
        self._by_index: dict[Any, Block] = {}  # the block that last started with this index
        self._stopping = False  # a message_delta has come

    def add(self, event: Event | dict[str, Any]) -> None:
        """Apply the next event.

        Raises:
            ProtocolError: the event belongs to a message or a block that never started, or lacks a key of its type.
        """
        try:
            handler = self._HANDLERS.get(event["type"])
            if handler is not None:
                handler(self, event)  # type: ignore[arg-type] # an Event is a dict
        except MISSHAPEN as exc:
            raise misshapen(event, exc) from exc

    def snapshot(self) -> Message | None:
        """Return a copy of the Message so far, or None before `message_start`."""
        if self._message is None:
            return None
        for block in self._blocks:
            block.join()
        copy: Message = copied(self._message)
        return copy

    def ended_by(self, event: Mapping[str, Any]) -> list[Block]:
        """Return the blocks that an event will end when it is added.

        Raises:
            ProtocolError: it ends a block that never started.
        """
        if event["type"] == "content_block_stop":
            ended = [self._block(event)]
        else:
            ended = self._blocks if event["type"] == "message_stop" else []
        return [block for block in ended if block.open]

    def usage(self) -> dict[str, Any] | None:
        """Return the usage of the answer's end, not a copy; None before a `message_delta`."""
        return self._message.get("usage") if self._message is not None and self._stopping else None

    def partial_blocks(self) -> list[PartialBlock]:
        """Return the blocks so far, to resume from; not copies."""
        for block in self._blocks:
            block.join()
        return [PartialBlock(block.data, block.open) for block in self._blocks]

    def resume_from(self, kept: int, usage: Mapping[str, Any]) -> None:
        """Apply another answer's events from now on, after the first `kept` blocks, with the `usage` until now."""
        message = self._started()
        del self._blocks[kept:], message["content"][kept:]
        message["usage"] = dict(usage)
        for place, block in enumerate(self._blocks):  # the other answer's blocks follow them
            block.index = place
        self._by_index = dict(enumerate(self._blocks))

    def replay(self) -> Iterator[Event]:
        """Yield events that rebuild the current state in another accumulator: few, however many deltas came."""
        message: Any = self.snapshot()
        if message is None:
            return
        content, message["content"] = message["content"], []
        yield {"type": "message_start", "message": message}
        for block, data in zip(self._blocks, content, strict=True):
            yield from block.replay(data)
        if self._stopping:
            ends = ["stop_reason", "stop_sequence", "stop_details", "container"]
            if any(block.data.get("type") == "fallback" for block in self._blocks):
                ends.append("model")  # it may have changed after that block named it
            delta = {key: message[key] for key in ends if key in message}
            end: Any = {"type": "message_delta", "delta": delta}
            if message.get("usage"):
                end["usage"] = copied(message["usage"])
            yield end

    def _started(self) -> dict[str, Any]:
        if self._message is None:
            raise ProtocolError("an event came before message_start")
        return self._message

    def _block(self, event: Mapping[str, Any]) -> Block:
        index = event["index"]
        block = self._by_index.get(index)
        if block is None:
            if not 0 <= index < len(self._blocks):
                raise ProtocolError(f"{event['type']} for block {index}, which never started", body=event)
            block = self._blocks[index]
        return block

    def _message_start(self, event: dict[str, Any]) -> None:
        if self._message is not None:
            return
        message = copied(event["message"])
        message["content"] = []
        if not isinstance(message.get("usage") or {}, dict):
            message["usage"] = {}
        self._message = message

    def _content_block_start(self, event: dict[str, Any]) -> None:
        message = self._started()
        data = copied(event["content_block"])
        block = Block(data, self._index_of(event))
        if data["type"] == "fallback" and isinstance(data.get("to"), dict):  # another model goes on from here
            message["model"] = data["to"].get("model", message.get("model"))
        self._blocks.append(block)
        self._by_index[block.index] = block
        message["content"].append(data)

    def _index_of(self, event: dict[str, Any]) -> int:
        """Return the index of a block that starts: its own, or else one that no other has."""
        index = event.get("index")
        if type(index) is int and index >= 0:
            return index
        index = len(self._blocks)
        while index in self._by_index:
            index += 1
        return index

    def _content_block_delta(self, event: dict[str, Any]) -> None:
        block = self._by_index.get(event["index"]) or self._block(event)
        delta = event["delta"]
        try:
            key = block.grows[delta["type"]]
            piece = delta[key]
        except (LookupError, TypeError):
            self._other_delta(block, delta)
        else:
            block.grow(key, piece)

    def _other_delta(self, block: Block, delta: dict[str, Any]) -> None:
        """Apply a delta that does not extend a text of this block, or not in the usual way."""
        kind = kind_of(delta)
        fitting = self._that_takes(kind, block)
        if fitting is not None:
            fitting.add(kind, delta)

    def _that_takes(self, kind: str, last: Block) -> Block | None:
        """Return the last block that a delta fits, of those that started with the same index."""
        same = (block for block in reversed(self._blocks) if block.index == last.index)
        return next((block for block in same if kind in block.takes), None)

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        self._block(event).stop()

    def _message_delta(self, event: dict[str, Any]) -> None:
        message = self._started()
        told = {key: value for key, value in event.items() if key not in ("type", "delta")}
        delta, usage = event.get("delta"), event.get("usage")
        if isinstance(delta, dict):
            told |= delta
        told = {key: value for key, value in told.items() if value is not None or message.get(key) is None}
        told.pop("content", None)  # the content is the blocks that started, whatever this event says
        told.pop("usage", None)
        if isinstance(usage, dict):
            counts = {name: count for name, count in usage.items() if count is not None}
            told["usage"] = (message.get("usage") or {}) | counts
        message.update(copied(told))
        self._stopping = True

    def _message_stop(self, _: dict[str, Any]) -> None:
        for block in self._blocks:
            if block.open:
                block.stop()

    _HANDLERS: ClassVar[dict[str, Callable[[Accumulator, dict[str, Any]], None]]] = {
        "message_start": _message_start,
        "content_block_start": _content_block_start,
        "content_block_delta": _content_block_delta,
        "content_block_stop": _content_block_stop,
        "message_delta": _message_delta,
        "message_stop": _message_stop,
    }


def events_of(message: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the events that a server would have sent for a whole Message.

    Raises:
        ProtocolError: a part of it is not of the API's shape.

    Example:
        >>> message = {"id": "msg_1", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
        >>> [event["type"] for event in events_of(message)][1:-2]
        ['content_block_start', 'content_block_delta', 'content_block_stop']
    """
    answer = Accumulator()
    starts: list[Any] = [{"type": "message_start", "message": message}]
    for index, block in enumerate(message["content"]):
        starts.append({"type": "content_block_start", "index": index, "content_block": block})
        starts.append({"type": "content_block_stop", "index": index})
    starts.append({"type": "message_delta", "delta": {}})
    for event in starts:
        answer.add(event)
    told: Iterator[Any] = answer.replay()
    first = next(told)
    yield {**first, "message": {**first["message"], **dict.fromkeys(_SAID_LATER & message.keys())}}
    yield from told
    yield {"type": "message_stop"}
