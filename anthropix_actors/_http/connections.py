"""Connections that are bound to a scope from before `connect()` until they return to the pool.

- `_Connection` makes the socket itself, to bind it before it connects, and notes when the wait for the response begins;
- `_Response` skips interim responses, up to the final one;
- `_Pool` binds a connection that is used again, and releases one before another request can take it.

The names with an underscore that are overridden here are those of urllib3 2.x and http.client; the tests of `cancel`
and `transport` fail without them, and also run with the lowest versions (`make lowest`).

No lock, ours or urllib3's, is held while a request takes a connection from the pool or returns it: a signal handler may
use the client at that moment, and wait.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
import traceback
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._http.attempt_scope import running_attempt, this_attempt
from anthropix_actors._http.body import Upload
from anthropix_actors._http.library_errors import IN_HANDSHAKE, NoAnswerError, SlowHandshakeError, SlowTunnelError
from anthropix_actors._http.reuse.idle_connections import MAX_IDLE, IdleConnections
from anthropix_actors._http.reuse.tls_context import TLSContext, buffered
from anthropix_actors._http.tls import READER, TLSSocket, plain

MOST_INTERIM = 1000
"""The most interim responses (1xx) before the final one: one every second for a quarter of an hour."""

_FINAL = 200
_SWITCHING = 101


class _Response(http.client.HTTPResponse):
    """The final response to a request.

    http.client skips only 100 Continue, and takes any other 1xx for the response. The real one would then be read as
    the next request's. RFC 9110, 15.2: a client MUST be able to parse one or more 1xx before the final response, even
    if it does not expect one. 101 is final: we never ask to switch protocols, and the bytes after it are not HTTP.
    """

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        if isinstance(sock, socket.socket):
            self.fp.close()
            self.fp: Any = sock.makefile("rb", READER)
        self.peer = sock  # the connection drops its own reference if the body ends by closing

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MOST_INTERIM):
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if found[1] >= _FINAL or found[1] == _SWITCHING:
                return found
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {MOST_INTERIM} responses of status 1xx before the final one")

    def begin(self) -> None:
        super().begin()
        if self.status < _FINAL:
            self.will_close = True  # the bytes that follow are not a response to another request


class _Connection:
    """Makes the socket here, so that it is bound to the scope before `connect()`. In the request's thread."""

    response_class: Any = _Response

    def _new_conn(self: Any) -> socket.socket:
        try:
            return _connected((self._dns_host, self.port), self.timeout, self.socket_options)
        except socket.gaierror as exc:
            raise urllib3.exceptions.NameResolutionError(self.host, self, exc) from exc
        except TimeoutError as exc:
            raise urllib3.exceptions.ConnectTimeoutError(self, f"no connection in {self.timeout} s") from exc
        except OSError as exc:
            raise urllib3.exceptions.NewConnectionError(self, str(exc)) from exc

    def _tunnel(self) -> None:
        """Ask a proxy for a tunnel. Its response, which may be endless for http.client, does not count as progress."""
        timer = this_attempt().timer
        timer.idle_since = time.monotonic()
        try:
            super()._tunnel()  # type: ignore[misc]
        except TimeoutError as exc:
            raise SlowTunnelError from exc
        finally:
            timer.idle_since = None

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **how: Any) -> None:
        if isinstance(body, Upload):
            body.connection = self
        super().request(method, url, body=body, headers=headers, **how)  # type: ignore[misc]

    def getresponse(self) -> Any:
        """Wait at most `timeout.first_byte` for the whole head of the response, interim ones before it included."""
        timer = this_attempt().timer
        timer.idle_since, timer.asked_since = None, time.monotonic()
        try:
            response = super().getresponse()  # type: ignore[misc]
        except TimeoutError as exc:
            raise NoAnswerError from exc
        finally:
            timer.asked_since = None
        if isinstance(peer := response._original_response.peer, TLSSocket):  # noqa: SLF001 - ours
            peer.keep_session()  # what TLS 1.3 says of it after the handshake has come by now
        return response


def _connected(address: tuple[str, int], timeout: float | None, options: Any) -> socket.socket:
    """Connect to the first reachable address of the host, bound to the scope of this thread's attempt.

    The name look-up itself cannot be cancelled: the C library offers no way.
    """
    scope = this_attempt().cancel_scope
    failure: OSError | None = None
    host, port = address
    # urllib3 leaves the brackets of a proxy's IPv6 address
    for family, kind, proto, _, place in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, proto)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            sock.settimeout(timeout)
            scope.bind(sock)
            sock.connect(place)
        except OSError as exc:
            sock.close()
            scope.check()  # else the next address would be tried after a cancel
            failure = exc
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError("the name has no address")


