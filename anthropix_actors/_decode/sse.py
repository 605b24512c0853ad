"""Bytes of an event stream → events.

sseclient-py parses the fields of an event well, but not the stream around them: it delivers an event that the end of
the stream cut in two, joins two events where line ends are mixed, keeps the byte order mark, takes an id with a NUL,
dies of one byte that is not UTF-8, and needs quadratic time for a long line. So it is fed whole, normalised event
blocks and nothing else.

The rules (WHATWG HTML, 9.2.5 and 9.2.6):

- the stream is UTF-8; a byte that is not becomes U+FFFD; one leading byte order mark is dropped;
- a line ends with LF, CR or CRLF, and a CRLF may be cut between two chunks;
- an empty line ends an event; an event that the end of the stream cuts is discarded, but for one that is the last of an
  answer, and whole (the specification has no such exception; some servers leave the last line end out);
- a line that starts with a colon is a comment; an id with a NUL is ignored.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, read 2026-11-23.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import msgspec
import sseclient

from anthropix_actors._decode.json import decoded
from anthropix_actors._decode.repair import DONE, Odd
from anthropix_actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_EVENT_BYTES = 64 << 20
"""How large one event may be. A page that the API fetched comes in one: a PDF of 32 MB is 43 MB in base64."""

MAX_EVENT_LINES = 256
"""How many lines one event may have: sseclient-py is quadratic in them. The API sends two."""

_REPEATED_NAME = re.compile(
    rb'\n\nevent: (content_block_(?:delta|start|stop)|message_(?:start|delta|stop))\n(?=data: \{"type":"\1")'
)
"""An event's name that its data repeat, as the API's do: a line less for sseclient-py to take apart.

Not one that matters whatever its data are: a ping, an error, and what is of no consequence.

