"""The actor that follows a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._tasks.actor import TaskActor
from anthropix_actors.sessions.messages import SessionDone, SessionEvent, SessionRetrying
from anthropix_actors.sessions.ref import SessionRef
from anthropix_actors.sessions.task import SessionRecord

if TYPE_CHECKING:
    from anthropix_actors.errors import APIError


class SessionActor(TaskActor[SessionRecord]):
    """Tells the events of a session."""

    ref_class = SessionRef

    def run(self) -> None:
        """Follow until the session ends."""
        record = self._record
        last: dict[str, Any] = {}
        for event in record.follower.events(record.exchange, self._retrying):
            if event is not None:
                record.tell(SessionEvent(record.ref, event))
                last = event
        record.scope.finish()
        record.end(SessionDone(record.ref, last))

    def _retrying(self, error: APIError, attempt: int, delay: float) -> None:
        self._record.exchange.log_retry(error, delay)
        self._record.retry_comes()
        self._record.tell(SessionRetrying(self._record.ref, attempt, delay, error))