class _Pool:
    """A connection is bound to a scope from check-out to check-in."""

    QueueCls: Any = IdleConnections

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc]
        attempt = running_attempt()
        if attempt is not None and connection.sock is not None:
            try:
                attempt.cancel_scope.bind(plain(connection.sock))
            except BaseException:
                connection.close()  # it is in no list any more: nothing else would close it
                raise
        return connection

    def _put_conn(self, conn: Any) -> None:
        attempt = running_attempt()
        if attempt is not None:
            attempt.cancel_scope.release()
        super()._put_conn(conn)  # type: ignore[misc]


class _HTTPConnection(_Connection, HTTPConnection):
    pass


class _HTTPSConnection(_Connection, HTTPSConnection):
    def _new_conn(self) -> Any:
        """Connect; to an https proxy with TLS, where that is of our kind: another `TLSSocket` then lies over it."""
        sock = super()._new_conn()
        is_ours = isinstance(getattr(self.proxy_config, "ssl_context", None), TLSContext)
        if self._tunnel_scheme == "https" and is_ours:
            self.sock = sock  # closed with this connection if the handshake fails
            sock = self._connect_tls_proxy(self.host, sock)
            self._tunnel_scheme = "http"
        return sock

    @property
    def is_connected(self) -> bool:
        """Whether it can take another request. What was received and not read spoils it, as what waits below does."""
        return super().is_connected and not (isinstance(self.sock, TLSSocket) and not self.sock.is_quiet)

    def connect(self) -> None:
        """Connect; close the socket if that fails. What fails after TCP and a proxy's tunnel is the handshake.

        ssl does not close a socket that is reset just before its handshake. It would stay open as long as the error is
        kept, whose traceback refers to it.
        """
        try:
            super().connect()
        except BaseException as exc:
            for frame, _ in traceback.walk_tb(exc.__traceback__):
                held = frame.f_locals.get("self")
                if isinstance(held, ssl.SSLSocket):
                    held.close()
            if isinstance(exc, ssl.SSLError):
                exc.add_note(IN_HANDSHAKE)
            if isinstance(exc, TimeoutError) and not isinstance(exc, SlowTunnelError):
                raise SlowHandshakeError from exc
            raise


class _HTTPPool(_Pool, HTTPConnectionPool):
    ConnectionCls: Any = _HTTPConnection


class _HTTPSPool(_Pool, HTTPSConnectionPool):
    ConnectionCls: Any = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
_KEEPALIVE: list[Any] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""Keep-alive, for connections with long silences; no delay, so that a request need not wait for an ACK."""


class ScopedAdapter(HTTPAdapter):
    """requests' adapter with our pools, and one TLS context for all connections.

    requests loads the CA bundle for every new connection: 46 ms of CPU and 800 KiB each, against 6 ms and 27 KiB.

    All requests of a transport go to one origin, through the same proxy if any; so there is one pool, looked up once.

    Args:
        tls: The context; None if nothing is encrypted.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._pool: Any = None
        super().__init__(pool_connections=4, pool_maxsize=MAX_IDLE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=_KEEPALIVE, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = self._tls and buffered(self._tls)  # of its own: it has sessions of the proxy
        manager = super().proxy_manager_for(proxy, socket_options=_KEEPALIVE, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def build_connection_pool_key_attributes(self, request: Any, *_: Any, **__: Any) -> Any:
        host, _tls = super().build_connection_pool_key_attributes(request, verify=True)
        # Needed even if only the proxy is encrypted, not the server behind it: urllib3 below 2.8 looks only here.
        return host, {} if self._tls is None else {"ssl_context": buffered(self._tls)}

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Do nothing: the context has the trusted certificates."""

    def close(self) -> None:
        """Close the idle connections now.

        urllib3 leaves that to the garbage collector, but an error that is kept refers to the pools in its traceback.
        """
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated
                with contextlib.suppress(KeyError):  # another thread has just removed it
                    manager.pools[key].close()
        super().close()
        SWEEPER.wake()  # it may have been there for these connections only
