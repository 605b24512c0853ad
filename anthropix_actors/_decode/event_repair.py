"""Repairs events that deviate from the API's shapes, or raises an error. Pure.

Gateways, proxies and servers of other models send events of other shapes. The rules:

- if the data have no type, the event's name is its type, or `message` if it has no name either;
- an event named `error` is an error, whatever its data; so are data without a type that have an `error`;
- pings are left out, and so are events without data, as in the official SDK, except those that need none (`_SAY_ALL`);
- data that are not a JSON object are delivered as text, `{"type": name, "data": text}`, if the stream is an answer and
  the event's name is not one of an answer's. Otherwise they are an error, as a piece of the answer may be missing;
- `[DONE]`, which ends the streams of another API, is always delivered as text;
- JSON is decoded by the rules of `json`. If a delta ends with the first half of a surrogate pair, that half is held
  back: the next delta of the same block may have the other one. Else it becomes U+FFFD, in a delta of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._decode.json import joined, lenient, whole
from anthropix_actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

GROWING = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""Delta type → the key of its text."""

COMMON = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)
"""The types of the events that make up an answer."""

UNNAMED = "message"
"""The name of an event without a name."""

DONE = "[DONE]"

_SAY_ALL = frozenset({"error", "message_stop"})
"""Names that need no data."""

_QUOTED = 80


class _Half(msgspec.Struct, frozen=True):
    """The first half of a surrogate pair, and the delta that ended with it."""

    text: str
    index: Any
    kind: str


class Odd:
    """Repairs the odd events of one stream.

    Args:
        lenient: Whether the stream is an answer: then only the events in `COMMON` must have a JSON object as data.

    Attributes:
        held: The half of a surrogate pair that waits for the other one, if any. Until then, every event is odd.

    Example:
        >>> list(Odd(lenient=True).events("metrics", '{"latency": 5}'))
        [{'type': 'metrics', 'latency': 5}]
    """

    def __init__(self, *, lenient: bool) -> None:
        """Start with nothing held back."""
        self.held: list[_Half] = []
        self._lenient = lenient

    def events(self, name: str, text: str, data: Any = None) -> Iterator[dict[str, Any]]:
        """Yield the events to deliver for one that arrived: usually one, perhaps none, perhaps a held half before it.

        Args:
            name: The event's name.
            text: The event's data.
            data: The decoded data, if already known.

        Raises:
            ProtocolError: the data are not a JSON object, so a piece of the answer may be missing.
        """
        if name == "ping":
            return
        event = data if type(data) is dict else self._decoded(name, text)
        if event is not None:
            event = _typed(name, event)
            if event["type"] != "ping":
                yield from self._with_halves_joined(event)

    def _decoded(self, name: str, text: str) -> dict[str, Any] | None:
        stripped = text.strip()
        if not stripped:
            return {"type": name} if name in _SAY_ALL else None
        data: Any = None
        why: Exception | None = None
        try:
            data = lenient(stripped)
        except (ValueError, RecursionError) as exc:
            why = exc
        if type(data) is dict:
            return data
        if name == "error":
            return {"type": name, "error": {"message": stripped}}
        if stripped == DONE or (self._lenient and name not in COMMON and name != UNNAMED):
            return {"type": name, "data": stripped}
        what = f"the data of {name!r} are not a JSON object: {text[:_QUOTED]!r}"
        raise ProtocolError(what, body=text) from why

    def _with_halves_joined(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        index, kind, piece = _growth(event)
        if self.held:
            half = self.held.pop()
            if (half.index, half.kind) == (index, kind):
                piece = half.text + piece
            else:
                delta = {"type": half.kind, GROWING[half.kind]: "\ufffd"}
                yield {"type": "content_block_delta", "index": half.index, "delta": delta}
        if kind:
            if "\ud800" <= piece[-1:] <= "\udbff":
                self.held.append(_Half(piece[-1], index, kind))
                piece = piece[:-1]
            event = {**event, "delta": {**event["delta"], GROWING[kind]: joined(piece)}}
        yield whole(event)


def _typed(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the data with a type that is a string."""
    kind = data.get("type")
    if name == "error" or (type(kind) is not str and data.get("error")):
        return as_error(data)
    return data if type(kind) is str else {"type": name, **_without_type(data)}


def as_error(data: dict[str, Any]) -> dict[str, Any]:
    r"""Return an error event in the API's form.

    Example:
        >>> as_error({"type": "overloaded_error", "message": "Overloaded"})
        {'type': 'error', 'error': {'type': 'overloaded_error', 'message': 'Overloaded'}}
    """
    if "error" not in data:
        told: Any = _without_type(data) if data.get("type") == "error" else data
        return {"type": "error", "error": told} if told else {"type": "error"}
    told = data["error"]
    kind = data.get("type")
    if isinstance(told, str) and isinstance(kind, str) and kind != "error":
        told = {"type": kind, "message": told}
    return {"type": "error", **_without_type(data), "error": told}


def _without_type(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "type"}


def _growth(event: dict[str, Any]) -> tuple[Any, str, str]:
    """Return index, delta type and text of a delta that appends text; an empty type for all other events."""
    delta = event.get("delta")
    kind = delta.get("type") if isinstance(delta, dict) else None
    if event["type"] == "content_block_delta" and isinstance(kind, str) and isinstance(delta, dict):
        piece = delta.get(GROWING.get(kind, ""))
        if isinstance(piece, str):
            return event.get("index"), kind, piece
    return None, "", ""
