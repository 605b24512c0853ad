"""Open, read, cancel: the only package that knows requests and urllib3.

A request runs wholly on the thread of its chat, within an attempt of its scope. `requests.Session` is left out: it
reads the environment at every request, keeps cookies and follows redirects.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import requests

from anthropix_actors._chunked import ChunkedBody
from anthropix_actors._secrets import hide, secrets_in
from anthropix_actors._transport._auth import Auth
from anthropix_actors._transport._body import opened
from anthropix_actors._transport._connections import ScopedAdapter, here
from anthropix_actors._transport._faults import LIBRARY_ERRORS, Way, fault
from anthropix_actors._transport._libraries import check_libraries
from anthropix_actors._transport._proxy import proxy_for
from anthropix_actors._transport._trust import context_of, trusted
from anthropix_actors._urls import origin_of
from anthropix_actors.errors import APIError, ConfigurationError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anthropix_actors._request import Request
    from anthropix_actors.errors import APIStatusError

_CHUNK = 65536
_ERROR_BODY = 1 << 20
_DRAIN_TIMEOUT = 0.05
_DRAIN_READS = 4
_GOOD = 2
_FINAL = 200
_PROXY_AUTH = 407


class Transport:
    """The connections of one client. Safe to share between threads.

    Proxy and CA bundle are read from the environment here, once; what is wrong with them is found here, too.

    Args:
        base_url: Where to send every request; nothing is ever sent elsewhere.
        proxy: The proxy's URL; None takes the environment's, "" means none.
        verify: What to trust: a CA bundle's path, or a context; None or True takes the environment's bundle, or
            certifi's.
        auth: What sets credentials for each attempt, if anything does.

    Attributes:
        auth: The same, as `Auth`.
        proxy: The proxy, or None.

    Raises:
        ConfigurationError: the proxy or the bundle cannot be used, or a library below is too old.
    """

    def __init__(
        self,
        base_url: str,
        *,
        proxy: str | None = None,
        verify: Any = None,
        auth: Callable[[Any], Any] | None = None,
    ) -> None:
        """Take what the environment says; open nothing yet."""
        check_libraries()
        self.base_url = base_url
        self.auth = Auth(auth)
        self.proxy = proxy_for(base_url, proxy)
        self._proxies = {base_url.partition(":")[0]: self.proxy.url} if self.proxy else {}
        certificates = trusted(verify)
        encrypted = base_url.startswith("https:") or (self.proxy is not None and self.proxy.encrypted)
        self._tls = context_of(certificates) if encrypted else None
        self._adapter = ScopedAdapter(self._tls)
        self.closed = False
        try:
            self._adapter.get_connection_with_tls_context(_prepared("GET", base_url, {}), None, self._proxies)
        except (*LIBRARY_ERRORS, ValueError) as exc:  # a user of the proxy that fits no header, perhaps
            what = f"base_url or {self.proxy}" if self.proxy else "base_url"
            raise ConfigurationError(f"{what}: it cannot be used ({type(exc).__name__})") from None

    def open(self, request: Request) -> Answer:
        """Send a request and wait for the answer's status and headers. Only within an attempt of a scope.

        Raises:
            APIConnectionError: there is no answer, or none that is HTTP (`ProtocolError`).
        """
        prepared = _prepared(request.method, self._url(request.path), request.headers)
        if isinstance(request.body, bytes):
            prepared.body = request.body  # an auth that signs wants to see it
        self.auth.apply(prepared)
        prepared.headers.pop("Content-Length", None)
        prepared.body = None
        if request.body is not None:
            prepared.body, length = opened(request.body, here())  # type: ignore[assignment] # as a Session would
            if length is not None:
                prepared.headers["Content-Length"] = str(length)
        response = self._sent(prepared, request)
        # The wait for the head is over; from here on the wait between two bytes counts.
        raw: Any = response.raw
        raw._fp.peer.settimeout(request.timeout.read)  # noqa: SLF001 - our own response's
        return Answer(response, request, self, prepared.headers)

    def _sent(self, prepared: requests.PreparedRequest, request: Request) -> requests.Response:
        timeout: Any = (request.timeout.connect, request.timeout.first_byte)
        try:
            return self._adapter.send(prepared, stream=True, timeout=timeout, proxies=self._proxies)
        except LIBRARY_ERRORS as exc:
            error = fault(exc, Way(request.timeout, self.proxy))
        finally:
            if prepared.body is not None:
                prepared.body.close()  # type: ignore[union-attr]
        raise error

    def close(self) -> None:
        """Close the idle connections. Those in use close when their answers end."""
        self.closed = True
        self._adapter.close()

    def _url(self, path: str) -> str:
        """Get a request's address. A whole one, as the API gives for a batch's results, must be on the same origin."""
        if path.startswith("/"):
            return self.base_url + path
        with contextlib.suppress(ValueError):
            if origin_of(path) == origin_of(self.base_url):
                return path
        raise ConfigurationError(f"nothing is sent to another origin than that of {self.base_url}: {path:.200}")

    def explain(self, error: APIError, request: Request, sent: Mapping[str, str]) -> None:
        """Say in an error what was asked, without what must not be repeated: the query, and credentials.

        Args:
            error: The error.
            request: What was asked.
            sent: The headers that were sent in the end.
        """
        path = request.path
        url = self.base_url + path if path.startswith("/") else path
        error.method, error.url = request.method, url.partition("?")[0].partition("#")[0]
        known = {} if self.proxy is None else self._adapter.proxy_headers(self.proxy.url)
        hide(error, secrets_in(request.headers) | secrets_in(sent) | secrets_in(known))

    def forget(self) -> None:
        """Leave all connections to the parent process: in a forked child they would mix two conversations."""
        self._adapter = ScopedAdapter(self._tls)
        self.auth.forget()


class Answer:
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
        self._whole = False  # the body was read to its end, and nothing follows it

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
        """Give the connection back if the body was read to its end, else close it. Only by the thread that reads."""
        if self._whole and not self._transport.closed:  # else nobody would close what is put back
            self._raw._fp.close()  # noqa: SLF001 - closes the reader, not the connection
            self._raw.release_conn()
        else:
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


def _prepared(method: str, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
    return requests.Request(method, url, headers=dict(headers)).prepare()
