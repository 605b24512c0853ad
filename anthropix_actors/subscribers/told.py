"""What subscribers want to know of a message: whose it is, if it is the last, what events it brings. In the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors._tasks.waits import task_of
from anthropix_actors.chat.ref import ChatRef
from anthropix_actors.conversation.messages import AnswerDone, TurnCancelled, TurnDone, TurnFailed, TurnSuspended
from anthropix_actors.messages import (
    BatchCancelled,
    BatchDone,
    BatchFailed,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    SessionCancelled,
    SessionDone,
    SessionFailed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anthropix_actors._wire.events import Event

TERMINAL = frozenset(
    {
        *(ChatDone, ChatFailed, ChatCancelled),
        *(BatchDone, BatchFailed, BatchCancelled),
        *(SessionDone, SessionFailed, SessionCancelled),
        *(TurnDone, TurnFailed, TurnCancelled, TurnSuspended),
    }
)
"""The types of the messages that end a task."""

OF_A_TURN = "expected a chat of its own, got one of a turn, whose end no subscriber is told: pass its turn, chat.turn"
"""Why a loop over a chat of a turn is refused: it would never end."""


def ref_of(message: Any) -> TaskRef[Any] | None:
    """Return the ref of what a message belongs to, which has the end; None for a message of somebody else.

    That is a turn for the messages of its chats: nobody is told their ends.
    """
    for name in getattr(message, "__struct_fields__", ())[:1]:
        ref = getattr(message, name)
        return whole_of(ref) if isinstance(ref, TaskRef) else None
    return None


def whole_of(chat: Any) -> Any:
    """Return the turn that a chat belongs to; anything else as it is."""
    turn = chat.turn if isinstance(chat, ChatRef) else None
    return chat if turn is None else turn


class Answers:
    """Takes the messages of a turn, and gives the events of its answers: of each answer, once.

    Who joins late gets an answer that was whole by then as an `AnswerDone`: here, it comes in events that rebuild it.
    """

    def __init__(self) -> None:
        """Start before the first message."""
        self._begun: set[Any] = set()
        self._rebuilt: set[Any] = set()

    def events_of(self, message: Any) -> Iterable[Event]:
        """Return the events that a message brings: mostly one, or none."""
        kind = type(message)
        if kind is ChatEvent and message.chat not in self._rebuilt:
            self._begun.add(message.chat)
            return (message.data,)
        if kind is AnswerDone and not message.path and message.chat not in self._begun:
            self._rebuilt.add(message.chat)
            chat: Any = task_of(message.chat)
            with chat.lock:
                return [*chat.answer.replay()]
        return ()
