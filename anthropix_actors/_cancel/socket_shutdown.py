"""How a cancel ends a thread's wait for a socket: a *duplicate* of its descriptor is shut down.

The duplicate is taken before `connect()`, so the shutdown works in every phase. It is not a TLS object, so no ssl state
is touched from a foreign thread (`SSLSocket.shutdown` would make the reader see ciphertext). It is closed here alone,
under the scope's lock, so it never names a recycled descriptor. Closing the socket instead would not wake the reader.
"""

from __future__ import annotations

import contextlib
import socket
from functools import partial
from typing import TYPE_CHECKING

from anthropix_actors._foreign.locks import is_held

if TYPE_CHECKING:
    import threading


class SocketShutdown:
    """Shuts down the socket that a scope is bound to.

    Attributes:
        lock: The scope's, which the caller holds.
    """

    def __init__(self, lock: threading.Condition) -> None:
        """Start with no socket."""
        self.lock = lock
        self._duplicate: socket.SocketType | None = None

    @property
    def is_bound(self) -> bool:
        """Whether there is a socket to shut down. Also without the lock."""
        return self._duplicate is not None

    def bind(self, sock: socket.socket) -> None:
        """Take a socket, in place of the one before."""
        assert is_held(self.lock)
        # All in C: an interrupt between making the duplicate and the object that closes it would leak the descriptor.
        made = map(partial(socket.SocketType, sock.family, sock.type, sock.proto), map(socket.dup, (sock.fileno(),)))
        duplicate = next(made)
        self.release()
        self._duplicate = duplicate

    def release(self) -> None:
        """Release the socket: it is shut down no longer."""
        assert is_held(self.lock)
        held, self._duplicate = self._duplicate, None
        if held is not None:
            held.close()

    def shut_down(self) -> None:
        """Shut the socket down, if there is one: a read or write that waits returns at once."""
        assert is_held(self.lock)
        if self._duplicate is not None:
            with contextlib.suppress(OSError):  # the peer has closed it already
                self._duplicate.shutdown(socket.SHUT_RDWR)
