"""Open, read, cancel: the only module that knows requests and urllib3.

A request runs wholly on the thread of its chat, within an attempt of its scope. From before `connect()` until the
connection goes back to the pool, the scope holds a duplicate of the socket:

- `_Connection` makes the socket itself, to bind it before it connects;
- `_Pool` binds a connection that is used again, and lets go of one before it can be picked up by somebody else.

`requests.Session` is left out: it reads the environment at every request, keeps cookies and follows redirects.

Every exception of requests, urllib3, http.client, ssl and socket comes out as one of ours, by the table `_FAULTS`.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import os
import socket
import ssl
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from anthropix_actors._chunked import ChunkedBody
from anthropix_actors._scope import running_scope
from anthropix_actors.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ConfigurationError,
    ProtocolError,
    TruncatedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors._request import Request, Timeout

POOL_SIZE = 1000
"""How many idle connections to keep: as many as ever ran at once, up to this."""

_CHUNK = 65536
_ERROR_BODY = 1 << 20
_DRAIN_TIMEOUT = 0.05
_DRAIN_READS = 4
_QUOTED = 300

LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""What requests and all below it raise. `ssl.SSLError` and `TimeoutError` are OSErrors."""


class _Connection:
    """Make the socket here, so that the scope holds it before `connect()`."""

    def _new_conn(self: Any) -> socket.socket:
        try:
            return _connected((self._dns_host, self.port), self.timeout, self.source_address, self.socket_options)
        except socket.gaierror as exc:
            raise urllib3.exceptions.NameResolutionError(self.host, self, exc) from exc
        except TimeoutError as exc:
            raise urllib3.exceptions.ConnectTimeoutError(self, f"no connection in {self.timeout} s") from exc
        except OSError as exc:
            raise urllib3.exceptions.NewConnectionError(self, str(exc)) from exc


def _connected(
    address: tuple[str, int], timeout: float | None, source: tuple[str, int] | None, options: Any
) -> socket.socket:
    """Connect to the first of the host's addresses that answers, bound to the scope of this thread's attempt.

    The name look-up itself cannot be cancelled: the C library offers no way.
    """
    scope = running_scope()
    if scope is None:
        raise RuntimeError("a request runs within the attempt of a scope")
    failure: OSError | None = None
    for family, kind, proto, _, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, proto)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            sock.settimeout(timeout)
            if source:
                sock.bind(source)
            scope.bind(sock)
            sock.connect(place)
        except OSError as exc:
            sock.close()
            scope.check()  # or the next address would be tried after a cancel
            failure = exc
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError("the name has no address")


class _Pool:
    """A connection belongs to a scope from check-out to check-in."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc]
        scope = running_scope()
        if scope is not None and connection.sock is not None:
            try:
                scope.bind(connection.sock)
            except BaseException:
                connection.close()  # nobody else knows of it any more
                raise
        return connection

    def _put_conn(self, conn: Any) -> None:
        scope = running_scope()
        if scope is not None:
            scope.release()
        super()._put_conn(conn)  # type: ignore[misc]


class _HTTPConnection(_Connection, HTTPConnection):
    pass


class _HTTPSConnection(_Connection, HTTPSConnection):
    pass


class _HTTPPool(_Pool, HTTPConnectionPool):
    ConnectionCls: Any = _HTTPConnection


class _HTTPSPool(_Pool, HTTPSConnectionPool):
    ConnectionCls: Any = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
_KEEPALIVE: list[Any] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""For connections that are silent for long, and requests that should not wait for the answer to their first piece."""


