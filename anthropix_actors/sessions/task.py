"""The state of a session task, shared by its actor, its refs and the sweeper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._tasks.task import Task
from anthropix_actors.sessions.messages import SessionCancelled, SessionFailed

if TYPE_CHECKING:
    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors.errors import AnthropixError, CancelledError
    from anthropix_actors.sessions.follower import Follower
    from anthropix_actors.sessions.messages import SessionTerminal


class SessionTask(Task):
    """The state of one session task."""

    what = "session"

    def __init__(self, core: ClientCore, follower: Follower, timeout: Any, tag: str | None) -> None:
        """Hold the follower; nothing is followed yet."""
        super().__init__(core.transport, CancelScope(), timeout, tag=tag)
        self.follower = follower

    def cancelled_message(self, error: CancelledError) -> SessionTerminal:
        """Return the terminal message of a task that was cancelled."""
        return SessionCancelled(self.ref, error.reason)

    def failed_message(self, error: AnthropixError) -> SessionTerminal:
        """Return the terminal message of a task that failed."""
        return SessionFailed(self.ref, error)
