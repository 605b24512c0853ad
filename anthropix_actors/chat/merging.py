"""Messages that wait for a slow subscriber: neighbouring deltas of the same block become one."""

from __future__ import annotations

import collections
import contextlib
from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.event_repair import GROWING
from anthropix_actors.chat.messages import ChatEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_CHARS = 1 << 16
"""How many characters wait for a slow subscriber before the chat itself waits."""


class MergingQueue(collections.deque[Any]):
    """A queue that merges neighbouring deltas of one chat. Whoever uses it holds a lock.

    Attributes:
        largest: How many characters a merged delta may have before the next one begins.
        chars: How many characters wait; a message without any counts as one.
        deltas: How many deltas wait, each counted that was merged.
    """

    def __init__(self, largest: int = MOST_CHARS) -> None:
        """Start empty."""
        super().__init__()
        self.largest = largest
        self.chars = self.deltas = 0

    def append(self, message: Any, /) -> None:
        """Add a message; a delta is merged with the one before."""
        kind, piece = merge_key(message)
        last = self[-1] if self else None
        if not kind:
            super().append(message)
        elif isinstance(last, _MergedDelta) and last.takes(message, kind, self.largest):
            last.add(message, piece)
        else:
            super().append(_MergedDelta(message, kind, piece))
        self.deltas += bool(kind)
        self.chars += max(1, len(piece))  # else empty ones would be kept without bound

    def extend(self, messages: Iterable[Any], /) -> None:
        """Add several messages."""
        for message in messages:
            self.append(message)

    def popleft(self) -> Any:
        """Take the first message.

        Raises:
            IndexError: there is none.
        """
        first = super().popleft()
        if not isinstance(first, _MergedDelta):
            self.chars -= 1
            return first
        self.chars -= first.chars
        self.deltas -= len(first.pieces)
        return first.message()

    def clear(self) -> None:
        """Drop all messages."""
        super().clear()
        self.chars = self.deltas = 0

    def take_all(self) -> list[Any]:
        """Take all messages."""
        taken: list[Any] = []
        with contextlib.suppress(IndexError):  # at the end; a subscriber that leaves may clear it at any moment
            while True:
                taken.append(self.popleft())
        return taken

    def is_full(self, size: int) -> bool:
        """Return whether `size` messages wait, or too many characters."""
        return len(self) >= size or self.chars >= MOST_CHARS


class _MergedDelta:
    """Neighbouring deltas of one kind, merged."""

    __slots__ = ("chars", "cursor", "first", "kind", "pieces")

    def __init__(self, first: ChatEvent, kind: tuple[Any, ...], piece: str) -> None:
        self.first = first
        self.kind = kind
        self.pieces: list[str] = []
        self.chars = 0
        self.add(first, piece)

    def takes(self, message: ChatEvent, kind: tuple[Any, ...], largest: int) -> bool:
        return self.kind == kind and self.first.chat is message.chat and self.chars < largest

    def add(self, message: ChatEvent, piece: str) -> None:
        self.pieces.append(piece)
        self.cursor = message.cursor
        self.chars += max(1, len(piece))

    def message(self) -> ChatEvent:
        if len(self.pieces) == 1:
            return self.first
        event: Any = self.first.data
        merged: Any = {**event, "delta": {**event["delta"], self.kind[-1]: "".join(self.pieces)}}
        return ChatEvent(self.first.chat, merged, self.cursor)


_DELTA_EVENT = {"type", "index", "delta"}


def merge_key(message: Any) -> tuple[tuple[Any, ...], str]:
    """Return the key by which deltas merge (block, type, key of the piece) and the piece; empty for other messages.

    A delta with any other key is not merged, so keys that the API adds to an event are not lost.
    """
    if isinstance(message, ChatEvent):
        event: Any = message.data
        delta = event.get("delta")
        if event.get("type") == "content_block_delta" and isinstance(delta, dict) and event.keys() == _DELTA_EVENT:
            kind = delta.get("type")
            key = GROWING.get(kind) if isinstance(kind, str) else None
            if key is not None and delta.keys() == {"type", key} and isinstance(delta[key], str):
                return (event["index"], kind, key), delta[key]
    return (), ""
