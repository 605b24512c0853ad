"""Events → pieces: what an answer grows by, and its blocks as they are complete. Pure.

Imported when the first stream is looped over in pieces: dataclasses take time to make.

A piece of text, thinking or tool input is what one event adds, whether it fits its block or not. A block is complete
when it is as in the Message: `accumulate` makes both of the same events.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from anthropix_actors._decode.event_repair import GROWING
from anthropix_actors._decode.json import copied
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.chat.block import MISSHAPEN
from anthropix_actors.chat.growth import TEXT, THINKING, TOOL_INPUT, grown
from anthropix_actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anthropix_actors._wire.message import ContentBlock

_NOTHING: Any = {"type": "message_start", "message": {}}


@dataclass(frozen=True, slots=True)
class _Grown:
    """What a text has grown by until now: the pieces, and how many of them."""

    pieces: list[str]
    count: int

    def joined(self) -> str:
        return "".join(self.pieces[: self.count])


@dataclass(frozen=True, slots=True)
class _Growing:
    """A piece of a text that grows."""

    index: int = field(default=0, kw_only=True)
    _grown: _Grown | None = field(default=None, kw_only=True, repr=False, compare=False)

    @property
    def so_far(self) -> str:
        """The text of its block up to here, this piece included. It is joined when you ask."""
        return "" if self._grown is None else self._grown.joined()


@dataclass(frozen=True, slots=True)
class TextPiece(_Growing):
    """A piece of text.

    Attributes:
        text: The piece; never empty.
        index: The place of its block in the answer.

    Example:
        >>> match TextPiece("Hi"):
        ...     case TextPiece(text=text):
        ...         print(text)
        Hi
    """

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingPiece(_Growing):
    """A piece of what the model thinks before it answers.

    Attributes:
        text: The piece; never empty.
        index: The place of its block in the answer.
    """

    text: str


@dataclass(frozen=True, slots=True)
class ToolInputPiece(_Growing):
    """A piece of the input of a tool call. The whole call comes as a `BlockPiece`, with its input decoded.

    Attributes:
        json: The piece, of JSON text; never empty.
        index: The place of its block in the answer.
    """

    json: str


@dataclass(frozen=True, slots=True)
class BlockPiece:
    """A content block that is complete, whatever its type.

    Attributes:
        block: The block, as it is in the Message; a copy of yours.
        index: Its place in the answer.
    """

    block: ContentBlock
    index: int = 0


Piece: TypeAlias = TextPiece | ThinkingPiece | ToolInputPiece | BlockPiece
"""Any piece of an answer."""

_CLASSES: dict[str, Callable[..., Piece]] = {TEXT: TextPiece, THINKING: ThinkingPiece, TOOL_INPUT: ToolInputPiece}


class PieceReader:
    """Makes pieces of the events of one answer. One thread at a time.

    It may begin anywhere. Of a block whose start it did not see, it gives the pieces, and not the block.

    Example:
        >>> reader = PieceReader()
        >>> start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        >>> delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
        >>> stop = {"type": "content_block_stop", "index": 0}
        >>> [piece for event in (start, delta, stop) for piece in reader.read(event)]
        [TextPiece(index=0, text='Hi'), BlockPiece(block={'type': 'text', 'text': 'Hi'}, index=0)]
    """

    def __init__(self) -> None:
        """Start without a block."""
        self._answer = Accumulator()
        self._answer.add(_NOTHING)  # the rest of a Message is not wanted
        self._texts: dict[tuple[int, str], list[str]] = {}

    def read(self, event: Mapping[str, Any], *, resumed: bool = False) -> Iterator[Piece]:
        """Yield the pieces of the next event: mostly one.

        Args:
            event: The event.
            resumed: Whether the answer was resumed, which a loop is not told: then this has blocks that are void, and
                that nothing but the end of the answer would end.
        """
        if resumed and event["type"] == "message_stop":
            return
        blocks = self.blocks(event)
        found = grown(event)
        if found is not None:
            yield self._piece(event, *found)
        yield from blocks

    def blocks(self, event: Mapping[str, Any]) -> list[BlockPiece]:
        """Take the next event, and return only the blocks that it completes."""
        if event["type"] == "content_block_start":
            for kind in GROWING:
                self._texts.pop((_index_of(event), kind), None)
        with contextlib.suppress(ProtocolError, *MISSHAPEN):  # such as a delta of a block that another reader saw start
            ended = self._answer.ended_by(event)
            self._answer.add(dict(event))
            return [BlockPiece(copied(block.data), block.index) for block in ended]
        return []

    def resume_from(self, kept: int) -> None:
        """Forget all blocks after the first `kept`: the events to come are those of another answer, which follow."""
        self._answer.resume_from(kept, {})

    def _piece(self, event: Mapping[str, Any], kind: str, piece: str) -> Piece:
        index = _index_of(event)
        pieces = self._texts.setdefault((index, kind), [])
        pieces.append(piece)
        return _CLASSES[kind](piece, index=index, _grown=_Grown(pieces, len(pieces)))


def _index_of(event: Mapping[str, Any]) -> int:
    """Return the index of an event; -1 if the server gave none."""
    index = event.get("index")
    return index if isinstance(index, int) else -1


publish("anthropix_actors", (TextPiece, ThinkingPiece, ToolInputPiece, BlockPiece))
