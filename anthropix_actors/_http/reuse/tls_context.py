"""What urllib3 encrypts with: a context whose connections are of our kind, and resume sessions."""

from __future__ import annotations

import select
import socket
import ssl
from typing import Any

from anthropix_actors._http.reuse.tls_sessions import TLSSessions
from anthropix_actors._http.tls import TLSSocket

_POLLS = hasattr(select, "poll") and hasattr(socket, "MSG_DONTWAIT")
"""Whether the system can wait for room and for bytes at once, and send without waiting; Windows cannot."""


class TLSContext:
    """An `ssl.SSLContext` whose connections are of our kind, all to the same place; all else is the context's own.

    Args:
        context: The context.
    """

    _context: ssl.SSLContext
    _sessions: TLSSessions

    def __init__(self, context: ssl.SSLContext) -> None:
        """Stand in for it."""
        object.__setattr__(self, "_context", context)
        object.__setattr__(self, "_sessions", TLSSessions())

    def __getattr__(self, name: str) -> Any:
        """Return the context's attribute."""
        return getattr(self._context, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set the context's attribute, such as the protocols to offer.

        How to verify is for the context alone to say: urllib3 sets what that was when it made the connection, and the
        program may have made its context stricter since.
        """
        if name == "verify_mode":
            return
        setattr(self._context, name, value)

    def wrap_socket(self, sock: socket.socket | TLSSocket, *, server_hostname: str | None = None) -> TLSSocket:
        """Return the encrypted connection over a connected socket, after its handshake."""
        return TLSSocket(sock, self._context, server_hostname, self._sessions)


def buffered(context: ssl.SSLContext) -> Any:
    """Return what urllib3 is to encrypt with: the stand-in, or the context where that makes its sockets in its own way.

    A class of the caller's that overrides `wrap_bio` as well, as truststore's does, is asked for that.
    """
    if not _POLLS:
        return context
    kind = type(context)
    usual = kind.wrap_socket is ssl.SSLContext.wrap_socket and context.sslsocket_class is ssl.SSLSocket
    return TLSContext(context) if usual or kind.wrap_bio is not ssl.SSLContext.wrap_bio else context
