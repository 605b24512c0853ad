"""Which method of `Handlers` is called for a message, and with what. In the folder only."""

from __future__ import annotations

import weakref
from operator import attrgetter
from typing import TYPE_CHECKING, Any, get_args

from anthropix_actors.chat.growth import TEXT, THINKING, TOOL_INPUT
from anthropix_actors.conversation.messages import (
    AnswerDone,
    ApprovalGiven,
    ApprovalNeeded,
    Compacted,
    LimitReached,
    Steered,
    ToolDone,
    ToolProgress,
    ToolStarted,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnSuspended,
)
from anthropix_actors.conversation.turn_ref import TurnRef
from anthropix_actors.messages import (
    BatchCancelled,
    BatchDone,
    BatchFailed,
    BatchProgress,
    BatchResult,
    BatchResults,
    BatchRetrying,
    ChatCancelled,
    ChatDone,
    ChatFailed,
    ChatResumed,
    ChatRetrying,
    SessionCancelled,
    SessionDone,
    SessionEvent,
    SessionFailed,
    SessionRetrying,
    SessionToolMessage,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def _cancelled(message: TurnCancelled) -> tuple[Any, ...]:
    """Return what a chat that was cancelled has, too: the answer so far. A test may give anything as turn."""
    turn: Any = message.turn
    return turn, message.reason, turn.snapshot() if isinstance(turn, TurnRef) else None


OF_EVENTS = {
    "on_event": "on_event",
    "on_block": "on_block",
    TEXT: "on_text",
    THINKING: "on_thinking",
    TOOL_INPUT: "on_tool_input",
}
"""What in an event a method is called for → the method."""

CALLS: dict[type, tuple[str, Callable[[Any], tuple[Any, ...]]]] = {
    ChatRetrying: ("on_retrying", attrgetter("chat", "attempt", "delay", "error")),
    ChatResumed: ("_anthropix_on_resumed", attrgetter("chat", "attempt", "kept")),
    ChatDone: ("on_done", attrgetter("chat", "message")),
    ChatFailed: ("on_failed", attrgetter("chat", "error")),
    ChatCancelled: ("on_cancelled", attrgetter("chat", "reason", "partial")),
    AnswerDone: ("_anthropix_on_answer", attrgetter("turn", "message", "path")),
    ToolStarted: ("on_tool_started", attrgetter("turn", "call")),
    ToolProgress: ("on_tool_progress", attrgetter("turn", "call", "data")),
    ToolDone: ("on_tool_done", attrgetter("turn", "call", "result", "is_error")),
    ApprovalNeeded: ("on_approval", attrgetter("turn", "approval")),
    ApprovalGiven: ("on_approval_given", attrgetter("turn", "approval", "allow", "by")),
    Steered: ("on_steered", attrgetter("turn", "content")),
    Compacted: ("on_compacted", attrgetter("turn", "before", "after")),
    LimitReached: ("on_limit", attrgetter("turn", "limit")),
    TurnDone: ("on_done", attrgetter("turn", "message")),
    TurnFailed: ("on_failed", attrgetter("turn", "error")),
    TurnCancelled: ("on_cancelled", _cancelled),
    TurnSuspended: ("on_suspended", attrgetter("turn", "approvals")),
    BatchProgress: ("on_batch_progress", attrgetter("batch", "counts")),
    BatchResult: ("_anthropix_on_batch_result", lambda message: (message.batch, message)),
    BatchResults: ("on_batch_results", attrgetter("batch", "results")),
    BatchRetrying: ("on_batch_retrying", attrgetter("batch", "attempt", "delay", "error")),
    BatchDone: ("on_batch_done", attrgetter("batch", "counts")),
    BatchFailed: ("on_batch_failed", attrgetter("batch", "error", "failures")),
    BatchCancelled: ("on_batch_cancelled", attrgetter("batch", "reason", "error")),
    SessionEvent: ("on_session_event", attrgetter("session", "data")),
    SessionRetrying: ("on_session_retrying", attrgetter("session", "attempt", "delay", "error")),
    **dict.fromkeys(get_args(SessionToolMessage), ("on_session_tool", lambda message: (message.session, message))),
    SessionDone: ("on_session_done", attrgetter("session", "event")),
    SessionFailed: ("on_session_failed", attrgetter("session", "error")),
    SessionCancelled: ("on_session_cancelled", attrgetter("session", "reason")),
}
"""Type of a message → the method to call, and its arguments: the fields of the message, in their order."""

ENDS = frozenset({"on_done", "on_failed", "on_cancelled", "on_suspended"})
"""The last method that is called for a chat, or a turn."""


class _StandIn:
    """Stands for what a program, such as a test, gives in place of a chat, such as None."""


_STAND_IN = _StandIn()


def key_of(ref: object) -> object:
    """Return what the blocks of a chat or turn are kept for: its ref, if that can be held weakly."""
    try:
        weakref.ref(ref)
    except TypeError:
        return _STAND_IN
    return ref
