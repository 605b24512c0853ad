"""One call that blocks."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._foreign.log import LOGGER, log_end
from anthropix_actors._http.requester import Requester
from anthropix_actors._tasks.task import sweep_scope
from anthropix_actors.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._http.request import Timeout
    from anthropix_actors._http.transport import Transport


class BlockingCall:
    """Work that is done in the caller's thread: what the sweeper and a closing client see of it."""

    cancel_first = False

    def __init__(self, transport: Transport, timeout: Timeout) -> None:
        """Start its time."""
        self.requester = Requester(transport, CancelScope())
        self._timeout = timeout
        self._began = time.monotonic()
        self._deadline = None if timeout.total is None else self._began + timeout.total
        self.requester.fields = self.fields

    def fields(self) -> dict[str, Any]:
        """Get what a record on the logger says of it."""
        return {
            "work": "call",
            "tag": None,
            "request_id": self.requester.request_id,
            "attempts": self.requester.attempts,
            "seconds": round(time.monotonic() - self._began, 3),
        }

    def log_end(self, error: BaseException | None = None) -> None:
        """Write the record of its end."""
        request = self.requester.request
        if LOGGER.isEnabledFor(logging.INFO) and request is not None:
            state = "done" if error is None else "cancelled" if isinstance(error, CancelledError) else "failed"
            fields = {**self.fields(), "state": state, "status": getattr(error, "status", self.requester.status)}
            log_end(f"{request.method} {request.path.partition('?')[0]}", fields, error)

    def cancel(self, reason: str) -> bool:
        return self.requester.scope.cancel(CancelledError(reason))

    def sweep(self, now: float) -> None:
        sweep_scope(self.requester.scope, self._timeout, self._deadline, now)

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        self.cancel(reason)
        return lambda _: None  # its own thread is ending, or daemonic

    def after_fork(self) -> None:
        self.requester.scope.after_fork(CancelledError("the process was forked; the call goes on in the parent"))
