"""Open, read, cancel: the only package that knows requests and urllib3.

A request runs wholly on the thread of its chat, within an attempt of its scope. `requests.Session` is left out: it
reads the environment at every request, keeps cookies and follows redirects.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import ssl
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.utils import get_environ_proxies, select_proxy

from anthropix_actors._chunked import ChunkedBody
from anthropix_actors._transport._auth import Auth
from anthropix_actors._transport._connections import ScopedAdapter
from anthropix_actors._transport._faults import LIBRARY_ERRORS, fault
from anthropix_actors._urls import origin_of
from anthropix_actors.errors import APIError, ConfigurationError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from anthropix_actors._request import Body, Request

_CHUNK = 65536
_ERROR_BODY = 1 << 20
_DRAIN_TIMEOUT = 0.05
_DRAIN_READS = 4
_GOOD = 2


class Transport:
    """The connections of one client. Safe to share between threads.

    Proxy and CA bundle are read from the environment here, once.

    Args:
        base_url: Where to send every request; nothing is ever sent elsewhere.
        proxy: The proxy's URL; None takes the environment's, "" means none.
        verify: What to trust: a CA bundle's path, or a context; None takes the environment's bundle, or certifi's.
        auth: What sets credentials for each attempt, if anything does.

    Attributes:
        auth: The same, as `Auth`.

    Raises:
        ConfigurationError: the proxy or the bundle cannot be used.
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
        self.base_url = base_url
        self.auth = Auth(auth)
        self._proxies = _proxies_for(base_url, proxy)
        self._verify = verify if isinstance(verify, ssl.SSLContext) else _ca_bundle(verify)
        self._lock = threading.Lock()
        self._adapter = ScopedAdapter(self._tls)
        self.closed = False

    def open(self, request: Request) -> Answer:
        """Send a request and wait for the answer's status and headers. Only within an attempt of a scope.

        Raises:
            APIConnectionError: there is no answer, or none that is HTTP (`ProtocolError`).
        """
        prepared = requests.Request(request.method, self._url(request.path), headers=dict(request.headers)).prepare()
        if isinstance(request.body, bytes):
            prepared.body = request.body  # an auth that signs wants to see it
        self.auth.apply(prepared)
        body, length = _opened(request.body)
        prepared.body = body  # type: ignore[assignment] # as a Session would
        prepared.headers.pop("Content-Length", None)
        if length is not None:
            prepared.headers["Content-Length"] = str(length)
        timeout: Any = (request.timeout.connect, request.timeout.read)
        try:
            response = self._adapter.send(prepared, stream=True, timeout=timeout, proxies=self._proxies)
        except LIBRARY_ERRORS as exc:
            raise fault(exc, request.timeout) from exc
        finally:
            if body is not None:
                body.close()
        return Answer(response, request, self)

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

    def forget(self) -> None:
        """Leave all connections to the parent process: in a forked child they would mix two conversations."""
        self._lock = threading.Lock()
        self._adapter = ScopedAdapter(self._tls)
        self.auth.forget()

    def _tls(self) -> ssl.SSLContext:
        """Get the context; made by the first request that needs it, as loading a bundle takes its time."""
        with self._lock:
            if not isinstance(self._verify, ssl.SSLContext):
                folder = Path(self._verify).is_dir()
                self._verify = ssl.create_default_context(
                    cafile=None if folder else self._verify, capath=self._verify if folder else None
                )
            return self._verify


class Answer:
    """The API's answer to one request: status, headers, and a body that is read as it arrives.

    Attributes:
        status: The HTTP status.
        ok: Whether it is no error.
        headers: The headers, names in lower case.
        max_bytes: How large it may be, for those who keep it in memory.
    """

    def __init__(self, response: requests.Response, request: Request, transport: Transport) -> None:
        """Take over an open response."""
        self._raw: Any = response.raw
        self._timeout = request.timeout
        self.max_bytes = request.max_answer_bytes
        self._transport = transport
        self.status = response.status_code
        self.ok = self.status // 100 == _GOOD
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._compressed = self.headers.get("content-encoding", "identity").lower() != "identity"
        chunked = self._raw.chunked and self._raw.supports_chunked_reads() and not self._compressed
        self._chunked = ChunkedBody() if chunked else None
        self._whole = False  # the body was read to its end, and nothing follows it

    def chunks(self) -> Iterator[bytes]:
        """Get the body, each time what has arrived, at once: at most one blocking read an item.

        Raises:
            APIConnectionError, ProtocolError: it could not be read to its end.
        """
        try:
            yield from self._decoded_below() if self._chunked is None else self._decoded_here(self._chunked)
        except LIBRARY_ERRORS as exc:
            raise fault(exc, self._timeout) from exc

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
        self._whole = not body.excess

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
        self._whole = self._raw.chunked or left == 0

    def text(self) -> str:
        """Get the body as text, up to 1 MiB of it: an error's body, whole or as far as it came."""
        body = b""
        with contextlib.suppress(APIError):  # the status says more than the cut of its explanation
            for chunk in self.chunks():
                body += chunk
                if len(body) >= _ERROR_BODY:
                    break
        return body[:_ERROR_BODY].decode(errors="replace")

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


def _opened(body: bytes | Body | None) -> tuple[BinaryIO | None, int | None]:
    """Get a body as a file, and its length in bytes; None where that is not known before its end.

    A file, not bytes: then the connect timeout bounds each block of the upload and not all of it.

    Raises:
        AnthropixError: it cannot be read.
    """
    if body is None:
        return None, None
    return (io.BytesIO(body), len(body)) if isinstance(body, bytes) else body.open()


def _proxies_for(base_url: str, proxy: str | None) -> dict[str, str]:
    """Get requests' proxies for the one address that everything is sent to."""
    chosen = select_proxy(base_url, get_environ_proxies(base_url, no_proxy=None)) if proxy is None else proxy
    if not chosen:
        return {}
    url = chosen if "://" in chosen else f"http://{chosen}"
    scheme = url.partition(":")[0].lower()
    if scheme not in {"http", "https"}:
        raise ConfigurationError(
            f"the proxy's scheme is {scheme!r}: only http and https proxies can be used, as a request through another"
            ' kind could not be cancelled. Pass proxy="" to go without one, or another proxy.'
        )
    return {base_url.partition(":")[0]: url}


def _ca_bundle(verify: str | os.PathLike[str] | None) -> str:
    """Get the path of the certificates to trust: the caller's, the environment's as requests reads it, or certifi's."""
    sources = {
        "verify": None if verify is None else os.fspath(verify),
        "REQUESTS_CA_BUNDLE": os.environ.get("REQUESTS_CA_BUNDLE"),
        "CURL_CA_BUNDLE": os.environ.get("CURL_CA_BUNDLE"),
    }
    for name, path in sources.items():
        if path:
            if not Path(path).exists():
                raise ConfigurationError(f"{name}: no such file or folder: {path}")
            return path
    return requests.utils.DEFAULT_CA_BUNDLE_PATH
