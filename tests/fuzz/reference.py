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


def parse(document: bytes) -> tuple[list[Found], int]:
    """Get all that empty lines end, and how many bytes are left behind the last of them, each line end as one."""
    found: list[Found] = []
    held: list[str] = []
    tail = 0
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
    return found, tail


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
    """JSON that not every reader takes: half a surrogate pair, a number without end, what is nested deeply."""


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """Get a JSON object, or None for what is none.

    Raises:
        Unsure: it may be taken or refused.
    """
    opening = (text.count("["), text.count("{")) if isinstance(text, str) else (text.count(b"["), text.count(b"{"))
    if sum(opening) > _DEEP:
        raise Unsure
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_short)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be
    except UnicodeEncodeError as exc:
        raise Unsure from exc
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _finite(text: str) -> float:
    if float(text) in (float("inf"), float("-inf")):
        raise Unsure
    return float(text)


def _short(text: str) -> int:
    if len(text) > _DEEP:
        raise Unsure
    return int(text)
