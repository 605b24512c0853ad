"""An HTTP response, read as it arrives."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from urllib3.response import GzipDecoderState

from anthropix_actors._decode.chunked import ChunkedBody
from anthropix_actors._http.attempt_scope import this_attempt
from anthropix_actors._http.library_errors import LIBRARY_ERRORS, Way, fault
from anthropix_actors._http.tls import TLSSocket, plain
from anthropix_actors.errors import APIError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from anthropix_actors._http.request import Request
    from anthropix_actors._http.transport import Transport
    from anthropix_actors.errors import APIStatusError

_CHUNK = 65536
_ERROR_BODY = 1 << 20
_DRAIN_TIMEOUT = 0.05
_DRAIN_READS = 4
_RESET = struct.pack("ii", 1, 0)
_GOOD = 2
_FINAL = 200
_PROXY_AUTH = 407


class Response:
    """The HTTP response to one request: status, headers, and a body that is read as it arrives.

    Attributes:
        status: The HTTP status.
        ok: Whether the status is not an error.
        headers: The headers, names in lower case.
        max_bytes: The largest body that may be kept in memory.
        sent: The headers of the request, including credentials.
        of_events: Whether it is a stream of events: then only events count as progress, not bytes.
    """

    def __init__(
        self, response: requests.Response, request: Request, transport: Transport, sent: Mapping[str, str]
    ) -> None:
        """Take over an open response."""
        self._raw: Any = response.raw
        self._way = Way(request.timeout, transport.proxy, answered=True)
        self.max_bytes = request.max_answer_bytes
        self.sent = sent
        self._transport = transport
        self.status = response.status_code
        self.ok = self.status // 100 == _GOOD
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        asked = request.headers.get("accept", "")
        kind = self.headers.get("content-type") or asked
        self.of_events = kind.lower().startswith("text/event-stream") and asked != "application/binary"
        self._of_bytes = asked.startswith("application/binary")  # which do not say themselves where they end
        self._compressed = self.headers.get("content-encoding", "identity").lower() != "identity"
        chunked = self._raw.chunked and self._raw.supports_chunked_reads() and not self._compressed
        self._chunked = ChunkedBody() if chunked else None
        self._ended = False  # the body was read to its end
        self._whole = False  # and no bytes follow it

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the body as they arrive, with at most one blocking read per item.

        Runs in the thread of the request.

        Raises:
            APIConnectionError, ProtocolError: the body could not be read to its end.
        """
        pieces = self._decoded_below() if self._chunked is None else self._decoded_here(self._chunked)
        try:
            yield from pieces if self.of_events else _watched(pieces)
        except LIBRARY_ERRORS as exc:
            error = fault(exc, self._way)
        else:
            return
        raise error

    def _decoded_here(self, body: ChunkedBody) -> Iterator[bytes]:
        """Read chunks without http.client, which would need four calls for each.

        Its reader gives up what came with the head, and is empty after that; the rest is read below it.
        """
        reader = self._raw._fp  # noqa: SLF001
        scope = this_attempt().cancel_scope
        receive = reader.fp.read1
        while not body.complete:
            data = receive(_CHUNK)
            scope.check()  # what has come is not handled any more
            receive = reader.peer.recv
            if not data:
                raise TruncatedError("the connection ended inside the response", retryable=True)
            if payload := body.feed(data):
                yield payload
            if body.error is not None:
                raise body.error
        self._ended = True
        self._whole = not body.excess and self.status >= _FINAL

    def _decoded_below(self) -> Iterator[bytes]:
        """Read compressed bodies by urllib3, and those framed by length or by closing by http.client."""
        read1 = partial(self._raw.read1, decode_content=True) if self._compressed else self._raw._fp.read1  # noqa: SLF001
        empty = True
        while data := read1(_CHUNK):
            empty = False
            yield data
        # http.client takes a truncated head for a complete one, with an empty body
        if empty and self._raw._fp.length is None and not self._raw.chunked:  # noqa: SLF001
            raise TruncatedError("the connection ended inside the response's head, or right after it", retryable=True)
        # http.client raises if a chunked body ends too early, but not if a body is shorter than its length
        if left := self._raw._fp.length:  # noqa: SLF001
            raise TruncatedError(
                f"the connection ended inside the response, {left} bytes before its end", retryable=True
            )
        if not empty and _lacks_its_end(self._raw._decoder):  # noqa: SLF001
            self._ended = True  # as HTTP frames it: the connection is in the pool by now
            raise TruncatedError("the compressed response is cut before its end", retryable=True)
        if self._of_bytes and left is None and not self._raw.chunked:
            # RFC 9112, 9.8: a response that ends with the connection is complete only after a close_notify
            peer = self._raw._fp.peer  # noqa: SLF001
            if isinstance(peer, TLSSocket) and not peer.got_close_notify:
                raise TruncatedError("the connection ended without a close_notify, inside the response", retryable=True)
        self._ended = True
        self._whole = (self._raw.chunked or left == 0) and self.status >= _FINAL

    def text(self) -> str:
        """Return the body of an error as text, up to 1 MiB, or as far as it could be read."""
        body = b""
        with contextlib.suppress(APIError):  # a truncated body still has a status, which says more
            for chunk in self.chunks():
                body += chunk
                if len(body) >= _ERROR_BODY:
                    break
        return body[:_ERROR_BODY].decode(errors="replace")

    def named(self, error: APIStatusError) -> APIStatusError:
        """Return the error of this response, after adding the proxy to its text if that may have sent it.

        A proxy without a tunnel reads the request, and may respond to it itself.
        """
        proxy = self._transport.proxy
        if proxy is not None and self._transport.base_url.startswith("http:"):
            if self.status == _PROXY_AUTH:
                error.message = f"{proxy} asks for a user and a password ({proxy.advice}): {error.message}"
            elif error.type is None:
                error.message = f"{error.message} (not in the API's format: perhaps sent by {proxy})"
            error.args = (error.message,)
        return error

    def drain(self) -> None:
        """Read the end of a body whose answer is complete, so that its connection can be reused; wait only briefly."""
        connection = self._raw.connection
        if connection is None or connection.sock is None:  # it ends by closing: the connection cannot be reused
            return
        connection.sock.settimeout(_DRAIN_TIMEOUT)
        with contextlib.suppress(APIError):  # the answer is complete; the connection is closed instead
            # The timeout is not reset: urllib3 sets another before it sends the next request. And at the end of some
            # bodies it has already returned the connection to the pool; another request may have it, or it is closed.
            list(itertools.islice(self.chunks(), _DRAIN_READS))

    def give_back(self) -> None:
        """Close it if its body has arrived to the end, as it mostly has with the answer's.

        So the next request, made as soon as the answer is told, finds the connection in the pool.
        """
        if self._chunked is not None and self._chunked.complete:
            list(self.chunks())  # reads nothing more
            self.close()

    def close(self) -> None:
        """Return the connection to the pool if the body was read to its end, else close it. Only in the reading thread.

        A connection with an unread body is reset: else a server whose window is full may wait long until it learns that
        the body is not read any more, and go on generating an answer that costs money.
        """
        if self._whole and not self._transport.closed:  # else the returned connection would never be closed
            self._raw._fp.close()  # noqa: SLF001 - closes the reader, not the connection
            self._raw.release_conn()
        else:
            if not self._ended:
                with contextlib.suppress(OSError):
                    plain(self._raw._fp.peer).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # noqa: SLF001
            self._raw.close()


def _lacks_its_end(decoder: Any) -> bool:
    """Return whether gzip or deflate data are cut: urllib3 does not look. It ignores what is no gzip after the end."""
    known: Any = getattr(decoder, "_obj", None)
    if getattr(decoder, "_state", None) == GzipDecoderState.SWALLOW_DATA:
        return False
    return getattr(known, "eof", True) is False


def _watched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Count each piece of a body as progress. In a stream of events, events are counted instead."""
    timer = this_attempt().timer
    while True:
        timer.idle_since = time.monotonic()
        try:
            piece = next(pieces, None)
        finally:
            timer.idle_since = None  # the time that handling a piece takes is not the server's silence
        if piece is None:
            return
        yield piece
