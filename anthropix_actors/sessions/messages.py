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


class SessionToolStarted(msgspec.Struct, frozen=True):
    """A custom tool has been started for a call of the session's agent.

    Attributes:
        session: The ref of the task that serves the session.
        call: The event that calls it, as on the wire: `call["name"]`, `call["input"]`, `call["id"]`.
    """

    session: SessionRef
    call: dict[str, Any]


class SessionToolProgress(msgspec.Struct, frozen=True):
    """A tool says how far it is.

    Attributes:
        session: The ref of the task that serves the session.
        call: The event that called it.
        data: What the tool says.
    """

    session: SessionRef
    call: dict[str, Any]
    data: Any


class SessionToolDone(msgspec.Struct, frozen=True):
    """A call of a custom tool is over. It comes once for each, when the result has been sent or cannot be.

    Attributes:
        session: The ref of the task that serves the session.
        call: The event that called it.
        content: The result: a text, or blocks.
        is_error: Whether it is an error.
        seconds: How long the tool ran.
        state: How it ended: `done`, `failed`, `timed out`, `cancelled` or `not started`.
        sent: Whether the session has taken the result. False also where nobody knows, or it no longer waited for it.
        error: Why the API did not take it, if that is known.
    """

    session: SessionRef
    call: dict[str, Any]
    content: str | list[dict[str, Any]]
    is_error: bool
    seconds: float
    state: str
    sent: bool
    error: AnthropixError | None = None


class SessionApprovalNeeded(msgspec.Struct, frozen=True):
    """Whoever approves is asked about a call: whether the agent, or this program, may run it.

    Attributes:
        session: The ref of the task that serves the session.
        call: The event with the call.
    """

    session: SessionRef
    call: dict[str, Any]


class SessionApprovalGiven(msgspec.Struct, frozen=True):
    """It was decided about a call.

    Attributes:
        session: The ref of the task that serves the session.
        call: The event with the call.
        allow: Whether it is allowed.
        why: What was said; "" if nothing was.
    """

    session: SessionRef
    call: dict[str, Any]
    allow: bool
    why: str = ""


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

SessionToolMessage: TypeAlias = (
    SessionToolStarted | SessionToolProgress | SessionToolDone | SessionApprovalNeeded | SessionApprovalGiven
)
"""What is told beside the events while a session is served."""

SessionMessage: TypeAlias = SessionEvent | SessionRetrying | SessionToolMessage | SessionTerminal
"""Every message of a session task."""


publish(
    "anthropix_actors.messages",
    (
        SessionEvent,
        SessionRetrying,
        SessionToolStarted,
        SessionToolProgress,
        SessionToolDone,
        SessionApprovalNeeded,
        SessionApprovalGiven,
        SessionDone,
        SessionFailed,
        SessionCancelled,
    ),
)
