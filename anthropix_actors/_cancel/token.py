"""What cancels calls that block, from another thread."""

from __future__ import annotations

import threading
import weakref
from typing import Any, Protocol


class Cancellable(Protocol):
    """Anything that runs and can be cancelled."""

    def cancel(self, reason: str) -> bool:
        """Cancel it."""
        ...


class CancelToken:
    """Cancels calls that block, from another thread.

    Give it to a call as `cancel=`; the call then raises `CancelledError` within 50 ms of `cancel()`. One token may be
    given to many calls, at the same time, too; when it is cancelled, calls that get it later fail at once.

    Example:
        >>> token = CancelToken()
        >>> token.cancel("the window was closed")
        True
        >>> client.count_tokens(model="claude-sonnet-5", messages=hello, cancel=token)
        Traceback (most recent call last):
        ...
        anthropix_actors.errors.CancelledError: the window was closed
    """

    def __init__(self) -> None:
        """Start with nothing to cancel."""
        self._lock = threading.RLock()  # a signal handler may cancel what the thread it interrupts is about to add
        self._running: weakref.WeakSet[Any] = weakref.WeakSet()
        self._reason: str | None = None

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._reason is not None

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the calls that were given this token, and those that will be. Returns at once. Any thread.

        Returns:
            Whether this call did it; False when it was cancelled before.
        """
        with self._lock:
            first = self._reason is None
            if first:
                self._reason = reason
            running = list(self._running)
        for each in running:
            each.cancel(self._reason)
        return first

    def add(self, cancellable: Cancellable) -> None:
        """Let `cancel` reach one more thing, at once if it was called before."""
        with self._lock:
            self._running.add(cancellable)
        if self._reason is not None:
            cancellable.cancel(self._reason)
