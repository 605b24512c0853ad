"""The cancel scope: one kill switch for everything a chat's thread may wait for.

The thread waits only for a socket or for the scope's condition. `cancel()` ends both waits, from any thread: it shuts
the socket down (`socket_shutdown.py` says how), and it wakes the condition.

The transport binds the scope to a socket and releases it before another request can reuse the connection, so a late
`cancel()` cannot hit another request.

Bytes that arrived before `cancel()` are still readable after it: call `check()` before acting on them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._cancel.socket_shutdown import SocketShutdown
from anthropix_actors._foreign.log import shown

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator

    from anthropix_actors.errors import APIError, CancelledError


SLICE = 0.5
"""Seconds that one wait in C may take: an exception thrown into a thread from outside arrives between two waits."""


def as_reason(reason: object) -> str:
    """Return the reason of a cancel as a string: a cancel never fails, whatever a button's signal calls it with.

    Example:
        >>> as_reason("Esc was pressed"), as_reason(False)
        ('Esc was pressed', 'False')
    """
    return reason if isinstance(reason, str) else shown(reason)


def deadline_of(timeout: float | None) -> float | None:
    """Return the deadline of a wait, on the monotonic clock; None for never."""
    return None if timeout is None else time.monotonic() + timeout


def slice_of(deadline: float | None) -> float:
    """Return how many seconds to wait in one slice; 0 when the deadline has passed."""
    return SLICE if deadline is None else max(0.0, min(SLICE, deadline - time.monotonic()))


class CancelScope:
    """The unit of cancellation: one chat, or another task or call, with all its attempts.

    `cancel`, `notify` and the attributes may be used from any thread, the rest only in the task's.

    Attributes:
        condition: The thread waits for it; its lock guards the cause and the socket.
        socket: The socket that the thread may wait for.
        cause: The error that cancelled it, or None.
        committed: Whether the outcome is decided: a later cancel does not change it.
    """

    def __init__(self) -> None:
        """Start with nothing to shut down."""
        # Reentrant, as a signal handler may cancel while the thread that it interrupts is binding a socket.
        self.condition = threading.Condition(threading.RLock())
        self.socket = SocketShutdown(self.condition)
        self._child: CancelScope | None = None
        self.cause: CancelledError | APIError | None = None
        self.committed = False

    def __repr__(self) -> str:
        """Show whether it was cancelled, and whether there is a socket to shut down."""
        state = f"cancelled by {self.cause!r}" if self.cause is not None else "committed" if self.committed else "open"
        return f"<CancelScope {state}, {'a' if self.socket.is_bound else 'no'} socket>"

    def cancel(self, cause: CancelledError | APIError) -> bool:
        """Cancel for good. Returns at once: True if this call did it, False if it was decided or cancelled before.

        The socket is shut down even after the outcome is decided: the rest of the response is not read. Any thread.
        """
        with self.condition:
            first = not self.committed and self.cause is None
            if first:
                self.cause = cause  # before the shutdown: the reader that it wakes reads the cause without the lock
                self.condition.notify_all()
            self.socket.shut_down_in_turn()
            if self._child is not None:
                self._child.cancel(cause)
        return first

    @contextlib.contextmanager
    def child(self) -> Generator[CancelScope]:
        """Make a scope that is cancelled with this one: for a request while the response of another is open.

        Raises:
            CancelledError: `cancel()` was called before.
        """
        with self.condition:
            self.check()
            child = self._child = CancelScope()
        try:
            yield child
        finally:
            self._child = None

    def notify(self) -> None:
        """Wake the thread that waits, to re-check its condition. Any thread."""
        with self.condition:
            self.condition.notify_all()

    def check(self) -> None:
        """Raise the cause if the scope was cancelled.

        Raises:
            CancelledError, APIError: the cause.
        """
        if self.cause is not None:
            raise self.cause

    def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `ready()`, for at most `timeout` seconds; return its last result.

        Raises:
            CancelledError: `cancel()` was called before or meanwhile.
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
            CancelledError: `cancel()` was called before or meanwhile.
        """
        self.wait(lambda: False, seconds)

    def commit(self) -> None:
        """Decide the outcome: from now on `cancel()` does not change it.

        Raises:
            CancelledError: `cancel()` was called before.
        """
        with self.condition:
            self.committed = self.cause is None
        self.check()

    def bind(self, sock: socket.socket) -> None:
        """Let `cancel()` shut down this socket; at once if it was called before.

        Raises:
            CancelledError: `cancel()` was called before.
        """
        with self.condition:
            self.socket.bind(sock)
            if self.cause is not None:
                self.socket.shut_down()
        self.check()

    def release(self) -> None:
        """Release the socket: this scope no longer shuts it down."""
        with self.condition:
            self.socket.release()

    def after_fork(self, cause: CancelledError) -> None:
        """Mark it as cancelled in a forked child: the socket belongs to the parent, so it is not shut down."""
        # The old one may be held by a thread that no longer exists.
        self.condition = self.socket.lock = threading.Condition(threading.RLock())
        self.cause = self.cause or cause
        self.release()
        if self._child is not None:
            self._child.after_fork(cause)
