"""Connections that a scope holds from before `connect()` until they go back to the pool.

- `_Connection` makes the socket itself, to bind it before it connects;
- `_Pool` binds a connection that is used again, and lets go of one before it can be picked up by somebody else.

The names with an underscore that are overridden here are urllib3's of 2.x; the tests of `cancel` fail without them.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import traceback
from typing import TYPE_CHECKING, Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from anthropix_actors._scope import running_scope

if TYPE_CHECKING:
    from collections.abc import Callable

POOL_SIZE = 1000
"""How many idle connections to keep: as many as ever ran at once, up to this."""


class _Connection:
    """Make the socket here, so that the scope holds it before `connect()`."""

    def _new_conn(self: Any) -> socket.socket:
        try:
            return _connected((self._dns_host, self.port), self.timeout, self.socket_options)
        except socket.gaierror as exc:
            raise urllib3.exceptions.NameResolutionError(self.host, self, exc) from exc
        except TimeoutError as exc:
            raise urllib3.exceptions.ConnectTimeoutError(self, f"no connection in {self.timeout} s") from exc
        except OSError as exc:
            raise urllib3.exceptions.NewConnectionError(self, str(exc)) from exc


def _connected(address: tuple[str, int], timeout: float | None, options: Any) -> socket.socket:
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

    def close(self) -> None:
        """Close the idle connections now.

        urllib3 leaves that to whoever collects the pools, and an error that somebody keeps has them in its traceback.
        """
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated
                with contextlib.suppress(KeyError):  # another thread has just thrown it out
                    manager.pools[key].close()
        super().close()
