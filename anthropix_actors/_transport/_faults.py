"""What requests, urllib3, http.client, ssl and socket raise → our errors, by one table."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any

import requests
import urllib3

from anthropix_actors.errors import APIConnectionError, APIError, APITimeoutError, ProtocolError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._request import Timeout

_QUOTED = 300
_REFUSED = re.compile(r"Tunnel connection failed: 4\d\d\b")

LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""What requests and all below it raise. `ssl.SSLError` and `TimeoutError` are OSErrors."""


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
    return _unsent(APITimeoutError(f"no connection within {timeout.connect} s (timeout.connect)", retryable=True))


def _read_timeout(_: BaseException, timeout: Timeout) -> APIError:
    limits = f"timeout.read {timeout.read} s, while connecting timeout.connect {timeout.connect} s"
    return APITimeoutError(f"the server was silent for too long ({limits})", retryable=True)


def _certificate(exc: BaseException, _: Timeout) -> APIError:
    return _unsent(APIConnectionError(f"the server's certificate is not trusted: {exc}", retryable=False))


def _no_connection(what: str) -> Callable[[BaseException, Timeout], APIError]:
    return lambda exc, _: _unsent(APIConnectionError(f"{what}: {_text(exc)}", retryable=True))


def _unsent(error: APIConnectionError) -> APIError:
    error.unsent = True
    return error


def _connection(what: str) -> Callable[[BaseException, Timeout], APIError]:
    return lambda exc, _: APIConnectionError(f"{what}: {_text(exc)}", retryable=True)


def _proxy(exc: BaseException, _: Timeout) -> APIError:
    # http.client tells of a refused tunnel in words only; what the proxy does not allow, it will not allow later
    refused = any(_REFUSED.search(str(link)) for link in _chain(exc))
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
    ((_u.NameResolutionError, socket.gaierror), _no_connection("the host's name was not found")),
    ((_u.NewConnectionError,), _no_connection("no connection")),  # before its base class
    ((_u.ConnectTimeoutError,), _connect_timeout),
    ((ssl.SSLCertVerificationError, ssl.CertificateError), _certificate),
    ((_u.ReadTimeoutError, TimeoutError), _read_timeout),
    (_RESET, _connection("the connection was reset")),
    ((http.client.IncompleteRead,), _incomplete),
    ((ssl.SSLError, _u.SSLError), _connection("TLS failed")),
    ((_u.ProxyError,), _proxy),
    ((_u.DecodeError, http.client.HTTPException, _u.LocationParseError, _u.InvalidHeader), _protocol),
    ((OSError,), _connection("the connection failed")),
]
