"""The messages that chats, batches and sessions send to their subscribers, and the `Subscriber` protocol.

A subscriber of a chat gets `ChatEvent`s in order, a `ChatRetrying` before each wait and a `ChatResumed` after a cut,
then exactly one of `ChatDone`, `ChatFailed` and `ChatCancelled`, always last. Each carries its `chat`, so that one
subscriber can follow many. Batch and session tasks send theirs in the same way. A turn of a conversation sends the
events of its chats, messages of its own, and one that ends it.

Example:
    >>> def describe(message: ChatMessage) -> str:
    ...     match message:
    ...         case ChatEvent(data={"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}):
    ...             return text
    ...         case ChatDone(message=answer):
    ...             return f"done, {answer['usage']['output_tokens']} tokens"
    ...         case ChatFailed(error=error):
    ...             return f"failed: {error}"
    ...     return ""
"""

from __future__ import annotations

from anthropix_actors._tasks.subscriber import Subscriber
from anthropix_actors.batches.messages import (
    BatchCancelled,
    BatchDone,
    BatchFailed,
    BatchMessage,
    BatchProgress,
    BatchResult,
    BatchResults,
    BatchRetrying,
    BatchTerminal,
)
from anthropix_actors.chat.messages import (
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatMessage,
    ChatResumed,
    ChatRetrying,
    Terminal,
)
from anthropix_actors.conversation.messages import (
    AnswerDone,
    Approval,
    ApprovalGiven,
    ApprovalNeeded,
    Compacted,
    LimitReached,
    Steered,
    ToolDone,
    ToolProgress,
    ToolStarted,
    ToolUse,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnMessage,
    TurnSuspended,
    TurnTerminal,
)
from anthropix_actors.sessions.messages import (
    SessionApprovalGiven,
    SessionApprovalNeeded,
    SessionCancelled,
    SessionDone,
    SessionEvent,
    SessionFailed,
    SessionMessage,
    SessionRetrying,
    SessionTerminal,
    SessionToolDone,
    SessionToolMessage,
    SessionToolProgress,
    SessionToolStarted,
)

__all__ = [
    "AnswerDone",
    "Approval",
    "ApprovalGiven",
    "ApprovalNeeded",
    "BatchCancelled",
    "BatchDone",
    "BatchFailed",
    "BatchMessage",
    "BatchProgress",
    "BatchResult",
    "BatchResults",
    "BatchRetrying",
    "BatchTerminal",
    "ChatCancelled",
    "ChatDone",
    "ChatEvent",
    "ChatFailed",
    "ChatMessage",
    "ChatResumed",
    "ChatRetrying",
    "Compacted",
    "LimitReached",
    "SessionApprovalGiven",
    "SessionApprovalNeeded",
    "SessionCancelled",
    "SessionDone",
    "SessionEvent",
    "SessionFailed",
    "SessionMessage",
    "SessionRetrying",
    "SessionTerminal",
    "SessionToolDone",
    "SessionToolMessage",
    "SessionToolProgress",
    "SessionToolStarted",
    "Steered",
    "Subscriber",
    "Terminal",
    "ToolDone",
    "ToolProgress",
    "ToolStarted",
    "ToolUse",
    "TurnCancelled",
    "TurnDone",
    "TurnFailed",
    "TurnMessage",
    "TurnSuspended",
    "TurnTerminal",
]
