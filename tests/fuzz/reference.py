"""The rules of event streams once more, written from the specification alone: slow, plain, and with positions.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.5 and 9.2.6, read 2026-11-23.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\r|\n")
_DEEP = 300
_MOST_DIGITS = 4300


class Found(NamedTuple):
    """What an empty line ended.

    Attributes:
        end: How many bytes of the document had to be there.
        size: Bytes of its lines, with LF between them and U+FFFD for what is not UTF-8.
        lines: How many they are.
        name: Its type; "message" where it has none.
        data: Its data; None where none are to be told.
    """

    end: int
    size: int
    lines: int
    name: str
    data: str | None


def parse(document: bytes) -> tuple[list[Found], int, Found]:
    """Get all that empty lines end, how many bytes are left behind the last of them, and the rest.

    Each line end is one byte of them; the rest is what would be told if there was an empty line behind it.
    """
    found: list[Found] = []
    held: list[str] = []
    tail = 0
    line = b""
    for line, end in _lines(document):
        if end is None:
            tail += len(line)
        elif line:
            held.append(line.decode("utf-8", errors="replace"))
            tail += len(line) + 1
        else:
            if held:
                found.append(_dispatched(held, end))
            held, tail = [], 0
    if line:
        held.append(line.decode("utf-8", errors="replace"))
    return found, tail, _dispatched(held, len(document))


def _lines(document: bytes) -> Iterator[tuple[bytes, int | None]]:
    """Get each line, and how many bytes show that it has ended: a CR does, whatever follows. None: it has not."""
    start = len(_BOM) if document.startswith(_BOM) else 0
    for line_end in _LINE_END.finditer(document, start):
        yield document[start : line_end.start()], line_end.start() + 1
        start = line_end.end()
    yield document[start:], None


def _dispatched(lines: list[str], end: int) -> Found:
    name, data = "", ""
    for line in lines:
        if line.startswith(":"):
            continue
        field, _, rest = line.partition(":")
        text = rest[1:] if rest[:1] == " " else rest
        if field == "event":
            name = text
        elif field == "data":
            data += text + "\n"
    size = sum(len(line.encode()) + 1 for line in lines) - 1
    return Found(end, size, len(lines), name or "message", data[:-1] if data else None)


class Unsure(Exception):  # noqa: N818 # nothing went wrong
    """JSON that not every reader takes: half a surrogate pair, where another may follow; what is nested deeply."""


_ANSWER = ["message_start", "content_block_start", "content_block_delta", "content_block_stop"]
_KNOWN = [*_ANSWER, "message_delta", "message_stop", "error", "message"]


def told(name: str, data: str | None, *, lenient: bool) -> tuple[dict[str, Any] | None, bool]:
    """Get what is told for an event, if anything, and whether there is an error instead.

    Raises:
        Unsure: that depends.
    """
    if data is None or name == "ping":
        return None, False
    text = data.strip()
    if not text:
        return ({"type": name} if name in ("error", "message_stop") else None), False
    value = json_value(text)
    if isinstance(value, dict):
        return _typed(name, value), False
    if name == "error":
        return {"type": "error", "error": {"message": text}}, False
    if text == "[DONE]" or (lenient and name not in _KNOWN):
        return {"type": name, "data": text}, False
    return None, True


def _typed(name: str, value: dict[str, Any]) -> dict[str, Any] | None:
    kind = value.get("type")
    named = isinstance(kind, str)
    if name != "error" and not (not named and value.get("error")):
        return None if (kind if named else name) == "ping" else {**value, "type": kind if named else name}
    if "error" in value:
        error = value["error"]
        if isinstance(error, str) and named and kind != "error":
            error = {"type": kind, "message": error}
        return {**value, "type": "error", "error": error}
    error = {key: item for key, item in value.items() if key != "type" or item != "error"}
    return {"type": "error", "error": error} if error else {"type": "error"}


def json_value(text: str) -> Any:
    """Get what JSON says, by our rules for odd values; `...` where it is none.

    Raises:
        Unsure: it may be taken or refused, or it has half a surrogate pair.
    """
    if text.count("[") + text.count("{") > _DEEP:
        raise Unsure
    try:
        value = json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=_finite, parse_int=_short)
    except ValueError:
        return ...
    try:
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be
    except UnicodeEncodeError as exc:
        raise Unsure from exc
    return value


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """Get a JSON object, or None for what is none. Raises what `json_value` raises."""
    value = json_value(text.decode(errors="replace") if isinstance(text, bytes) else text)
    return value if isinstance(value, dict) else None


def _finite(text: str) -> float | None:
    return None if float(text) in (float("inf"), float("-inf")) else float(text)


def _short(text: str) -> int | None:
    return int(text) if len(text.lstrip("-")) <= _MOST_DIGITS else None
