"""The scope of an attempt: ends the attempt from outside, without ending the task that makes it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from anthropix_actors._http.stall_timer import StallTimer

if TYPE_CHECKING:
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

    def attempt(self, *, hold: bool = False) -> Attempt:
        """Run one attempt, in a `with` block. An exception that a cancel or `fail()` caused is replaced by its cause.

        Args:
            hold: Keep the socket after a success: the response is read later, in steps, and the reader releases it.

        Raises:
            CancelledError: the task was cancelled.
            APIError: the error given to `fail()`, or raised by the attempt itself.
        """
        return Attempt(self, hold=hold)

    def begin(self) -> None:
        """Begin an attempt."""
        self.cancel_scope.check()
        self._failure = None

    def end(self, *, held: bool) -> None:
        """End an attempt, and release its socket unless that is held."""
        self.timer.stop()
        if not held:
            self.cancel_scope.release()

    def step(self) -> Step:
        """Make this the scope that runs in the thread, for one step of an attempt. Raises what `attempt` raises.

        A generator must not hold it over a `yield`: another scope may run in the thread meanwhile.
        """
        return Step(self)

    def raise_cause(self, exc: BaseException) -> None:
        """Raise the cancellation or the failure instead, if it caused `exc`."""
        cause = self.cancel_scope.cause or self._failure
        if cause is not None and exc is not cause:
            raise cause from exc


class Step:
    """See `AttemptScope.step`. A class, as a generator would cost each request three times the calls."""

    def __init__(self, scope: AttemptScope) -> None:
        """Begin with the `with` block."""
        self._scope = scope

    def __enter__(self) -> None:
        """Make the scope the one that runs in this thread."""
        self._previous = running_attempt()
        _running.attempt = self._scope

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        """Make it the one from before; replace an exception by its cause."""
        _running.attempt = self._previous
        if isinstance(exc, Exception):
            self._scope.raise_cause(exc)


class Attempt(Step):
    """See `AttemptScope.attempt`."""

    def __init__(self, scope: AttemptScope, *, hold: bool) -> None:
        """Begin with the `with` block."""
        super().__init__(scope)
        self._hold = hold

    def __enter__(self) -> None:
        """Begin the attempt, and its first step."""
        self._scope.begin()
        super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        """End it."""
        try:
            super().__exit__(kind, exc, trace)
        finally:
            self._scope.end(held=self._hold and exc is None)


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
