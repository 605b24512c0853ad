"""What the following of a session tells its subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.sessions.ref import SessionRef


class SessionEvent(msgspec.Struct, frozen=True):
    """Something happened in a session.

    Attributes:
        session: The work that follows the session.
        data: The event as it was on the wire; `data["type"]` is its kind.
    """

    session: SessionRef
    data: dict[str, Any]


class SessionRetrying(msgspec.Struct, frozen=True):
    """The connection to a session was lost; it is made again after `delay` seconds, and what was missed is told then.

    Attributes:
        session: The work that follows the session.
        attempt: How many attempts in a row have failed.
        delay: Seconds until the next one.
        error: Why it was lost.
    """

    session: SessionRef
    attempt: int
    delay: float
    error: AnthropixError


class SessionDone(msgspec.Struct, frozen=True):
    """The session, or the thread that was followed, has ended. The last message of its work.

    Attributes:
        session: The work that followed the session.
        event: The event that ended it.
    """

    session: SessionRef
    event: dict[str, Any]


class SessionFailed(msgspec.Struct, frozen=True):
    """The session can be followed no longer. The last message of its work.

    Attributes:
        session: The work that followed the session; `session.last_event_id` is where to go on.
        error: Why.
    """

    session: SessionRef
    error: AnthropixError


class SessionCancelled(msgspec.Struct, frozen=True):
    """Somebody stopped following the session, or nobody listened any more. The last message of its work.

    Attributes:
        session: The work that followed the session, which itself goes on.
        reason: Why, in a few words.
    """

    session: SessionRef
    reason: str


SessionTerminal: TypeAlias = SessionDone | SessionFailed | SessionCancelled
"""The message that ends the following of a session."""

SessionMessage: TypeAlias = SessionEvent | SessionRetrying | SessionTerminal
"""Whatever is told about a session."""
