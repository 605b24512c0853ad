"""Maps exceptions of requests, urllib3, http.client, ssl and socket to our errors, by one table.

The cause of our error is the one exception that explains it, and nothing else: without traceback, and without the
request, the connection and the pool that the libraries attach to their exceptions, as these hold the key, the proxy's
password and open sockets.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any

import msgspec
import requests
import urllib3

from anthropix_actors._http.request import no_answer
from anthropix_actors.errors import APIConnectionError, APIError, APITimeoutError, ProtocolError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._http.proxy import Proxy
    from anthropix_actors._http.request import Timeout

_QUOTED = 300
_NO_TLS = "WRONG_VERSION_NUMBER"
"""OpenSSL's code when the reply to its hello is not TLS, such as `HTTP/1.1 400`."""

_OTHER_NAME = (62, 64)
"""OpenSSL's codes for a certificate of another host name, or of another IP address."""

_TUNNEL = r"Tunnel connection failed: (\d)\d\d\b"

LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""All that requests and the libraries below it raise. `ssl.SSLError` and `TimeoutError` are OSErrors."""


class NoAnswerError(TimeoutError):
    """The request was sent, but the head of its response did not arrive in time."""


class Way(msgspec.Struct, frozen=True):
    """How a request was sent, for the error's text.

    Attributes:
        timeout: Its timeouts.
        proxy: Its proxy, if any.
        answered: Whether the head of the response has arrived.
    """

    timeout: Timeout
    proxy: Proxy | None = None
    answered: bool = False


def fault(exc: BaseException, way: Way) -> APIError:
    """Return our error for a library's exception, with its cause. Raise it outside of the `except` block.

    The first row of `_FAULTS` that matches any exception of the chain decides. The whole chain is searched, because its
    top often misleads: a reset inside a proxy's tunnel comes as a `ProxyError`.
    """
    chain = _chain(exc)
    for kinds, make in _FAULTS:
        for link in chain:
            if isinstance(link, kinds):
                told = _told(link)
                return _caused(make(told, way), told)
    return _caused(_protocol(exc, way), exc)


def _chain(exc: BaseException) -> list[BaseException]:
    """Return an exception and its origins: causes, contexts, urllib3's reasons, exceptions among the arguments."""
    found: list[BaseException] = []
    todo: list[Any] = [exc]
    while todo:
        link = todo.pop()
        # `reason` is an exception in urllib3, and a string in ssl
        if isinstance(link, BaseException) and not any(link is known for known in found):
            found.append(link)
            todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
    return found


def _told(link: BaseException) -> BaseException:
    """Return the system's own exception where urllib3 has wrapped it."""
    return link.__cause__ if isinstance(link, _u.NewConnectionError) and link.__cause__ is not None else link


def _caused(error: APIError, link: BaseException) -> APIError:
    if error is not link:
        error.__cause__ = _bare(link)
    return error


def _bare(link: BaseException) -> BaseException:
    """Strip an exception of its references to other objects."""
    link.__cause__ = link.__context__ = None
    for name in ("request", "response", "pool", "conn", "reason", "original_error", "_reason"):
        if name != "reason" or not isinstance(link, OSError):  # ssl's is a string
            link.__dict__.pop(name, None)
    if any(isinstance(argument, BaseException) for argument in link.args):
        link.args = (str(link)[:_QUOTED],)
    return link.with_traceback(None)


def _connect_timeout(_: BaseException, way: Way) -> APIError:
    what = f"no connection to {way.proxy}" if way.proxy else "no connection"
    return _unsent(APITimeoutError(f"{what} within {way.timeout.connect} s (timeout.connect)", retryable=True))


def _no_answer(_: BaseException, way: Way) -> APIError:
    return no_answer(way.timeout)


def _silence(exc: BaseException, way: Way) -> APIError:
    if not way.answered:  # TLS and a proxy's tunnel are part of connecting
        return _connect_timeout(exc, way)
    return APITimeoutError(f"the server was silent for {way.timeout.read} s (timeout.read)", retryable=True)


