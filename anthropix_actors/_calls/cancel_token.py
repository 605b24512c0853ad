"""Cancels blocking calls from another thread."""

from __future__ import annotations

import threading
import weakref
from typing import Any, Protocol

from anthropix_actors._cancel.scope import as_reason
from anthropix_actors._foreign.public_names import publish


class Cancellable(Protocol):
    """A running call or task that can be cancelled."""

    def cancel(self, reason: str) -> bool:
        """Cancel it; return whether this call did it. Any thread."""
        ...


class CancelToken:
    """Cancels blocking calls from another thread.

    Give it to a call as `cancel=`; the call then raises `CancelledError` within 50 ms of `cancel()`. One token may be
    given to many calls, even at the same time; once it is cancelled, calls that get it later fail at once.

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
        self._lock = threading.RLock()  # a signal handler may cancel while the thread that it interrupts adds a call
        self._running: weakref.WeakSet[Any] = weakref.WeakSet()
        self._reason: str | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._reason is not None

    @property
    def reason(self) -> str | None:
        """The reason that `cancel` was given, or None."""
        return self._reason

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the calls that have this token, and those that get it later. Returns at once. Any thread.

        Returns:
            Whether this call did it; False if the token was cancelled before.
        """
        with self._lock:
            first = self._reason is None
            if first:
                self._reason = as_reason(reason)
            running = list(self._running)
        for each in running:
            each.cancel(self._reason)
        return first

    def add(self, cancellable: Cancellable) -> None:
        """Let `cancel` reach one more call; cancel it at once if `cancel` was called before. Any thread."""
        with self._lock:
            self._running.add(cancellable)
        if self._reason is not None:
            cancellable.cancel(self._reason)


publish("anthropix_actors", (CancelToken,))
