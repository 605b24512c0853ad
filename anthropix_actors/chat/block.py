"""One growing content block, in a shape that can be sent back.

A value of the wrong type costs at most its own key: it is corrected when the block starts, and a delta that does not
fit the block's type changes nothing. Blocks and deltas of unknown types are left as they are.
"""

from __future__ import annotations

import json
import math
import reprlib
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._checks.block_shapes import NON_EMPTY, STRING
from anthropix_actors._checks.shapes import problems_of
from anthropix_actors._decode.event_repair import GROWING
from anthropix_actors._decode.json import copied, too_deep, whole
from anthropix_actors.chat.parameters import ANYTHING, BLOCKS, TOOL_USE
from anthropix_actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anthropix_actors._checks.shapes import Kind

RAW_INPUT = "input_json"
"""The key of a tool call with its input as text: while it is incomplete, and for good if it is not a JSON object."""

MISSHAPEN = (KeyError, TypeError, AttributeError, ValueError)
"""Exceptions raised by reading an event of an unexpected shape."""

_PIECES_PER_RUN = 1024

_TARGET = {"text": "text", "thinking": "thinking", "partial_json": RAW_INPUT}
"""Key of a delta's piece → key of the block's text that it extends."""

_NOT_COMPACTED = frozenset({"type", "text", "thinking", RAW_INPUT, "to"})
"""Keys that a compaction does not replace: growing texts change only by their own deltas, a fallback never."""

_ANY = frozenset({*GROWING, "signature_delta", "citations_delta", "compaction_delta"})

_TAKES = {
    **dict.fromkeys(BLOCKS, frozenset[str]()),
    "text": frozenset({"text_delta", "citations_delta"}),
    "thinking": frozenset({"thinking_delta", "signature_delta"}),
    "compaction": frozenset({"compaction_delta"}),
}
_CALL_TAKES = frozenset({"input_json_delta"})

_TYPE_BY_KEY = {"text": "text", "thinking": "thinking", "input": "tool_use"}
"""A key of a block without a type → the type that has this key."""

_KIND_BY_KEY = {
    **{key: kind for kind, key in GROWING.items()},
    "signature": "signature_delta",
    "citation": "citations_delta",
}
"""A key of a delta without a type → the type that has this key."""