class _Adapter(HTTPAdapter):
    """requests' adapter with our pools, and one TLS context for all connections.

    requests loads the CA bundle for every new connection: 46 ms of CPU and 800 KiB each, against 6 ms and 27 KiB.
    """

    def __init__(self, tls: Callable[[], ssl.SSLContext]) -> None:
        self._tls = tls
        super().__init__(pool_connections=4, pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=_KEEPALIVE, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = self._tls()
        manager = super().proxy_manager_for(proxy, socket_options=_KEEPALIVE, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(self, request: Any, *_: Any, **__: Any) -> Any:
        host, _tls = super().build_connection_pool_key_attributes(request, verify=True)
        return host, {"ssl_context": self._tls()} if host["scheme"] == "https" else {}

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Do nothing: the context knows what to trust."""


class Transport:
    """The connections of one client. Safe to share between threads.

    Proxy and CA bundle are read from the environment here, once.

    Args:
        base_url: Where to send every request; nothing is ever sent elsewhere.
        proxy: The proxy's URL; None takes the environment's, "" means none.
        verify: What to trust: a CA bundle's path, or a context; None takes the environment's bundle, or certifi's.

    Raises:
        ConfigurationError: the proxy or the bundle cannot be used.
    """

    def __init__(self, base_url: str, *, proxy: str | None = None, verify: Any = None) -> None:
        """Take what the environment says; open nothing yet."""
        self.base_url = base_url
        self._proxies = _proxies_for(base_url, proxy)
        self._verify = verify if isinstance(verify, ssl.SSLContext) else _ca_bundle(verify)
        self._lock = threading.Lock()
        self._adapter = _Adapter(self._tls)

    def open(self, request: Request) -> Answer:
        """Send a request and wait for the answer's status and headers. Only within an attempt of a scope.

        Raises:
            APIConnectionError: there is no answer, or none that is HTTP (`ProtocolError`).
        """
        prepared = requests.Request("POST", self.base_url + request.path, headers=dict(request.headers)).prepare()
        # A file, not bytes: then the connect timeout bounds each block of the upload and not all of it.
        prepared.body = io.BytesIO(request.body)  # type: ignore[assignment] # as a Session would
        prepared.headers["Content-Length"] = str(len(request.body))
        timeout: Any = (request.timeout.connect, request.timeout.read)
        try:
            response = self._adapter.send(prepared, stream=True, timeout=timeout, proxies=self._proxies)
        except LIBRARY_ERRORS as exc:
            raise fault(exc, request.timeout) from exc
        return Answer(response, request.timeout)

    def close(self) -> None:
        """Close the idle connections. Those in use close when their answers end."""
        self._adapter.close()

    def forget(self) -> None:
        """Leave all connections to the parent process: in a forked child they would mix two conversations."""
        self._lock = threading.Lock()
        self._adapter = _Adapter(self._tls)

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
        headers: The headers, names in lower case.
    """

    def __init__(self, response: requests.Response, timeout: Timeout) -> None:
        """Take over an open response."""
        self._raw: Any = response.raw
        self._timeout = timeout
        self.status = response.status_code
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
        while data := read1(_CHUNK):
            yield data
        # http.client raises where a chunked body ends too early, but not where its length says so
        self._whole = self._raw.chunked or self._raw._fp.length == 0  # noqa: SLF001

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
            for _ in itertools.islice(self.chunks(), _DRAIN_READS):
                pass
            connection.sock.settimeout(self._timeout.read)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it. Only by the thread that reads."""
        if self._whole:
            self._raw._fp.close()  # noqa: SLF001 - closes the reader, not the connection
            self._raw.release_conn()
        else:
            self._raw.close()


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


def fault(exc: BaseException, timeout: Timeout) -> APIError:
    """Get our error for one of a library's. The first row of `_FAULTS` that fits anywhere in its chain decides.

    The chain is looked at whole: its top often misleads. A reset inside a proxy's tunnel comes as a `ProxyError`.
    """
    chain = _chain(exc)
    for kinds, make in _FAULTS:
        for link in chain:
            if isinstance(link, kinds):
                return make(link, timeout)
    return _protocol(exc, timeout)


def _chain(exc: BaseException) -> list[BaseException]:
    """Get an exception and all it came from: causes, contexts, urllib3's reasons, exceptions among the arguments."""
    found: list[BaseException] = []
    todo: list[Any] = [exc]
    while todo:
        link = todo.pop()
        # `reason` is an exception in urllib3, and a string in ssl
        if isinstance(link, BaseException) and not any(link is known for known in found):
            found.append(link)
            todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
    return found


def _connect_timeout(_: BaseException, timeout: Timeout) -> APIError:
    return APITimeoutError(f"no connection within {timeout.connect} s (timeout.connect)", retryable=True)


def _read_timeout(_: BaseException, timeout: Timeout) -> APIError:
    limits = f"timeout.read {timeout.read} s, while connecting timeout.connect {timeout.connect} s"
    return APITimeoutError(f"the server was silent for too long ({limits})", retryable=True)


def _certificate(exc: BaseException, _: Timeout) -> APIError:
    return APIConnectionError(f"the server's certificate is not trusted: {exc}", retryable=False)


def _connection(what: str, *, retryable: bool = True) -> Callable[[BaseException, Timeout], APIError]:
    return lambda exc, _: APIConnectionError(f"{what}: {_text(exc)}", retryable=retryable)


def _proxy(exc: BaseException, _: Timeout) -> APIError:
    # http.client tells of a refused tunnel in words only
    refused = any(" 407 " in str(link) for link in _chain(exc))
    return APIConnectionError(f"the proxy failed: {_text(exc)}", retryable=not refused)


def _incomplete(exc: BaseException, timeout: Timeout) -> APIError:
    # http.client reports a chunk size that is no number as an incomplete read, too; at the stream's end it is empty
    for link in _chain(exc):
        if isinstance(link, ValueError) and not str(link).endswith("b''"):
            return _protocol(link, timeout)
    return TruncatedError("the connection ended inside the answer", retryable=True)


def _protocol(exc: BaseException, _: Timeout) -> APIError:
    return ProtocolError(f"the answer is not HTTP as it should be: {_text(exc)}")


def _text(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"[:_QUOTED]


_u = urllib3.exceptions
_RESET = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)

_FAULTS: list[tuple[tuple[type[BaseException], ...], Callable[[BaseException, Timeout], APIError]]] = [
    ((APIError,), lambda exc, _: exc),  # type: ignore[list-item, return-value] # ours already
    ((_u.NameResolutionError, socket.gaierror), _connection("the host's name was not found")),
    ((_u.ConnectTimeoutError,), _connect_timeout),
    ((_u.NewConnectionError,), _connection("no connection")),
    ((ssl.SSLCertVerificationError, ssl.CertificateError), _certificate),
    ((_u.ReadTimeoutError, TimeoutError), _read_timeout),
    (_RESET, _connection("the connection was reset")),
    ((http.client.IncompleteRead,), _incomplete),
    ((ssl.SSLError, _u.SSLError), _connection("TLS failed")),
    ((_u.ProxyError,), _proxy),
    ((_u.DecodeError, http.client.HTTPException, _u.LocationParseError, _u.InvalidHeader), _protocol),
    ((OSError,), _connection("the connection failed")),
]
