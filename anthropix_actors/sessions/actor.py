"""The actor that follows a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._tasks.actor import TaskActor
from anthropix_actors.sessions.messages import SessionDone, SessionEvent, SessionRetrying
from anthropix_actors.sessions.ref import SessionRef
from anthropix_actors.sessions.task import SessionTask

if TYPE_CHECKING:
    from anthropix_actors.errors import APIError


class SessionActor(TaskActor[SessionTask]):
    """Delivers the events of a session."""

    ref_class = SessionRef

    def run(self) -> None:
        """Follow until the session ends, in the actor's thread."""
        task = self._task
        last: dict[str, Any] = {}
        for event in task.follower.events(task.requester, self._retrying):
            if event is not None:
                task.audience.tell(SessionEvent(task.ref, event))
                last = event
        task.scope.commit()
        task.finish(SessionDone(task.ref, last))

    def _retrying(self, error: APIError, attempt: int, delay: float) -> None:
        self._task.note_retry()
        self._task.audience.tell(SessionRetrying(self._task.ref, attempt, delay, error))
