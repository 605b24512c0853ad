"""The messages that a session task sends to its subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from anthropix_actors._foreign.public_names import publish

if TYPE_CHECKING:
    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.sessions.ref import SessionRef


class SessionEvent(msgspec.Struct, frozen=True):
    """An event of a session.

    Attributes:
        session: The ref of the task that follows the session.
        data: The event as it was on the wire; `data["type"]` is its kind.
    """

    session: SessionRef
    data: dict[str, Any]


class SessionRetrying(msgspec.Struct, frozen=True):
    """The connection to a session was lost; it is opened again after `delay` seconds, and missed events follow then.

    Attributes:
        session: The ref of the task that follows the session.
        attempt: How many attempts in a row have failed.
        delay: Seconds until the next attempt.
        error: Why it was lost.
    """

    session: SessionRef
    attempt: int
    delay: float
    error: AnthropixError


class SessionDone(msgspec.Struct, frozen=True):
    """The session, or the thread that was followed, has ended. The last message of the task.

    Attributes:
        session: The ref of the task that followed the session.
        event: The event that ended it.
    """

    session: SessionRef
    event: dict[str, Any]


class SessionFailed(msgspec.Struct, frozen=True):
    """The session cannot be followed any longer. The last message of the task.

    Attributes:
        session: The ref of the task; `session.last_event_id` is where to resume.
        error: Why.
    """

    session: SessionRef
    error: AnthropixError


class SessionCancelled(msgspec.Struct, frozen=True):
    """The task was cancelled, or its last subscriber was gone. The last message of the task.

    Attributes:
        session: The ref of the task; the session itself goes on.
        reason: Why, in a few words.
    """

    session: SessionRef
    reason: str


SessionTerminal: TypeAlias = SessionDone | SessionFailed | SessionCancelled
"""The terminal message of a session task."""

SessionMessage: TypeAlias = SessionEvent | SessionRetrying | SessionTerminal
"""Every message of a session task."""


publish(
    "anthropix_actors.messages",
    (
        SessionEvent,
        SessionRetrying,
        SessionDone,
        SessionFailed,
        SessionCancelled,
    ),
)
