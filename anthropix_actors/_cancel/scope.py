"""The cancel scope: one kill switch for everything a chat's thread may wait for.

The thread waits for a socket or for the scope's condition, for nothing else. `cancel()` ends both, from any thread:

- it shuts down a *duplicate* of the socket's descriptor. The duplicate is taken before `connect()`, so the switch
  works in every phase; it is no TLS object, so nothing of ssl is touched from a foreign thread (`SSLSocket.shutdown`
  would make the reader see ciphertext); only the scope closes it, under its lock, so it never names a recycled
  descriptor. To close the socket instead would wake nobody.
- it wakes the condition.

The transport binds the scope to a socket and lets go of it before another request can pick the connection up, so a late
`cancel()` cannot hit a stranger.

Bytes that arrived before `cancel()` are still readable after it: whoever acts on them asks `check()` first.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from anthropix_actors.errors import APIError, CancelledError


SLICE = 0.5
"""Seconds that one wait in C may take. An exception that is thrown into a thread from outside arrives between two."""


def deadline_of(timeout: float | None) -> float | None:
    """Get when a wait ends, on the monotonic clock; None for never."""
    return None if timeout is None else time.monotonic() + timeout


def slice_of(deadline: float | None) -> float:
    """Get how long to wait at once, in seconds; 0 when the time is up."""
    return SLICE if deadline is None else max(0.0, min(SLICE, deadline - time.monotonic()))


class CancelScope:
    """What can be cancelled: one chat, or another piece of work, with all its attempts.

    `cancel`, `fail_attempt`, `notify` and the attributes may be used from any thread, the rest by the one that works.

    Attributes:
        cause: What cancelled it, or None.
        finished: The outcome is decided; a later cancel does not change it.
        idle_since: When there was progress last, an event or bytes of a body, on the monotonic clock; None while
            nothing is expected.
        asked_since: When the wait for the head of an answer began; None while there is none.
    """

    def __init__(self) -> None:
        """Start with nothing to shut down."""
        # Reentrant, as a signal handler may cancel what the thread it interrupts is just about to bind.
        self.condition = threading.Condition(threading.RLock())
        self._socket: socket.SocketType | None = None
        self._child: CancelScope | None = None
        self._interruption: APIError | None = None
        self.cause: CancelledError | APIError | None = None
        self.committed = False
        self.idle_since: float | None = None
        self.asked_since: float | None = None

    def __repr__(self) -> str:
        """Show whether it was cancelled, and whether there is a socket to shut down."""
        state = f"cancelled by {self.cause!r}" if self.cause is not None else "committed" if self.committed else "open"
        return f"<CancelScope {state}, {'no' if self._socket is None else 'a'} socket>"

    def cancel(self, cause: CancelledError | APIError) -> bool:
        """Cancel, for good. Returns at once; True if this call did it, False if it was over before.

        What is left to read after the outcome is decided is abandoned, too.
        """
        with self.condition:
            first = not self.committed and self.cause is None
            if first:
                self.cause = cause  # before the shutdown: the reader that it wakes asks for the cause without the lock
                self.condition.notify_all()
            self._shut_down()
            if self._child is not None:
                self._child.cancel(cause)
        return first

    def fail_attempt(self, error: APIError) -> None:
        """End the running attempt with `error`; another may follow. Without an attempt, do nothing."""
        with self.condition:
            if self._socket is not None and self._interruption is None and not self.committed:
                self._interruption = error
                self._shut_down()

    @contextlib.contextmanager
    def child(self) -> Generator[CancelScope]:
        """Get a scope that is cancelled with this one: for a request while another one's answer is open.

        Raises:
            CancelledError: somebody called `cancel()` before.
        """
        with self.condition:
            self.check()
            child = self._child = CancelScope()
        try:
            yield child
        finally:
            self._child = None

    def notify(self) -> None:
        """Make a waiting chat look again at what it waits for."""
        with self.condition:
            self.condition.notify_all()

    def check(self) -> None:
        """Raise what cancelled the scope, if anything did.

        Raises:
            CancelledError, APIError: the cause.
        """
        if self.cause is not None:
            raise self.cause

    def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `ready()`, for `timeout` seconds at most; get what `ready()` says at the end.

        Raises:
            CancelledError: somebody called `cancel()`, before or meanwhile.
        """
        deadline = deadline_of(timeout)
        with self.condition:
            while not (result := ready()) and self.cause is None:
                if not (left := slice_of(deadline)):
                    break
                self.condition.wait(left)
        self.check()
        return result

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`.

        Raises:
            CancelledError: somebody called `cancel()`, before or meanwhile.
        """
        self.wait(lambda: False, seconds)

    def commit(self) -> None:
        """Decide the outcome: from now on `cancel()` changes nothing.

        Raises:
            CancelledError: somebody called `cancel()` before.
        """
        with self.condition:
            self.committed = self.cause is None
        self.check()

    def bind(self, sock: socket.socket) -> None:
        """Let `cancel()` shut down this socket, too; at once if it was called before.

        Raises:
            CancelledError: somebody called `cancel()` before.
        """
        # All of it in C: an interrupt between the duplicate and the object that closes it would leave it open for good.
        made = map(partial(socket.SocketType, sock.family, sock.type, sock.proto), map(socket.dup, (sock.fileno(),)))
        duplicate = next(made)
        with self.condition:
            self.release()
            self._socket = duplicate
            if self.cause is not None:
                self._shut_down()
        self.check()

    def release(self) -> None:
        """Let go of the socket: what happens to it is no longer this scope's business."""
        with self.condition:
            held, self._socket = self._socket, None
            if held is not None:
                held.close()

    @contextlib.contextmanager
    def attempt(self, *, hold: bool = False) -> Generator[None]:
        """Run one attempt: whatever it raises after a cancel or an interruption comes out as that.

        Args:
            hold: Keep the socket when the attempt went well: its answer is read later, in steps, and the reader calls
                `release()`.

        Raises:
            CancelledError: somebody called `cancel()`.
            APIError: what `fail_attempt()` was given, or what the attempt itself raised.
        """
        self.check()
        self._interruption = None
        held = False
        try:
            with self.step():
                yield
            held = hold
        finally:
            self.idle_since = None
            if not held:
                self.release()

    @contextlib.contextmanager
    def step(self) -> Generator[None]:
        """Be this thread's scope for one step of an attempt. Raises what `attempt` raises.

        A generator must not hold it over a `yield`: another scope may have its turn in between.
        """
        previous = running_scope()
        try:
            _running.scope = self
            yield
        except Exception as exc:
            self._raise_cause(exc)
            raise
        finally:
            _running.scope = previous

    def _raise_cause(self, exc: Exception) -> None:
        """Raise the real cause, where a shutdown of ours made `exc` happen."""
        cause = self.cause or self._interruption
        if cause is not None and exc is not cause:
            raise cause from exc

    def after_fork(self, cause: CancelledError) -> None:
        """Be cancelled in a forked child: the socket belongs to the parent, so it is not shut down."""
        self.condition = threading.Condition(threading.RLock())  # the old one may be held by a thread that is no more
        self.cause = self.cause or cause
        self.release()
        if self._child is not None:
            self._child.after_fork(cause)

    def _shut_down(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the peer was faster
                self._socket.shutdown(socket.SHUT_RDWR)


_running = threading.local()


def running_scope() -> CancelScope | None:
    """Get the scope of the attempt that the current thread runs, or None."""
    scope: CancelScope | None = getattr(_running, "scope", None)
    return scope
