"""An answer, read as it arrives."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.chunked import ChunkedBody
from anthropix_actors._http.connections import here
from anthropix_actors._http.exceptions import LIBRARY_ERRORS, Way, fault
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
    """The API's answer to one request: status, headers, and a body that is read as it arrives.

    Attributes:
        status: The HTTP status.
        ok: Whether it is no error.
        headers: The headers, names in lower case.
        max_bytes: How large it may be, for those who keep it in memory.
        sent: The headers of the request, credentials among them.
        of_events: Whether it is a stream of events: then bytes alone are no progress.
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
        self._compressed = self.headers.get("content-encoding", "identity").lower() != "identity"
        chunked = self._raw.chunked and self._raw.supports_chunked_reads() and not self._compressed
        self._chunked = ChunkedBody() if chunked else None
        self._ended = False  # the body was read to its end
        self._whole = False  # and nothing follows it

    def chunks(self) -> Iterator[bytes]:
        """Get the body, each time what has arrived, at once: at most one blocking read an item.

        Raises:
            APIConnectionError, ProtocolError: it could not be read to its end.
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
        """Read chunks from under http.client, which would take four calls for each."""
        read1 = self._raw._fp.fp.read1  # noqa: SLF001
        while not body.complete:
            data = read1(_CHUNK)
            if not data:
                raise TruncatedError("the connection ended inside the answer", retryable=True)
            if payload := body.feed(data):
                yield payload
            if body.error is not None:
                raise body.error
        self._ended = True
        self._whole = not body.excess and self.status >= _FINAL

    def _decoded_below(self) -> Iterator[bytes]:
        """Let urllib3 read what is compressed, and http.client what is framed by its length or by the end."""
        read1 = partial(self._raw.read1, decode_content=True) if self._compressed else self._raw._fp.read1  # noqa: SLF001
        empty = True
        while data := read1(_CHUNK):
            empty = False
            yield data
        # http.client takes a head that is cut for a whole one, and what is missing for an empty body
        if empty and self._raw._fp.length is None and not self._raw.chunked:  # noqa: SLF001
            raise TruncatedError("the connection ended inside the answer's head, or right after it", retryable=True)
        # http.client raises where a chunked body ends too early, but not where its length says so
        if left := self._raw._fp.length:  # noqa: SLF001
            raise TruncatedError(f"the connection ended inside the answer, {left} bytes before its end", retryable=True)
        self._ended = True
        self._whole = (self._raw.chunked or left == 0) and self.status >= _FINAL

    def text(self) -> str:
        """Get the body as text, up to 1 MiB of it: an error's body, whole or as far as it came."""
        body = b""
        with contextlib.suppress(APIError):  # the status says more than the cut of its explanation
            for chunk in self.chunks():
                body += chunk
                if len(body) >= _ERROR_BODY:
                    break
        return body[:_ERROR_BODY].decode(errors="replace")

    def named(self, error: APIStatusError) -> APIStatusError:
        """Get the error that this answer is, after its text says who answered, where that may have been a proxy.

        A proxy that has no tunnel reads the request, and may answer it itself.
        """
        proxy = self._transport.proxy
        if proxy is not None and self._transport.base_url.startswith("http:"):
            if self.status == _PROXY_AUTH:
                error.message = f"{proxy} asks for a user and a password: {error.message}"
            elif error.type is None:
                error.message = f"{error.message} (not in the API's words: perhaps by {proxy})"
            error.args = (error.message,)
        return error

    def drain(self) -> None:
        """Read the end of a complete answer, so that its connection can be used again; but do not wait for it."""
        connection = self._raw.connection
        if connection is None or connection.sock is None:  # it ends by closing: there is nothing to use again
            return
        connection.sock.settimeout(_DRAIN_TIMEOUT)
        with contextlib.suppress(APIError):  # the answer is complete; the connection is closed instead of kept
            # Its timeout stays: urllib3 sets another before it sends the next request. And at the end of some bodies it
            # has given the connection back by itself; then it may be somebody else's, or closed.
            list(itertools.islice(self.chunks(), _DRAIN_READS))

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it. Only by the thread that reads.

        What was not read to its end is reset: else a server whose window is full may wait long until it hears that
        nobody reads any more, and go on to make an answer that costs.
        """
        if self._whole and not self._transport.closed:  # else nobody would close what is put back
            self._raw._fp.close()  # noqa: SLF001 - closes the reader, not the connection
            self._raw.release_conn()
        else:
            if not self._ended:
                with contextlib.suppress(OSError, AttributeError):  # TLS within TLS has no options
                    self._raw._fp.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # noqa: SLF001
            self._raw.close()


def _watched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Let each piece of a body that arrives show that it goes on. In a stream of events, events do."""
    scope = here()
    while True:
        scope.idle_since = time.monotonic()
        try:
            piece = next(pieces, None)
        finally:
            scope.idle_since = None  # what is done with a piece is no silence of the server
        if piece is None:
            return
        yield piece
