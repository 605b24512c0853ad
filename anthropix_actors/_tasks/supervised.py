"""What the sweeper and a closing client see of anything that runs: a task, or a call that blocks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from anthropix_actors._http.requester import Requester
from anthropix_actors.errors import APITimeoutError, CancelledError

if TYPE_CHECKING:
    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._http.request import Timeout
    from anthropix_actors._http.transport import Transport


class Supervised:
    """Something that sends requests within one scope, and has a time when its time is up.

    Attributes:
        what: The kind of it, in a word, for texts.
        cancel_first: Whether it is cancelled before the others; see `Watched`.
        tag: The caller's own word for it, or None.
        scope: What cancels it.
        requester: Sends its requests.
        made: When it was made, on the monotonic clock.
        began: When its turn came, on the monotonic clock; None before.
        ended: When it finished, on the monotonic clock; None before.
        deadline: When its time is up, on the monotonic clock; None for never, and before it has begun.
    """

    what: ClassVar[str]
    cancel_first = False

    def __init__(self, transport: Transport, scope: CancelScope, timeout: Timeout, tag: str | None = None) -> None:
        """Hold what it runs with; its time has not begun."""
        self.tag = tag
        self.scope = scope
        self.requester = Requester(transport, scope)
        self.requester.fields = self.fields
        self._timeout = timeout
        self.made = time.monotonic()
        self.began: float | None = None
        self.ended: float | None = None
        self.deadline: float | None = None

    def begin(self) -> None:
        """Start its time: the wait for its turn does not count."""
        self.began = time.monotonic()
        if self._timeout.total is not None:
            self.deadline = self.began + self._timeout.total

    def fields(self) -> dict[str, Any]:
        """Return the fields of its records on the logger."""
        ended, began = self.ended or time.monotonic(), self.began or self.made
        return {
            "work": self.what,
            "tag": self.tag,
            "request_id": self.requester.request_id,
            "attempts": self.requester.attempts,
            "seconds": round(ended - began, 3),
        }

    def cancel(self, reason: str) -> bool:
        """Cancel it, at once; return whether this call did, not an earlier one or its end. Any thread."""
        return self.scope.cancel(CancelledError(reason))

    def sweep(self, now: float) -> None:
        """Cancel it if its time is up, and fail an attempt that stalls. In the sweeper's thread."""
        if self.deadline is not None and now >= self.deadline:
            self.scope.cancel(APITimeoutError(f"not done within {self._timeout.total} s (timeout.total)"))
        self.requester.attempt_scope.sweep(now, self._timeout)
