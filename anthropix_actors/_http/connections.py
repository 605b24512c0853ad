"""Connections that a scope holds from before `connect()` until they go back to the pool.

- `_Connection` makes the socket itself, to bind it before it connects, and says when the wait for the answer begins;
- `_Response` reads on past the answers that are not the final one;
- `_Pool` binds a connection that is used again, and lets go of one before it can be picked up by somebody else.

The names with an underscore that are overridden here are urllib3's of 2.x and http.client's; the tests of `cancel` and
`transport` fail without them, and are run with the lowest versions, too (`make lowest`).

No lock of ours, and none of urllib3's, is held while a request takes a connection or gives it back: a signal handler
may use the client in the middle of that, and wait.
"""

from __future__ import annotations

import contextlib
import http.client
import queue
import socket
import ssl
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from anthropix_actors._cancel.scope import running_scope
from anthropix_actors._http.body import Upload
from anthropix_actors._http.exceptions import NoAnswerError

if TYPE_CHECKING:
    from anthropix_actors._cancel.scope import CancelScope

POOL_SIZE = 1000
"""How many idle connections to keep: as many as ever ran at once, up to this."""

MOST_INTERIM = 1000
"""How many answers that are not the final one (1xx) may come before it: one every second for a quarter of an hour."""

_FINAL = 200
_SWITCHING = 101


class _Response(http.client.HTTPResponse):
    """An answer that is the final one.

    http.client skips 100 Continue alone, and takes any other 1xx for the answer. The answer itself would then be the
    next request's. RFC 9110, 15.2: a client MUST be able to parse one or more 1xx before the final response, even if it
    does not expect one. 101 is final: nobody asked to switch, and what follows it is no HTTP.
    """

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.peer = sock  # the connection forgets its own when the body ends by closing

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MOST_INTERIM):
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if found[1] >= _FINAL or found[1] == _SWITCHING:
                return found
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {MOST_INTERIM} answers of status 1xx before the answer")

    def begin(self) -> None:
        super().begin()
        if self.status < _FINAL:
            self.will_close = True  # whatever follows is no answer to another request


class _Connection:
    """Make the socket here, so that the scope holds it before `connect()`."""

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
        """Ask a proxy for a tunnel; its answer, which http.client may read without an end, is no progress."""
        scope = here()
        scope.idle_since = time.monotonic()
        try:
            super()._tunnel()  # type: ignore[misc]
        finally:
            scope.idle_since = None

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **how: Any) -> None:
        if isinstance(body, Upload):
            body.connection = self
        super().request(method, url, body=body, headers=headers, **how)  # type: ignore[misc]

    def getresponse(self) -> Any:
        """Wait for the answer's head, however it drips and whatever comes before it, for `timeout.first_byte`."""
        scope = here()
        scope.idle_since, scope.asked_since = None, time.monotonic()
        try:
            return super().getresponse()  # type: ignore[misc]
        except TimeoutError as exc:
            raise NoAnswerError from exc
        finally:
            scope.asked_since = None


def here() -> CancelScope:
    """Get the scope of the attempt that this thread runs."""
    scope = running_scope()
    if scope is None:
        raise RuntimeError("a request runs within the attempt of a scope")
    return scope


def _connected(address: tuple[str, int], timeout: float | None, options: Any) -> socket.socket:
    """Connect to the first of the host's addresses that answers, bound to the scope of this thread's attempt.

    The name look-up itself cannot be cancelled: the C library offers no way.
    """
    scope = here()
    failure: OSError | None = None
    for family, kind, proto, _, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, proto)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            sock.settimeout(timeout)
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


class _Idle:
    """Idle connections, the one used last first: what urllib3 asks of a `queue.LifoQueue`, without its lock."""

    def __init__(self, size: int) -> None:
        self._most = size
        self._kept: deque[Any] = deque()

    def get(self, block: bool = False, timeout: float | None = None) -> Any:  # noqa: ARG002, FBT001, FBT002 - as called
        try:
            return self._kept.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: Any, block: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as called
        if connection is None:  # urllib3 fills the queue with as many as it has room for
            return
        if len(self._kept) >= self._most:
            raise queue.Full
        self._kept.append(connection)

    def qsize(self) -> int:
        return len(self._kept)


class _Pool:
    """A connection belongs to a scope from check-out to check-in."""

    QueueCls: Any = _Idle

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
    def connect(self) -> None:
        """Connect; and when that fails, leave nothing open.

        ssl forgets a socket that is reset just before its handshake. It would stay open as long as somebody keeps the
        error, whose traceback has it.
        """
        try:
            super().connect()
        except BaseException as exc:
            for frame, _ in traceback.walk_tb(exc.__traceback__):
                held = frame.f_locals.get("self")
                if isinstance(held, ssl.SSLSocket):
                    held.close()
            raise


class _HTTPPool(_Pool, HTTPConnectionPool):
    ConnectionCls: Any = _HTTPConnection


class _HTTPSPool(_Pool, HTTPSConnectionPool):
    ConnectionCls: Any = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
_KEEPALIVE: list[Any] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""For connections that are silent for long, and requests that should not wait for the answer to their first piece."""


class ScopedAdapter(HTTPAdapter):
    """requests' adapter with our pools, and one TLS context for all connections.

    requests loads the CA bundle for every new connection: 46 ms of CPU and 800 KiB each, against 6 ms and 27 KiB.

    All requests of a transport go to one origin, by one way; so there is one pool, found once.

    Args:
        tls: The context; None where nothing is encrypted.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._pool: Any = None
        super().__init__(pool_connections=4, pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=_KEEPALIVE, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = self._tls
        manager = super().proxy_manager_for(proxy, socket_options=_KEEPALIVE, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def build_connection_pool_key_attributes(self, request: Any, *_: Any, **__: Any) -> Any:
        host, _tls = super().build_connection_pool_key_attributes(request, verify=True)
        # Also for the connection to an encrypted proxy behind which nothing is: urllib3 below 2.8 looks only here.
        return host, {} if self._tls is None else {"ssl_context": self._tls}

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Do nothing: the context knows what to trust."""

    def close(self) -> None:
        """Close the idle connections now.

        urllib3 leaves that to whoever collects the pools, and an error that somebody keeps has them in its traceback.
        """
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated
                with contextlib.suppress(KeyError):  # another thread has just thrown it out
                    manager.pools[key].close()
        super().close()
