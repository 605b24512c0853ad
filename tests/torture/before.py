"""Faults before an answer has begun."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from anthropix_actors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    GatewayTimeoutError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RequestTimeoutError,
    RequestTooLargeError,
    ServiceUnavailableError,
    StalledError,
    TruncatedError,
    UnprocessableEntityError,
)

from servers import Peer, chunk, error_body, head, json_answer
from torture import worlds
from torture.faults import (
    AGAIN,
    LARGE_PROMPT,
    NEVER,
    SLOWLY,
    Case,
    after_request,
    close,
    drip,
    forever,
    reads,
    reset,
    says,
    speaks,
    stall,
    wait_unread,
)
from torture.truth import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torture.worlds import Script


TOO_MANY_HEADERS = (ProtocolError, NEVER) if sys.version_info >= (3, 12) else (StalledError, AGAIN)
"""Of a proxy; before Python 3.12, http.client reads them as long as they come."""


def before() -> Iterator[Case]:
    yield from reaching()
    yield from tunnelling()
    yield from sending()
    yield from heads()
    yield from statuses()


def reaching() -> Iterator[Case]:
    connection, timeout = APIConnectionError, APITimeoutError
    yield Case("name", "no such name", connection, AGAIN, close, worlds.nameless)
    yield Case("connect", "refused", connection, AGAIN, close, worlds.closed)
    yield Case("connect", "stall", timeout, AGAIN, close, worlds.crowded, waits=True)
    for fault, script, waits in (
        ("close", reads(1, close), False),
        ("reset", reads(1, reset), False),
        ("stall", stall, True),
        ("a handshake that drips", drip(b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xfc" + b"x" * 100, stall), True),
    ):
        ends, world = (timeout if waits else connection), worlds.before_tls
        yield Case("TLS", fault, ends, AGAIN, script, world, waits=waits)
    for fault, said in (("plain HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n"), ("garbage", b"\x00\xff" * 100)):
        yield Case("TLS", fault, connection, NEVER, speaks(said), worlds.before_tls)
    yield Case("TLS", "a stranger's certificate", connection, NEVER, close, worlds.stranger)
    yield Case("TLS", "a certificate for another name", connection, NEVER, close, worlds.namesake)


def tunnelling() -> Iterator[Case]:
    noise = b"\x00\xff" * 100
    refusal = b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n"
    for fault, ends, retryable, script in (
        ("close", APIConnectionError, True, says(then=close)),
        ("reset", APIConnectionError, True, says(then=reset)),
        ("stall", APITimeoutError, True, says()),
        ("407", APIConnectionError, False, says(refusal % b"407 Proxy Authentication Required")),
        ("403", APIConnectionError, False, says(refusal % b"403 Forbidden")),
        ("502", APIConnectionError, True, says(refusal % b"502 Bad Gateway")),
        ("503", APIConnectionError, True, says(refusal % b"503 Service Unavailable")),
        ("garbage", ProtocolError, False, says(b"\x00\xff" * 100 + b"\r\n\r\n", then=close)),
        ("endless headers", *TOO_MANY_HEADERS, says(b"HTTP/1.1 200 OK\r\n", then=forever(b"x: y\r\n"))),
        ("an endless line", ProtocolError, False, says(then=forever(b"x" * 10_000))),
        ("close in the tunnel", APIConnectionError, True, says(refusal % b"200 OK", then=close)),
        ("stall in the tunnel", APITimeoutError, True, says(refusal % b"200 OK")),
        ("garbage in the tunnel", APIConnectionError, False, says(refusal % b"200 OK", then=reads(1, speaks(noise)))),
    ):
        yield Case(
            "proxy", fault, ends, retryable, script, worlds.proxy, waits="stall" in fault or ends is StalledError
        )


def sending() -> Iterator[Case]:
    some = LARGE_PROMPT // 4
    early = json_answer("413 Payload Too Large", error_body("request_too_large"))
    for fault, ends, script in (
        ("close", APIConnectionError, reads(some, close)),
        ("reset", APIConnectionError, reads(some, reset)),
        ("stall", StalledError, reads(some, wait_unread)),
        ("a reader of small pieces", None, says(head(), chunk(WHOLE), b"0\r\n\r\n")),
        ("an answer before it is whole", RequestTooLargeError, reads(some, speaks(early))),
    ):
        retryable = ends is not None and ends is not RequestTooLargeError
        yield Case("sending", fault, ends, retryable, script, prompt=LARGE_PROMPT, waits=fault == "stall")


def heads() -> Iterator[Case]:
    first_half = head()[:40]
    rot13 = {"content-encoding": "rot13"}
    for fault, ends, retryable, script in (
        ("close", APIConnectionError, True, says(then=close)),
        ("reset", APIConnectionError, True, says(then=reset)),
        ("stall", APITimeoutError, True, says()),
        ("close inside", TruncatedError, True, says(first_half, then=close)),
        ("reset inside", APIConnectionError, True, says(first_half, then=reset)),
        ("stall inside", APITimeoutError, True, says(first_half)),
        ("one byte at a time", None, False, after_request(SLOWLY)),
        ("garbage", ProtocolError, False, says(b"\x00\xff" * 100 + b"\r\n\r\n")),
        ("a status that is none", ProtocolError, False, says(b"HTTP/1.1 OK fine\r\n\r\n")),
        ("endless headers", ProtocolError, False, says(b"HTTP/1.1 200 OK\r\n", then=forever(b"x: y\r\n"))),
        ("an endless line", ProtocolError, False, says(b"HTTP/1.1 200 OK\r\nx: ", then=forever(b"x" * 10_000))),
        ("endless 100 Continue", ProtocolError, False, says(then=forever(b"HTTP/1.1 100 Continue\r\n\r\n"))),
        ("nothing but a head", TruncatedError, True, says(head(framing="0", headers={"connection": "close"}))),
        ("no content", TruncatedError, True, says(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")),
        ("HTML with 200", ProtocolError, False, says(head(content_type="text/html", framing="9"), b"<p>Hi</p>")),
        ("a Message with 200", ProtocolError, False, says(json_answer("200 OK", {"type": "message"}))),
        ("an unknown encoding", TruncatedError, True, says(head(headers=rot13), chunk(b"qngn: {}"), then=close)),
        ("two lengths", ProtocolError, False, says(head(framing="5", headers={"Content-Length": "6"}), b"hello")),
    ):
        yield Case("headers", fault, ends, retryable, script, waits="stall" in fault or ends is StalledError)


STATUSES: dict[int, tuple[str, type[APIStatusError], bool]] = {
    400: ("invalid_request_error", BadRequestError, False),
    401: ("authentication_error", AuthenticationError, False),
    402: ("billing_error", PaymentRequiredError, False),
    403: ("permission_error", PermissionDeniedError, False),
    404: ("not_found_error", NotFoundError, False),
    408: ("timeout", RequestTimeoutError, True),
    409: ("conflict_error", ConflictError, True),
    413: ("request_too_large", RequestTooLargeError, False),
    422: ("unprocessable", UnprocessableEntityError, False),
    429: ("rate_limit_error", RateLimitError, True),
    500: ("api_error", InternalServerError, True),
    502: ("bad_gateway", InternalServerError, True),
    503: ("unavailable", ServiceUnavailableError, True),
    504: ("timeout_error", GatewayTimeoutError, True),
    529: ("overloaded_error", OverloadedError, True),
}


def statuses() -> Iterator[Case]:
    for status, (kind, ends, retryable) in STATUSES.items():
        bodies = {
            "JSON": json.dumps(error_body(kind)).encode(),
            "HTML": b"<html><body><h1>No</h1></body></html>",
            "no body": b"",
            "50 MB": None,
            "a body that is no UTF-8": b"\xff\xfe" * 50,
            "JSON of another shape": b'{"error": ["no", {"error": 7}], "type": 5}',
            "JSON that is nested too deeply": b"[" * 100_000,
        }
        for name, body in bodies.items():
            script = fifty_megabytes(status) if body is None else says(json_answer(f"{status} No", body), then=close)
            yield Case("status", f"{status} with {name}", ends, retryable, script)
    for status in (301, 302, 303, 307, 308):
        moved = head(f"{status} Moved", framing="0", headers={"location": "http://nowhere.invalid/"})
        yield Case("status", f"{status} to elsewhere", APIStatusError, NEVER, says(moved, then=close))


def fifty_megabytes(status: int) -> Script:
    def script(peer: Peer) -> None:
        peer.send(head(f"{status} No", framing=str(50 << 20)))
        for _ in range(50):
            peer.send(b"x" * (1 << 20))

    return after_request(script)