It begins with plain text, for which the engine looks fast; an alternative there would make it five times slower.
"""

_BOM = b"\xef\xbb\xbf"
_NAMES_TO_LOOK_AT = frozenset({"ping", "error"})
_NOT_COMMON = (msgspec.DecodeError, RecursionError, LookupError, TypeError)
"""What is raised for data that are not JSON, no object, or have no type that is a string."""


def events(
    chunks: Iterable[bytes], *, max_event_bytes: int = MAX_EVENT_BYTES, lenient: bool = False
) -> Iterator[dict[str, Any]]:
    r"""Get the events of a stream, pings left out, each as soon as its last byte is there.

    Each has a `type` that is a string. What is not written as the API writes it is mended, as `repair` says.

    Args:
        chunks: The stream, cut anywhere.
        max_event_bytes: The largest event to accept.
        lenient: Whether it is a chat's answer: then events of other kinds are of no consequence, whatever they say.

    Raises:
        ProtocolError: an event is too large, or its data are not a JSON object.

    Example:
        >>> list(events([b'event: message_stop\nda', b'ta: {"type":"message_stop"}\n\n', b"event: cut"]))
        [{'type': 'message_stop'}]
    """
    decode = msgspec.json.decode
    odd = Odd(lenient=lenient)
    held = odd.held
    for event in _Blocks(blocks(chunks, max_event_bytes=max_event_bytes)).events():
        data: Any = None
        try:
            data = decode(event.data)
            kind = data["type"]
        except _NOT_COMMON:
            kind = None
        if type(kind) is not str or kind == "ping" or held or event.event in _NAMES_TO_LOOK_AT:
            yield from odd.events(event.event, event.data, data)
        else:
            yield data


logging.getLogger(__name__).disabled = True


class _Blocks(sseclient.SSEClient):
    """sseclient-py over blocks that are whole already: it need not look for their ends a second time.

    So they come without the empty line that ends them, which it would take for one more line. It logs under the name of
    this module, a record for each event, which would double a stream's CPU time where a program logs at DEBUG; so that
    logger is off.
    """

    def _read(self) -> Iterator[bytes]:
        return iter(self._event_source)  # type: ignore[attr-defined] # untyped, and of 1.9


def blocks(chunks: Iterable[bytes], *, max_event_bytes: int = MAX_EVENT_BYTES) -> Iterator[bytes]:
    r"""Get whole events as bytes: lines separated by LF, valid UTF-8, without the empty line that ends them.

    An event without that line is the last one, if it says that it is.

    Raises:
        ProtocolError: an event is larger than `max_event_bytes` or has too many lines.

    Example:
        >>> list(blocks([b"data: 1\r", b"\n\r\ndata: 2\n", b"\ndata: cut"]))
        [b'data: 1', b'data: 2']
    """
    held: list[bytes] = []  # pieces of the event whose end has not come; joined once, so the time is linear
    size = 0
    for chunk in _first_without_bom(_only_lf(chunks)):
        border = chunk.startswith(b"\n") and (size == 0 or held[-1].endswith(b"\n"))
        end = 1 if border else -1
        if (last := chunk.rfind(b"\n\n")) >= 0:
            end = last + 2
        if end < 0:
            held.append(chunk)
            size += len(chunk)
        else:
            held.append(chunk[:end])
            yield from _split(b"".join(held) if size else held[0], max_event_bytes)
            held = [chunk[end:]] if end < len(chunk) else []
            size = len(chunk) - end
        if size > max_event_bytes + 1:  # the LF that ends its last line does not count
            raise _too_large(max_event_bytes)
    tail = b"".join(held)
    if tail.count(b"\n") < MAX_EVENT_LINES and _says_the_end(tail):
        yield from _split(tail + b"\n\n", max_event_bytes)


def _says_the_end(tail: bytes) -> bool:
    """Whether an event that lacks the empty line at its end is whole all the same, and says that there is no more.

    Of any other event, nobody knows whether it is whole.
    """
    for event in _Blocks(iter([tail.decode(errors="replace").encode()])).events():
        if event.data.strip() == DONE:
            return True
        try:
            data = decoded(event.data)
        except (ValueError, RecursionError):
            return False
        return isinstance(data, dict) and (event.event == "error" or data.get("type") in ("message_stop", "error"))
    return False


def _split(run: bytes, max_event_bytes: int) -> Iterator[bytes]:
    """Cut a run of whole events at its empty lines."""
    if not run.isascii():
        run = run.decode(errors="replace").encode()
    large = len(run) > max_event_bytes
    if not large:  # else the names count, as they do where an event comes in pieces
        run = _REPEATED_NAME.sub(b"\n\n", b"\n\n" + run)
    strange = b"\0" in run
    for block in run.split(b"\n\n"):
        if not block or block == b"\n":
            continue
        if large and len(block.lstrip(b"\n")) > max_event_bytes:
            raise _too_large(max_event_bytes)
        if len(block) > MAX_EVENT_LINES and block.lstrip(b"\n").count(b"\n") >= MAX_EVENT_LINES:
            raise ProtocolError(f"an event has more than {MAX_EVENT_LINES} lines")
        yield _without_strange_ids(block) if strange else block


def _without_strange_ids(block: bytes) -> bytes:
    return b"\n".join(line for line in block.split(b"\n") if not (line.startswith(b"id") and b"\0" in line))


def _only_lf(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn every line end into LF, also a CRLF cut between two chunks. No chunk that comes out is empty."""
    after_cr = False
    for whole in chunks:
        chunk = whole[1:] if after_cr and whole.startswith(b"\n") else whole
        if whole:
            after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if chunk:
            yield chunk


def _first_without_bom(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Drop one leading byte order mark, which may be cut between chunks."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(_BOM) or not _BOM.startswith(head):
            break
    if head := head.removeprefix(_BOM):
        yield head
    yield from chunks


def _too_large(limit: int) -> ProtocolError:
    return ProtocolError(f"an event is larger than {limit} bytes (max_event_bytes)")
