"""One blocking call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._foreign.log import LOGGER, log_end
from anthropix_actors._tasks.supervised import Supervised
from anthropix_actors.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._http.request import Timeout
    from anthropix_actors._http.transport import Transport


class BlockingCall(Supervised):
    """A call that blocks its caller's thread, as the sweeper and `Client.close` see it."""

    what = "call"

    def __init__(self, transport: Transport, timeout: Timeout) -> None:
        """Start its clock."""
        super().__init__(transport, CancelScope(), timeout)
        self.begin()

    def log_end(self, error: BaseException | None = None) -> None:
        """Log its end. In the caller's thread."""
        request = self.requester.request
        if LOGGER.isEnabledFor(logging.INFO) and request is not None:
            state = "done" if error is None else "cancelled" if isinstance(error, CancelledError) else "failed"
            log_end(f"{request.method} {request.path.partition('?')[0]}", self.end_fields(state, error), error)

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel it. There is nothing to wait for: its own thread is ending, or daemonic."""
        self.cancel(reason)
        return lambda _: None

    def after_fork(self) -> None:
        """Mark it as cancelled in a forked child."""
        self.scope.after_fork(CancelledError("the process was forked; the call goes on in the parent"))
