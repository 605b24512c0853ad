"""How a cancel ends a thread's wait for a socket: a *duplicate* of its descriptor is shut down.

The duplicate is taken before `connect()`, so the shutdown works in every phase. It is not a TLS object, so no ssl state
is touched from a foreign thread (`SSLSocket.shutdown` would make the reader see ciphertext). It is closed here alone,
under the scope's lock, so it never names a recycled descriptor. Closing the socket instead would not wake the reader.

A thread that calls `shutdown` lets go of the interpreter's lock meanwhile, and gets it back after the thread that it
has woken. Who cancels hundreds, one after the other, would cancel the last when most have ended, and the events of
those that go on would take their time until then. So a thread shuts the first socket down itself; while that one's
reader has not ended, another thread does so with the next ones.
"""

from __future__ import annotations

import _thread
import collections
import contextlib
import socket
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.locks import is_held

if TYPE_CHECKING:
    from collections.abc import Callable


class SocketShutdown:
    """Shuts down the socket that a scope is bound to.

    Attributes:
        lock: The scope's, which the caller holds.
    """

    def __init__(self, lock: threading.Condition) -> None:
        """Start with no socket."""
        self.lock = lock
        self._duplicate: socket.SocketType | None = None
        self._is_shut = False

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
        self._duplicate, self._is_shut = duplicate, False

    def release(self) -> None:
        """Release the socket: it is shut down no longer."""
        assert is_held(self.lock)
        held, self._duplicate = self._duplicate, None
        if held is not None:
            held.close()

    def shut_down(self) -> None:
        """Shut the socket down, if there is one: a read or write that waits returns at once."""
        assert is_held(self.lock)
        if self._duplicate is not None and not self._is_shut:
            with contextlib.suppress(OSError):  # the peer has closed it already, or it is about to connect
                self._duplicate.shutdown(socket.SHUT_RDWR)
                self._is_shut = True

    def shut_down_in_turn(self) -> None:
        """Do so, in another thread if this one is shutting down many."""
        assert is_held(self.lock)
        if self._duplicate is not None and not self._is_shut:
            last, _THIS_THREAD.last = _THIS_THREAD.last(), weakref.ref(self)
            is_one_of_many = last is not None and last is not self and last.is_bound
            if not (is_one_of_many and _THIS_THREAD.rest.take(self)):
                self.shut_down()


class _Rest:
    """The sockets that one thread has cancelled, and another shuts down."""

    def __init__(self) -> None:
        self._waiting: collections.deque[SocketShutdown] = collections.deque()
        self._is_served = False

    def take(self, one: SocketShutdown) -> bool:
        """Have it shut down soon; return False if no thread can be started."""
        self._waiting.append(one)
        if not self._is_served:
            try:
                self._is_served = True
                # Not `threading.Thread`: its start waits for the new thread, and takes a lock that a signal handler may
                # have interrupted.
                _thread.start_new_thread(self._serve, ())
            except BaseException as exc:
                self._is_served = False
                if not isinstance(exc, RuntimeError):
                    raise
                with contextlib.suppress(ValueError):
                    self._waiting.remove(one)
                return False
        return True

    def _serve(self) -> None:
        try:
            self._shut_down_all()
        finally:
            self._is_served = False
        self._shut_down_all()  # what was added when this thread seemed to go on

    def _shut_down_all(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                one = self._waiting.popleft()
                with one.lock:
                    one.shut_down()


class _ThisThread(threading.local):
    """What a thread has cancelled.

    Attributes:
        last: Returns the socket that it shut down last, or None.
        rest: Those that another thread shuts down.
    """

    def __init__(self) -> None:
        self.last: Callable[[], SocketShutdown | None] = _none
        self.rest = _Rest()

    def after_fork(self) -> None:
        """Start afresh in a forked child, where only the forking thread lives on."""
        self.last, self.rest = _none, _Rest()


def _none() -> None:
    """Return None, as a weak reference whose object is gone does."""


_THIS_THREAD = _ThisThread()
SWEEPER.fork_listeners.add(_THIS_THREAD)
