"""The base class of tasks and blocking calls, as the sweeper and `Client.close` see them."""

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
    """A task or call: it sends requests within one scope, and may have a deadline.

    Attributes:
        what: Its kind, in a word, for texts.
        cancel_first: Whether it is cancelled before the others; see `Watched`.
        tag: The tag that the caller gave it, or None.
        scope: What cancels it.
        requester: Sends its requests.
        made: When it was made, on the monotonic clock.
        began: When its turn came, on the monotonic clock; None before.
        ended: When it finished, on the monotonic clock; None before.
        deadline: When `timeout.total` runs out, on the monotonic clock; None for never, and before it has begun.
    """

    what: ClassVar[str]
    cancel_first = False

    def __init__(self, transport: Transport, scope: CancelScope, timeout: Timeout, tag: str | None = None) -> None:
        """Hold the parts; its time has not begun."""
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
        """Start its clock: the wait in a queue does not count."""
        self.began = time.monotonic()
        if self._timeout.total is not None:
            self.deadline = self.began + self._timeout.total

    def fields(self) -> dict[str, Any]:
        """Return the fields of its log records."""
        ended, began = self.ended or time.monotonic(), self.began or self.made
        return {
            "work": self.what,
            "tag": self.tag,
            "request_id": self.requester.request_id,
            "attempts": self.requester.attempts,
            "seconds": round(ended - began, 3),
        }

    def end_fields(self, state: str, error: BaseException | None) -> dict[str, Any]:
        """Return the fields of a record of its end."""
        return {**self.fields(), "state": state, "status": getattr(error, "status", self.requester.status)}

    def cancel(self, reason: str) -> bool:
        """Cancel it, at once; return False if it was cancelled or had ended before. Any thread."""
        return self.scope.cancel(CancelledError(reason))

    def sweep(self, now: float) -> None:
        """Cancel it after its deadline, and fail an attempt that stalls. In the sweeper's thread."""
        if self.deadline is not None and now >= self.deadline:
            self.scope.cancel(APITimeoutError(f"not done within {self._timeout.total} s (timeout.total)"))
        self.requester.attempt_scope.sweep(now, self._timeout)