class Block:
    """One content block, and the pieces that are not joined to it yet.

    Every `_PIECES_PER_RUN` pieces are joined to a run: a million separate pieces would take more memory than a text.

    Attributes:
        data: The block so far; without the pieces, until they are joined.
        index: The `index` of its events.
        open: Whether it may grow.
        takes: The types of the deltas that fit it.
        grows: The types that make a text grow, with the keys of their pieces.
        growing: The key of the current pieces.
    """

    __slots__ = ("data", "growing", "grows", "index", "open", "pieces", "runs", "takes")

    def __init__(self, data: dict[str, Any], index: int) -> None:
        """Start with the block of its start event; `data` is changed.

        Raises:
            ValueError: it cannot be made into a block of its type.
        """
        _put_right(data, index)
        self.data = data
        self.index = index
        self.open = True
        kind: str = data["type"]
        self.takes = _CALL_TAKES if kind.endswith("tool_use") else _TAKES.get(kind, _ANY)
        self.grows = {kind: key for kind, key in GROWING.items() if kind in self.takes}
        self.growing = ""
        self.pieces: list[str] = []
        self.runs: list[str] = []

    def grow(self, key: str, piece: object) -> None:
        """Append a piece to a text.

        Raises:
            TypeError: the piece, or the value that it extends, is not a string.
        """
        if type(piece) is not str:
            if piece is None:  # some servers send null for an empty piece
                return
            raise TypeError(f"{key} grew by a {type(piece).__name__}")
        if key != self.growing:
            self._open_again(key)
        self.pieces.append(piece)
        if len(self.pieces) >= _PIECES_PER_RUN:
            self.runs.append("".join(self.pieces))
            self.pieces.clear()

    def _open_again(self, key: str) -> None:
        """Switch to another text of the block; if the block has stopped, it is open again."""
        self.join()
        begun = self.data.get(_TARGET[key])
        if type(begun or "") is not str:  # a block of an unknown type
            raise TypeError(f"{_TARGET[key]} began as a {type(begun).__name__}")
        self.growing = key
        self.open = True

    def add(self, kind: str, delta: Mapping[str, Any]) -> None:
        """Apply a delta of a type that fits. Raises as `grow` does."""
        if kind in GROWING:
            self.grow(GROWING[kind], delta.get(GROWING[kind]))
            return
        signature, citation = delta.get("signature"), delta.get("citation")
        if kind == "signature_delta":
            if isinstance(signature, str):
                self.data["signature"] = signature
        elif kind == "citations_delta":
            if isinstance(citation, dict) and not too_deep(citation):
                begun = self.data.get("citations")
                self.data["citations"] = [*(begun if isinstance(begun, list) else ()), copied(citation)]
        else:
            said = {key: value for key, value in delta.items() if key not in _NOT_COMPACTED and not too_deep(value)}
            self.data.update(copied(said))

    def join(self) -> None:
        """Join the pieces to the block's text."""
        if self.pieces or self.runs:
            target = _TARGET[self.growing]
            begun = self.data.get(target)
            # A later delta may have put any value there; that must not fail in the thread that reads the block.
            self.data[target] = "".join([begun if isinstance(begun, str) else "", *self.runs, *self.pieces])
            self.pieces.clear()
            self.runs.clear()

    def stop(self) -> None:
        """End the block: the text of an input becomes the input, if it is a JSON object."""
        self.join()
        self.open = False
        self.growing = ""
        text = self.data.get(RAW_INPUT)
        if not isinstance(text, str) or "input_json_delta" not in self.takes:
            return
        try:
            value = _decoded(text)
        except (ValueError, RecursionError):
            return  # the text stays where it is
        if value is None:  # the input of the block's start stays
            value = self.data.get("input") or {}
        if isinstance(value, dict) and not too_deep(value):
            self.data["input"] = value
            del self.data[RAW_INPUT]

    def replay(self, data: dict[str, Any]) -> Iterator[Any]:
        """Yield events that rebuild it: its start, with empty texts, one delta for each text or citation, its stop.

        Args:
            data: A copy of the block, which is changed.
        """
        raw: str | None = None
        hollow = dict[str, Any]()
        given = data.get("input")
        if "input_json_delta" in self.takes:
            if isinstance(data.get(RAW_INPUT), str):
                raw = data.pop(RAW_INPUT)
            elif given and isinstance(given, dict) and not self.open and RAW_INPUT not in data:
                raw = json.dumps(given)
                hollow["input"] = {}
        texts = [
            key
            for key in ("text", "thinking", "signature")
            if f"{key}_delta" in self.takes and data.get(key) and isinstance(data[key], str)
        ]
        deltas = [{"type": f"{key}_delta", key: data[key]} for key in texts]
        citations: Any = data.get("citations")
        if "citations_delta" in self.takes and isinstance(citations, list) and _mappings(citations):
            deltas += [{"type": "citations_delta", "citation": citation} for citation in citations]
            hollow["citations"] = []
        if raw is not None:
            deltas.append({"type": "input_json_delta", "partial_json": raw})
        start = {**data, **hollow, **dict.fromkeys(texts, "")}
        yield {"type": "content_block_start", "index": self.index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": self.index, "delta": delta}
        if not self.open:
            yield {"type": "content_block_stop", "index": self.index}


class PartialBlock(msgspec.Struct, frozen=True):
    """A block of an answer that was cut.

    Attributes:
        data: The block so far.
        open: Whether it was still growing.
    """

    data: Mapping[str, Any]
    open: bool


def misshapen(event: object, exc: Exception) -> ProtocolError:
    """Return the error for an event of an unexpected shape."""
    shown = reprlib.repr(event)  # repr() would fail for deep nesting
    return ProtocolError(f"an event is not of the API's shape ({exc!r}): {shown:.200}", body=event)


def kind_of(delta: Mapping[str, Any]) -> str:
    """Return the type of a delta; if it has none, the type that has its keys.

    Example:
        >>> kind_of({"type": "text_delta", "text": "Hi"}), kind_of({"text": "Hi"}), kind_of({})
        ('text_delta', 'text_delta', '')
    """
    kind = delta.get("type")
    if isinstance(kind, str):
        return kind
    return next((kind for key, kind in _KIND_BY_KEY.items() if key in delta), "")


def _put_right(data: dict[str, Any], index: int) -> None:
    """Replace the values of a block that do not fit its type."""
    for key, value in data.items():
        if too_deep(value):
            data[key] = None
    if not isinstance(data.get("type"), str):
        data["type"] = next((kind for key, kind in _TYPE_BY_KEY.items() if key in data), "unknown")
    kind: str = data["type"]
    shape = TOOL_USE if kind.endswith("tool_use") else BLOCKS.get(kind)
    if shape is None or not any(problems_of(shape, data, "")):
        return
    if shape is TOOL_USE:
        _put_input_right(data)
    for key, wanted in shape.required.items():
        if key not in data or any(problems_of(wanted, data[key], key)):
            data[key] = _stand_in(key, wanted, index)
    for key, wanted in shape.optional.items():
        if data.get(key) is not None and any(problems_of(wanted, data[key], key)):
            del data[key]


def _put_input_right(data: dict[str, Any]) -> None:
    """Keep an input that is not an object as text: it may be JSON, or the beginning of it."""
    given = data.get("input")
    if not isinstance(given, dict):
        data["input"] = {}
        if given is not None and not isinstance(data.get(RAW_INPUT), str):
            data[RAW_INPUT] = given if isinstance(given, str) else json.dumps(given)


def _stand_in(key: str, wanted: Kind, index: int) -> Any:
    """Return the placeholder for a value that is missing or of the wrong type.

    Raises:
        ValueError: there is no placeholder for it.
    """
    if wanted is STRING or key == "text":
        return ""
    if wanted is NON_EMPTY:
        return f"unknown_{index}"
    if wanted is ANYTHING:
        return None
    raise ValueError(f"{key} is missing")


def _mappings(items: list[Any]) -> bool:
    return all(isinstance(item, dict) for item in items)


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


_decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
"""Decodes strict JSON only: Python's default accepts NaN, and numbers so large that they become infinite."""


def _decoded(text: str) -> Any:
    """Return the decoded input; None if the text is blank."""
    if not text.strip():
        return None
    value = _decoder.decode(text)
    return whole(value) if "\\ud" in text or "\\uD" in text else value  # only an escape can be half a character
