"""The scope of an attempt: ends the attempt from outside, without ending the task that makes it."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from anthropix_actors._http.stall_timer import StallTimer

if TYPE_CHECKING:
    from collections.abc import Generator

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._http.request import Timeout
    from anthropix_actors.errors import APIError


class AttemptScope:
    """The scope of a requester's attempts, one at a time. It is inside a cancel scope, which ends all of them.

    `fail` and `sweep` may be used from any thread, the rest only in the task's.

    Attributes:
        cancel_scope: The scope of the task.
        timer: The clocks of the running attempt.
    """

    def __init__(self, cancel_scope: CancelScope) -> None:
        """Start without an attempt."""
        self.cancel_scope = cancel_scope
        self.timer = StallTimer()
        self._failure: APIError | None = None

    def fail(self, error: APIError) -> None:
        """End the running attempt with `error`; a retry may follow. Without a socket, do nothing. Any thread."""
        scope = self.cancel_scope
        with scope.condition:
            if scope.socket.is_bound and self._failure is None and not scope.committed:
                self._failure = error
                scope.socket.shut_down()

    def sweep(self, now: float, timeout: Timeout) -> None:
        """Fail the running attempt if it stalls. In the sweeper's thread."""
        if (stalled := self.timer.run_out(now, timeout)) is not None:
            self.fail(stalled)

    @contextlib.contextmanager
    def attempt(self, *, hold: bool = False) -> Generator[None]:
        """Run one attempt. An exception that a cancel or `fail()` caused is replaced by its cause.

        Args:
            hold: Keep the socket after a success: the response is read later, in steps, and the reader releases it.

        Raises:
            CancelledError: the task was cancelled.
            APIError: the error given to `fail()`, or raised by the attempt itself.
        """
        self.cancel_scope.check()
        self._failure = None
        held = False
        try:
            with self.step():
                yield
            held = hold
        finally:
            self.timer.stop()
            if not held:
                self.cancel_scope.release()

    @contextlib.contextmanager
    def step(self) -> Generator[None]:
        """Make this the scope that runs in the thread, for one step of an attempt. Raises what `attempt` raises.

        A generator must not hold it over a `yield`: another scope may run in the thread meanwhile.
        """
        previous = running_attempt()
        try:
            _running.attempt = self
            yield
        except Exception as exc:
            self._raise_cause(exc)
            raise
        finally:
            _running.attempt = previous

    def _raise_cause(self, exc: Exception) -> None:
        """Raise the cancellation or the failure instead, if it caused `exc`."""
        cause = self.cancel_scope.cause or self._failure
        if cause is not None and exc is not cause:
            raise cause from exc


_running = threading.local()


def running_attempt() -> AttemptScope | None:
    """Return the scope of the attempt that runs in this thread, or None."""
    scope: AttemptScope | None = getattr(_running, "attempt", None)
    return scope


def this_attempt() -> AttemptScope:
    """Return the scope of the attempt that runs in this thread; there must be one."""
    scope = running_attempt()
    if scope is None:
        raise RuntimeError("requests are sent only within an attempt")
    return scope