def _certificate(exc: BaseException, way: Way) -> APIError:
    whose = "the server's certificate"
    if way.proxy and way.proxy.encrypted:  # there are two certificates, and the libraries do not say which failed
        whose = f"the certificate of {way.proxy}, or of the server behind it,"
    advice = "If it is signed by your own authority, pass its bundle: Client(verify=path)"
    if getattr(exc, "verify_code", None) in _OTHER_NAME:
        advice = "It is for another name than that of the URL"
    return _unsent(APIConnectionError(f"{whose} is not trusted: {exc}. {advice}", retryable=False))


def _no_connection(what: str, what_of_proxy: str) -> Callable[[BaseException, Way], APIError]:
    def make(exc: BaseException, way: Way) -> APIError:
        text = what_of_proxy.format(way.proxy) if way.proxy else what
        return _unsent(APIConnectionError(f"{text}: {_text(exc)}", retryable=True))

    return make


def _unsent(error: APIConnectionError) -> APIError:
    error.unsent = True
    return error


def _connection(what: str) -> Callable[[BaseException, Way], APIError]:
    return lambda exc, _: APIConnectionError(f"{what}: {_text(exc)}", retryable=True)


def _tls(exc: BaseException, way: Way) -> APIError:
    text, hint = _text(exc), ""
    if _NO_TLS in text and not way.answered:
        encrypted = way.proxy is not None and way.proxy.encrypted
        hint = (
            f". Is {f'{way.proxy}, or the server behind it,' if encrypted else 'it'} a server without TLS, at http://?"
        )
    return APIConnectionError(f"TLS failed: {text}{hint}", retryable=True)


def _proxy(exc: BaseException, way: Way) -> APIError:
    # http.client reports a refused tunnel only in its text. A 4xx of the proxy is final: a retry would be refused again
    told = next((str(link) for link in _chain(exc) if isinstance(link, OSError) and re.match(_TUNNEL, str(link))), "")
    final = re.match(_TUNNEL, told)
    text = told[:_QUOTED] or _text(exc)
    error = APIConnectionError(f"{way.proxy or 'the proxy'} failed: {text}", retryable=final is None or final[1] != "4")
    error.unsent = final is not None
    return error


def _incomplete(exc: BaseException, way: Way) -> APIError:
    # http.client reports even a chunk size that is not a number as an incomplete read; at the stream's end it is empty
    for link in _chain(exc):
        if isinstance(link, ValueError) and not str(link).endswith("b''"):
            return _protocol(link, way)
    return TruncatedError("the connection ended inside the response", retryable=True)


def _protocol(exc: BaseException, _: Way) -> APIError:
    return ProtocolError(f"the response is not valid HTTP: {_text(exc)}")


def _text(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"[:_QUOTED]


_u = urllib3.exceptions
_RESET = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
# urllib3 1.26 lacks it; the package can still be imported, and `Client` raises an error that says what to install
_NO_NAME: Any = getattr(_u, "NameResolutionError", socket.gaierror)

_FAULTS: list[tuple[tuple[type[BaseException], ...], Callable[[BaseException, Way], APIError]]] = [
    ((APIError,), lambda exc, _: exc),  # type: ignore[list-item, return-value] # ours already
    ((NoAnswerError,), _no_answer),
    ((_NO_NAME, socket.gaierror), _no_connection("the host's name was not found", "the name of {} was not found")),
    ((_u.NewConnectionError,), _no_connection("no connection", "no connection to {}")),  # before its base class
    ((_u.ConnectTimeoutError,), _connect_timeout),
    ((ssl.SSLCertVerificationError, ssl.CertificateError), _certificate),
    ((_u.ReadTimeoutError, TimeoutError), _silence),
    (_RESET, _connection("the connection was reset")),
    ((http.client.IncompleteRead,), _incomplete),
    ((ssl.SSLError, _u.SSLError), _tls),
    ((_u.ProxyError,), _proxy),
    ((_u.DecodeError, http.client.HTTPException, _u.LocationParseError, _u.InvalidHeader), _protocol),
    ((OSError,), _connection("the connection failed")),
]
