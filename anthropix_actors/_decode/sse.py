"""Bytes of an event stream → events. Pure.

sseclient-py parses the fields of an event well, but not the stream around them: it delivers an event that the end of
the stream cut in two, joins two events where line ends are mixed, keeps the byte order mark, takes an id with a NUL,
dies of one byte that is not UTF-8, and needs quadratic time for a long line. So it is fed whole, normalised event
blocks and nothing else.

The rules (WHATWG HTML, 9.2.5 and 9.2.6):

- the stream is UTF-8; a byte that is not becomes U+FFFD; one leading byte order mark is dropped;
- a line ends with LF, CR or CRLF, and a CRLF may be cut between two chunks;
- an empty line ends an event; an event that the end of the stream cuts is discarded, unless it is complete and the
  last of an answer (the specification has no such exception; some servers leave the last line end out);
- a line that starts with a colon is a comment; an id with a NUL is ignored.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, read 2026-11-23.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import sseclient

from anthropix_actors._decode.event_repair import DONE, Odd
from anthropix_actors._decode.json import decoded
from anthropix_actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_EVENT_BYTES = 64 << 20
"""How large one event may be. A page that the API fetched comes in one: a PDF of 32 MB is 43 MB in base64."""

MAX_EVENT_LINES = 256
"""How many lines one event may have: sseclient-py is quadratic in them. The API sends two."""

_BOM = b"\xef\xbb\xbf"
_NAMES_TO_LOOK_AT = frozenset({"ping", "error"})
_NOT_COMMON = (msgspec.DecodeError, RecursionError, LookupError, TypeError)
"""The exceptions for data that are not a JSON object, or whose `type` is not a string."""


class SSEDecoder:
    r"""Decodes an event stream as it arrives: feed it bytes, and loop over the events that end with them.

    Pings are left out. Each event has a `type` that is a string. Events that are not written as the API writes
    them are repaired, as `event_repair` says.

    Args:
        max_event_bytes: The largest event to accept.
        lenient: Whether it is a chat's answer: then only an answer's own events must have a JSON object as data.

    Example:
        >>> decoder = SSEDecoder()
        >>> list(decoder.feed(b'event: message_stop\nda'))
        []
        >>> list(decoder.feed(b'ta: {"type":"message_stop"}\n\nevent: cut'))
        [{'type': 'message_stop'}]
        >>> list(decoder.close())
        []
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES, lenient: bool = False) -> None:
        """Start at the beginning of a stream."""
        self._splitter = EventSplitter(max_event_bytes=max_event_bytes)
        self._blocks = _Blocks(iter(()))
        self._odd = Odd(lenient=lenient)

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Return the events whose last byte is in `data`. Loop over all of them before the next call.

        Raises:
            ProtocolError: an event is too large, or its data are not a JSON object. The events before it were returned.
        """
        return self._events(self._splitter.feed(data))

    def close(self) -> Iterator[dict[str, Any]]:
        """Return the event that the end of the stream cut, if it is complete and the last of an answer.

        Raises:
            ProtocolError: as `feed`.
        """
        return self._events(self._splitter.close())

    def _events(self, blocks: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        decode, odd = msgspec.json.decode, self._odd
        held = odd.held
        for event in self._blocks.events_of(blocks):
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
    """sseclient-py over blocks that are complete: it need not look for their ends a second time.

    The blocks lack the empty line that ends them, which it would parse as one more line. It logs under the name of
    this module, a record for each event, which would double a stream's CPU time where a program logs at DEBUG; so that
    logger is off.
    """

    def events_of(self, blocks: Iterable[bytes]) -> Iterator[Any]:
        """Return the events of some blocks. One object takes all blocks of a stream, one run after the other."""
        self._event_source = blocks
        events: Iterator[Any] = self.events()
        return events

    def _read(self) -> Iterator[bytes]:
        return iter(self._event_source)


class EventSplitter:
    r"""Cuts a stream into complete events, as bytes: lines separated by LF, valid UTF-8, no empty line at the end.

    Example:
        >>> splitter = EventSplitter()
        >>> [*splitter.feed(b"data: 1\r"), *splitter.feed(b"\n\r\ndata: 2\n"), *splitter.feed(b"\ndata: cut")]
        [b'data: 1', b'data: 2']
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """Start at the beginning of a stream."""
        self._max_event_bytes = max_event_bytes
        self._held: list[bytes] = []  # pieces of the event whose end has not come; joined once, so the time is linear
        self._size = 0
        self._after_cr = False
        self._head: bytes | None = b""  # perhaps the beginning of a byte order mark; None once that is known

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Return the events that end in `data`.

        Raises:
            ProtocolError: an event is larger than `max_event_bytes`, or has too many lines.
        """
        chunk = self._with_lf_only(data) if self._after_cr or b"\r" in data else data
        if self._head is not None:
            chunk = self._without_bom(chunk)
        if not self._held and chunk.endswith(b"\n\n"):  # whole events, as the API sends them
            return _split(chunk, self._max_event_bytes)
        return self._split_off(chunk) if chunk else iter(())

    def close(self) -> Iterator[bytes]:
        """Return the event that lacks its end, if it says that it is the last one.

        Raises:
            ProtocolError: as `feed`.
        """
        tail = b"".join((self._head or b"", *self._held))
        if tail.count(b"\n") < MAX_EVENT_LINES and _says_the_end(tail):
            yield from _split(tail + b"\n\n", self._max_event_bytes)

    def _with_lf_only(self, data: bytes) -> bytes:
        """Turn every line end into LF, including a CRLF that is cut between two calls."""
        chunk = data[1:] if self._after_cr and data.startswith(b"\n") else data
        if data:
            self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _without_bom(self, chunk: bytes) -> bytes:
        """Drop one leading byte order mark, which may be cut between calls."""
        head = (self._head or b"") + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _split_off(self, chunk: bytes) -> Iterator[bytes]:
        held, size = self._held, self._size
        border = chunk.startswith(b"\n") and (size == 0 or held[-1].endswith(b"\n"))
        end = 1 if border else -1
        if (last := chunk.rfind(b"\n\n")) >= 0:
            end = last + 2
        if end < 0:
            held.append(chunk)
            self._size += len(chunk)
        else:
            held.append(chunk[:end])
            self._held = [chunk[end:]] if end < len(chunk) else []
            self._size = len(chunk) - end
            yield from _split(b"".join(held) if size else held[0], self._max_event_bytes)
        if self._size > self._max_event_bytes + 1:  # the LF that ends its last line does not count
            raise _too_large(self._max_event_bytes)


def _says_the_end(tail: bytes) -> bool:
    """Return whether the tail, an event without the empty line after it, is complete and ends the answer.

    Of any other event, it cannot be known whether it is complete.
    """
    for event in _Blocks(iter(())).events_of([tail.decode(errors="replace").encode()]):
        if event.data.strip() == DONE:
            return True
        try:
            data = decoded(event.data)
        except (ValueError, RecursionError):
            return False
        return isinstance(data, dict) and (event.event == "error" or data.get("type") in ("message_stop", "error"))
    return False


def _split(run: bytes, max_event_bytes: int) -> Iterator[bytes]:
    """Cut a run of whole events at its empty lines. A block may be blank, which sseclient-py does not mind.

    Raises:
        ProtocolError: an event is too large, or has too many lines. Those before it were returned.
    """
    if not run.isascii():
        run = run.decode(errors="replace").encode()
    large = len(run) > max_event_bytes
    run = b"\n\n" + run
    if not large:  # else the names count, as they do where an event comes in pieces
        run = _repeated_name().sub(b"\n\n", run)
    blocks = run[2:-2].split(b"\n\n")
    strange = b"\0" in run
    if large or strange or max(map(len, blocks)) > MAX_EVENT_LINES:  # a line has a byte at least
        return _checked(blocks, max_event_bytes, strange=strange)
    return iter(blocks)


@cache
def _repeated_name() -> re.Pattern[bytes]:
    """Return what finds an event's name that its data repeat, as the API's do: sseclient-py has a line less to parse.

    Names that count more than the data (`ping`, `error`, unknown ones) are not found. It takes longer to compile than
    the rest of this module to import, so that is done for the first stream.
    """
    # It begins with plain text, for which the engine looks fast; an alternative there would make it five times slower.
    return re.compile(
        rb'\n\nevent: (content_block_(?:delta|start|stop)|message_(?:start|delta|stop))\n(?=data: \{"type":"\1")'
    )


def _checked(blocks: list[bytes], max_event_bytes: int, *, strange: bool) -> Iterator[bytes]:
    for block in blocks:
        event = block.lstrip(b"\n")
        if len(event) > max_event_bytes:
            raise _too_large(max_event_bytes)
        if event.count(b"\n") >= MAX_EVENT_LINES:
            raise ProtocolError(f"an event has more than {MAX_EVENT_LINES} lines")
        yield _without_strange_ids(block) if strange else block


def _without_strange_ids(block: bytes) -> bytes:
    return b"\n".join(line for line in block.split(b"\n") if not (line.startswith(b"id") and b"\0" in line))


def _too_large(limit: int) -> ProtocolError:
    return ProtocolError(f"an event is larger than {limit} bytes (max_event_bytes)")
