"""What subscribers want to know of a message: whose it is, and whether it is the last. In the folder only."""

from __future__ import annotations

from typing import Any

from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors.messages import (
    BatchCancelled,
    BatchDone,
    BatchFailed,
    ChatCancelled,
    ChatDone,
    ChatFailed,
    SessionCancelled,
    SessionDone,
    SessionFailed,
)

TERMINAL = frozenset(
    {
        *(ChatDone, ChatFailed, ChatCancelled),
        *(BatchDone, BatchFailed, BatchCancelled),
        *(SessionDone, SessionFailed, SessionCancelled),
    }
)
"""The types of the messages that end a task."""


def ref_of(message: Any) -> TaskRef[Any] | None:
    """Return the ref of the chat, batch or session that a message belongs to; None for a message of somebody else."""
    for name in getattr(message, "__struct_fields__", ())[:1]:
        ref = getattr(message, name)
        return ref if isinstance(ref, TaskRef) else None
    return None
