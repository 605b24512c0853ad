"""Faults in the middle of an answer, and after it."""

from __future__ import annotations

import functools
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from anthropix_actors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ProtocolError,
    StalledError,
    TruncatedError,
)

from servers import PING, Peer, chunk, error_body, head, sse, start, text_delta
from torture import worlds
from torture.before import STATUSES
from torture.faults import NEVER, Case, after_request, close, drip, forever, reset, stall
from torture.truth import EVENTS, WHOLE, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torture.worlds import Script


class Framing(NamedTuple):
    """How a body travels: its head, how bytes of it are framed, and how it ends too early without an error."""

    head: bytes
    frame: Callable[[bytes], bytes] = bytes
    world: Any = worlds.plain


def packed(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return chunk(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))


FRAMINGS = {
    "chunked": Framing(head(), chunk),
    "with a length": Framing(head(framing=str(len(WHOLE)))),
    "until the end": Framing(head(framing="close")),
    "HTTP/1.0": Framing(b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"),
    "gzip": Framing(head(headers={"content-encoding": "gzip"}), packed),
    "TLS": Framing(head(), chunk, worlds.encrypted),
    "TLS until the end": Framing(head(framing="close"), bytes, worlds.encrypted),
}


def _name(event: dict[str, Any]) -> str:
    kind: str = event.get("delta", {}).get("type") or event["type"]
    return kind


def _points() -> dict[str, int]:
    """Get moments of an answer: how many bytes have been sent."""
    ends = [len(b"".join(map(wire, EVENTS[:count]))) for count in range(len(EVENTS) + 1)]
    names = [f"after {_name(event)}" for event in EVENTS]
    after = dict(reversed(list(zip(names, ends[1:], strict=True))))  # the first of each kind
    text = wire(EVENTS[9])
    return {
        **dict(reversed(after.items())),
        "between an event's lines": ends[9] + text.index(b"\n") + 1,
        "inside an event": ends[9] + text.index(b"Ich"),
        "inside a character": ends[9] + text.index("🌦".encode()) + 2,
        "before an event's empty line": ends[9] + len(text) - 1,
    }


POINTS = _points()
BOUNDARIES = [name for name in POINTS if name.startswith("after")]
SAMPLE = ("after ping", "after text_delta", "inside an event", "inside a character", "after message_stop")
"""For the faults that need not be tried everywhere."""

SUDDEN: dict[str, tuple[Script, type[APIError]]] = {
    "reset": (reset, APIConnectionError),
    "close": (close, TruncatedError),
    "stall": (stall, APITimeoutError),
}


def during() -> Iterator[Case]:
    yield from breaking()
    yield from dripping()
    yield from framing()
    yield from talking()
    yield from packing()


def breaking() -> Iterator[Case]:
    """The connection ends, or falls silent."""
    for way, how in FRAMINGS.items():
        for point in POINTS if way == "chunked" else SAMPLE:
            for fault, (script, kind) in SUDDEN.items():
                yield _case(point, f"{fault}, {way}", kind, script, how=how)
    for point in POINTS:
        yield _case(point, "end, chunked", TruncatedError, _say(b"0\r\n\r\n"))
        before = WHOLE[: POINTS[point]]
        length = Framing(head(framing=str(len(before))))
        yield _case(point, "end, with a length", TruncatedError, close, how=length)


def dripping() -> Iterator[Case]:
    for way in ("chunked", "with a length", "until the end", "TLS"):
        how = FRAMINGS[way]
        for point in ("after message_start", "inside a character"):
            rest = WHOLE[POINTS[point] :]
            if way in ("chunked", "TLS"):  # each byte in a chunk of its own, and each byte of that sent for itself
                rest = b"".join(chunk(bytes([byte])) for byte in rest) + b"0\r\n\r\n"
            yield _case(point, f"one byte at a time, {way}", None, drip(rest), how=how)


def framing() -> Iterator[Case]:
    """What is between the pieces is wrong."""
    for point in SAMPLE:
        for fault, sent, ends, then in (
            ("a chunk size that is none", b"zz\r\n", ProtocolError, stall),
            ("a negative chunk size", b"-5\r\nhello\r\n", ProtocolError, stall),
            ("an immense chunk size", b"7fffffffffffffff\r\nhello", TruncatedError, close),
            ("an endless chunk size", b"1" * 100_000, ProtocolError, stall),
            ("a chunk that is longer than its size", b"1\r\nhello\r\n", ProtocolError, stall),
            ("another answer's head", head(), ProtocolError, stall),
        ):
            yield _case(point, fault, ends, _say(sent, then=then))


def talking() -> Iterator[Case]:
    """What is said is wrong, or goes on for ever. Only between two events, or it would be part of one."""
    points = [point for point in SAMPLE if point in BOUNDARIES]
    news = {"type": "news", "text": "x" * 1000}
    for point in points:
        for fault, sent, ends, then in (
            ("an event that is no JSON", chunk(b"data: {nonsense\n\n"), ProtocolError, stall),
            ("an event that is no object", chunk(b'data: ["text"]\n\n'), ProtocolError, stall),
            ("an event that does not fit", chunk(sse(text_delta("x", index=9))), ProtocolError, stall),
            ("an endless line", chunk(b"data: "), ProtocolError, forever(chunk(b"x" * 10_000))),
            ("an endless event", b"", ProtocolError, forever(chunk(b"data: x\n" * 1000))),
            ("endless pings", b"", StalledError, forever(chunk(sse(PING)))),
            ("endless comments", b"", StalledError, forever(chunk(b": still here\n\n"))),
        ):
            yield _case(point, fault, ends, _say(sent, then=then))
        for fault, sent, besides in (
            ("an event that nobody knows", sse(news), news),
            ("a message_start again", sse(start()), start()),
            ("a comment that is no UTF-8", b": \xff\xfe\n\n", None),
            ("empty lines", b"\n\n\r\n\r\r", None),
        ):
            rest = _say(chunk(sent), chunk(WHOLE[POINTS[point] :]), b"0\r\n\r\n")
            yield replace(_case(point, fault, None, rest), besides=besides)
        for kind, status_ends, retryable in STATUSES.values():
            if kind.endswith("_error") or kind == "request_too_large":
                error = _say(chunk(sse(error_body(kind))), then=stall)
                # a conflict is retried by its status, which an event does not have
                yield _case(
                    point, f"an error event, {kind}", status_ends, error, retryable=retryable and "conflict" not in kind
                )
    endless = _case("after text_delta", "an endless answer", ProtocolError, forever(chunk(sse(news))))
    yield replace(endless, besides=news)


def packing() -> Iterator[Case]:
    """What is compressed is spoilt, or is far more than it looks."""
    whole = zlib.compress(WHOLE, wbits=31)
    middle = len(whole) // 2
    gzip = head(headers={"content-encoding": "gzip"})
    for fault, pieces, ends, retryable in (
        ("broken gzip", [chunk(whole[:middle] + b"\x00" * 40 + whole[middle + 40 :])], ProtocolError, False),
        ("gzip that is none", [chunk(b"\x00" * 40)], ProtocolError, False),
        ("gzip that ends early", [chunk(whole[:middle]), b"0\r\n\r\n"], TruncatedError, True),
        ("whole gzip", [chunk(whole), b"0\r\n\r\n"], None, False),
        ("whole gzip in small chunks", [*(chunk(whole[at : at + 3]) for at in range(0, len(whole), 3))], None, False),
    ):
        yield Case("compressed body", fault, ends, retryable, after_request(_say(gzip, *pieces, then=stall)))

    def bomb(peer: Peer) -> None:
        _say(gzip, chunk(_bomb()), then=stall)(peer)

    yield Case("compressed body", "a zip bomb", ProtocolError, retryable=False, script=after_request(bomb))


@functools.cache
def _bomb() -> bytes:
    """Pack the beginning of an answer, and an event of 200 MB; that takes half a second."""
    bomb = zlib.compressobj(9, wbits=31)
    sent = bomb.compress(WHOLE[: POINTS["after text_delta"]] + b"data: ")
    return sent + b"".join(bomb.compress(b"x" * (1 << 20)) for _ in range(200)) + bomb.flush()


def _say(*pieces: bytes, then: Script = close) -> Script:
    def script(peer: Peer) -> None:
        peer.send(*pieces)
        then(peer)

    return script


def _case(
    point: str,
    fault: str,
    ends: type[APIError] | None,
    script: Script,
    *,
    how: Framing = FRAMINGS["chunked"],
    retryable: bool | None = None,
) -> Case:
    """Get the case of an answer that goes wrong at a point; what comes after the whole of it, spoils nothing.

    Unless it is said, a connection that fails may be tried again, and nothing else.
    """
    if point == "after message_stop":
        ends, retryable = None, NEVER
    if retryable is None:
        retryable = ends is not None and issubclass(ends, APIConnectionError)
    sent = WHOLE[: POINTS[point]]

    def sends(peer: Peer) -> None:
        peer.send(how.head, how.frame(sent))
        script(peer)

    waits = fault.startswith("stall") or ends is StalledError
    return Case(point, fault, ends, retryable, after_request(sends), how.world, waits=waits)
