"""The server's end of a connection. Over TLS, many records may be made before the first is sent, and cut anywhere."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

Result = TypeVar("Result")

ROOM = 65536
"""How many bytes to receive at most at once."""

_CLIENT_HELLO = b"\x16"
"""The first byte of TLS; that of HTTP is a letter."""


class Peer:
    """A plain connection."""

    scheme = "http"

    def __init__(self, sock: socket.socket) -> None:
        """Take it as it was accepted."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock

    def recv(self) -> bytes:
        """Receive some bytes, or none at the end."""
        return self.socket.recv(ROOM)

    def made(self, *pieces: bytes) -> bytes:
        """Return what `send` sends for them."""
        return b"".join(pieces)

    def send(self, *pieces: bytes) -> None:
        """Send them, at once; over TLS, each has a record of its own, or more."""
        self.socket.sendall(self.made(*pieces))

    def __enter__(self) -> Self:
        """Get the connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.socket.close()


class EncryptedPeer(Peer):
    """A connection over TLS, after its handshake."""

    scheme = "https"

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Shake hands."""
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._perform(self._tls.do_handshake)

    def recv(self) -> bytes:
        """Receive some bytes."""
        return self._perform(lambda: self._tls.read(ROOM))

    def made(self, *pieces: bytes) -> bytes:
        """Return a record for each, or more for one of more than 16 KiB."""
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[self._tls.write(left) :]
        return self._outgoing.read()

    def _perform(self, step: Callable[[], Result]) -> Result:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self.socket.sendall(self._outgoing.read())
                if data := self.socket.recv(ROOM):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self.socket.sendall(self._outgoing.read())
                return result


def accepted(sock: socket.socket, context: ssl.SSLContext | None) -> Peer:
    """Return the connection, encrypted if there is a context and the client begins so: one port speaks both."""
    if context is not None and sock.recv(1, socket.MSG_PEEK) == _CLIENT_HELLO:
        return EncryptedPeer(sock, context)
    return Peer(sock)
