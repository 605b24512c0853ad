"""The ref of an actor that follows a session."""

from __future__ import annotations

from typing import Any

from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors.errors import CancelledError
from anthropix_actors.sessions.messages import SessionDone, SessionFailed
from anthropix_actors.sessions.task import SessionTask


class SessionRef(TaskRef[SessionTask]):
    """The ref of an actor that follows a session. All of it may be used from any thread.

    It is a `pykka.ActorRef`; `cancel()` and `stop()` end the task; the session goes on at the API.
    """

    say_instead = 'use client.request("POST", "/sessions/{session_id}/events", ...)'

    @property
    def last_event_id(self) -> str | None:
        """The id of the latest event that was delivered: where to resume after a crash. None or "" before the first."""
        return self._task.follower.last_id

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait until the session has ended, and return the event that ended it.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Raises:
            TimeoutError: it has not ended.
            CancelledError: following it was cancelled.
            AnthropixError: it cannot be followed any longer; the class says why.
        """
        terminal = self._wait(timeout)
        if isinstance(terminal, SessionDone):
            return terminal.event
        raise terminal.error if isinstance(terminal, SessionFailed) else CancelledError(terminal.reason)


publish("anthropix_actors", (SessionRef,))
