"""Maps exceptions of requests, urllib3, http.client, ssl and socket to our errors, by one table.

The cause of our error is the one exception that explains it, and nothing else: without traceback, and without the
request, the connection and the pool that the libraries attach to their exceptions, as these hold the key, the proxy's
password and open sockets.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any

import msgspec
import requests
import urllib3
from urllib3.util.ssl_match_hostname import CertificateError

from anthropix_actors._http.request import no_answer
from anthropix_actors._http.trust import about_certificate
from anthropix_actors.errors import APIConnectionError, APIError, APITimeoutError, ProtocolError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._http.proxy import Proxy
    from anthropix_actors._http.request import Timeout
    from anthropix_actors._http.trust import Trust

_QUOTED = 300
_NO_TLS = "wrong version number"
"""OpenSSL's words when the reply to its hello is not TLS, such as `HTTP/1.1 400`."""

IN_HANDSHAKE = "in the TLS handshake"
"""A note of an `ssl.SSLError` that came before the handshake's end: nothing was sent."""

_PROXY_AUTH = "407"
_TUNNEL = r"Tunnel connection failed: (\d)\d\d\b"

LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""All that requests and the libraries below it raise. `ssl.SSLError` and `TimeoutError` are OSErrors."""


class NoAnswerError(TimeoutError):
    """The request was sent, but the head of its response did not arrive in time."""


class SlowHandshakeError(TimeoutError):
    """There is a connection, but its TLS handshake did not end in time."""


class SlowTunnelError(TimeoutError):
    """There is a connection to the proxy, but it did not open a tunnel in time."""


class Way(msgspec.Struct, frozen=True):
    """How a request was sent, for the error's text.

    Attributes:
        timeout: Its timeouts.
        proxy: Its proxy, if any.
        trust: What certificates are checked against, if any are.
        answered: Whether the head of the response has arrived.
    """

    timeout: Timeout
    proxy: Proxy | None = None
    trust: Trust | None = None
    answered: bool = False

    def server(self, owned: str = "") -> str:
        """Return who is at the other end of TLS; with an https proxy there are two, and nobody says which one failed.

        Args:
            owned: What of it is meant, such as "certificate".
        """
        if self.proxy is not None and self.proxy.encrypted:
            return (
                f"the {owned} of {self.proxy}, or of the server behind it,"
                if owned
                else f"{self.proxy}, or the server behind it,"
            )
        return f"the server's {owned}" if owned else "the server"


def fault(exc: BaseException, way: Way) -> APIError:
    """Return our error for a library's exception, with its cause. Raise it outside of the `except` block.

    The first row of `_FAULTS` that matches any exception of the chain decides. The whole chain is searched, because its
    top often misleads: a reset inside a proxy's tunnel comes as a `ProxyError`.
    """
    chain = _chain(exc)
    for link in chain:
        if isinstance(link, ssl.SSLError) and (advice := _refusal(link, way)):
            return _caused(_refused(link, way, advice), link)
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
    for name in ("request", "response", "pool", "conn", "reason", "original_error", "_reason", "url"):
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


def _slow_handshake(_: BaseException, way: Way) -> APIError:
    what = f"the TLS handshake with {way.server()} did not end within {way.timeout.connect} s (timeout.connect)"
    return _unsent(APITimeoutError(what, retryable=True))


def _slow_tunnel(_: BaseException, way: Way) -> APIError:
    what = f"{way.proxy} opened no tunnel within {way.timeout.connect} s (timeout.connect)"
    return _unsent(APITimeoutError(what, retryable=True))


def _certificate(exc: BaseException, way: Way) -> APIError:
    what = about_certificate(exc, way.trust)
    return _unsent(APIConnectionError(f"{way.server('certificate')} {what}", retryable=False))


def _refusal(exc: ssl.SSLError, way: Way) -> str:
    """Return what to do about a handshake that would fail again; "" if another attempt may help.

    With TLS 1.3, a server looks at the client's certificate when the client has ended the handshake, and sent its
    request: its alert comes in place of the response. What comes later is not about the handshake.
    """
    text = "" if way.answered else str(exc).lower()
    if _NO_TLS in text and IN_HANDSHAKE in getattr(exc, "__notes__", ()):
        return "{} replies without TLS. Is its address one with http://?"
    return next((advice for words, advice in _REFUSALS if re.search(words, text)), "")


def _refused(exc: ssl.SSLError, way: Way, advice: str) -> APIError:
    told = advice.format(way.server())
    error = APIConnectionError(f"TLS failed: {_text(exc)}. {told[0].upper()}{told[1:]}", retryable=False)
    error.unsent = IN_HANDSHAKE in getattr(exc, "__notes__", ())
    return error


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


def _proxy(exc: BaseException, way: Way) -> APIError:
    # http.client reports a refused tunnel only in its text. A 4xx of the proxy is final: a retry would be refused again
    told = next((str(link) for link in _chain(exc) if isinstance(link, OSError) and re.match(_TUNNEL, str(link))), "")
    final = re.match(_TUNNEL, told)
    text = told[:_QUOTED] or _text(exc)
    if final and final[0].endswith(_PROXY_AUTH) and way.proxy:
        text += f". It asks for a user and a password: {way.proxy.advice}"
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
    text = f"{type(exc).__name__}: {exc}"[:_QUOTED]
    if isinstance(exc, OSError) and exc.errno == errno.EMFILE:
        text += ". A chat holds two descriptors: raise the limit (ulimit -n), or set Client(max_concurrency=...)"
    return text


_u = urllib3.exceptions
_RESET = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
# urllib3 1.26 lacks it; the package can still be imported, and `Client` raises an error that says what to install
_NO_NAME: Any = getattr(_u, "NameResolutionError", socket.gaierror)

_FAULTS: list[tuple[tuple[type[BaseException], ...], Callable[[BaseException, Way], APIError]]] = [
    ((APIError,), lambda exc, _: exc),  # type: ignore[list-item, return-value] # ours already
    ((NoAnswerError,), _no_answer),
    ((SlowHandshakeError,), _slow_handshake),
    ((SlowTunnelError,), _slow_tunnel),
    ((_NO_NAME, socket.gaierror), _no_connection("the host's name was not found", "the name of {} was not found")),
    ((_u.NewConnectionError,), _no_connection("no connection", "no connection to {}")),  # before its base class
    ((_u.ConnectTimeoutError,), _connect_timeout),
    ((ssl.SSLCertVerificationError, CertificateError), _certificate),
    ((_u.ReadTimeoutError, TimeoutError), _silence),
    (_RESET, _connection("the connection was reset")),
    ((http.client.IncompleteRead,), _incomplete),
    ((ssl.SSLError, _u.SSLError), _connection("TLS failed")),
    ((_u.ProxyError,), _proxy),
    ((_u.DecodeError, http.client.HTTPException, _u.LocationParseError, _u.InvalidHeader), _protocol),
    ((OSError,), _connection("the connection failed")),
]

_OWN_CERTIFICATE = "Client(verify=context), an ssl.SSLContext with context.load_cert_chain(certfile, keyfile)"
_REFUSALS = [
    (r"alert (certificate required|no certificate)\b", f"{{}} wants a certificate of the client: {_OWN_CERTIFICATE}"),
    (
        r"alert ((bad|unsupported) certificate|certificate (revoked|expired|unknown)|unknown ca|access denied)\b",
        f"{{}} does not accept the client's certificate, or that there is none: {_OWN_CERTIFICATE}",
    ),
    (
        r"alert (handshake failure|insufficient security)\b",
        f"{{}} has no cipher in common with the client, or wants a certificate of it: {_OWN_CERTIFICATE}",
    ),
    (
        r"alert protocol version\b|\] (unsupported protocol|no protocols available)\b",
        "{} and the client have no version of TLS in common: Client(verify=ssl.SSLContext) sets the client's",
    ),
    (
        r"\] (no ciphers available|dh key too small|unsafe legacy renegotiation disabled)\b",
        "{} and the client have no TLS in common that both allow: the client's is set by Client(verify=ssl.SSLContext)",
    ),
    (r"(alert )?unrecognized name\b", "{} does not know the name in the URL"),
    (r"alert no application protocol\b", "{} does not offer HTTP/1.1"),
]
"""What OpenSSL says, in small letters, of a handshake refused for a reason that does not go away; and what to do.

Not among them: what bytes that were changed on their way cause as well (`decode error`, `decrypt error`, `illegal
parameter`, `bad record mac`), what may pass (`internal error`), and what we never ask for. By the words, as Python has
no name for codes that are newer than itself.
"""
