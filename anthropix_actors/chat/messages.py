"""The messages that a chat sends to its subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.usage import Usage, spent, spent_before, spent_on_failure

if TYPE_CHECKING:
    from anthropix_actors._wire.events import Event
    from anthropix_actors._wire.message import Message
    from anthropix_actors.chat.ref import ChatRef
    from anthropix_actors.errors import AnthropixError


class ChatEvent(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """One event of the stream, as it was on the wire. Pings are not delivered.

    Attributes:
        chat: The chat it belongs to.
        data: The event; `data["type"]` is its kind. Shared with other subscribers: read it, do not change it.
        cursor: Its place in the log that it was read of, for a chat that is followed by a `Hub`; else None.
    """

    chat: ChatRef
    data: Event
    cursor: str | None = None


class ChatRetrying(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """The request failed before any content; it is sent again after `delay` seconds.

    Attributes:
        chat: The chat it belongs to.
        attempt: Which attempt failed; the first is 1.
        delay: Seconds until the next one.
        error: Why it failed.
        cursor: Its place in the log that it was read of, for a chat that is followed by a `Hub`; else None.
    """

    chat: ChatRef
    attempt: int
    delay: float
    error: AnthropixError
    cursor: str | None = None


class ChatResumed(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """The answer was cut, and is resumed in another one. Only chats with `resume=True` send it.

    Attributes:
        chat: The chat it belongs to.
        attempt: Which attempt resumes it; the first of the chat is 1.
        kept: How many content blocks remain. Earlier events of later blocks are void; their indexes are used again. An
            open text that remains goes on in the deltas to come.
        cursor: Its place in the log that it was read of, for a chat that is followed by a `Hub`; else None.
    """

    chat: ChatRef
    attempt: int
    kept: int
    cursor: str | None = None


class ChatDone(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """The answer is complete. The last message of its chat.

    Attributes:
        chat: The chat it belongs to.
        message: The whole Message.
        output: The decoded value, if the chat's `output` asked for one.
        resumed: Whether it is made of several answers. The usage of the cut ones is an estimate.
        cursor: Its place in the log that it was read of, for a chat that is followed by a `Hub`; else None.
    """

    chat: ChatRef
    message: Message
    output: Any = None
    resumed: bool = False
    cursor: str | None = None

    @property
    def usage(self) -> Usage:
        """The tokens used; an estimate if earlier attempts had begun an answer, and lost it."""
        return Usage.of(self.message, complete=True) + Usage(estimate=self.resumed) + spent_before(self.chat)


class ChatFailed(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """There will be no complete answer. The last message of its chat.

    Attributes:
        chat: The chat it belongs to.
        error: The reason; `error.partial` is the Message so far, or None.
        cursor: Its place in the log that it was read of, for a chat that is followed by a `Hub`; else None.
    """

    chat: ChatRef
    error: AnthropixError
    cursor: str | None = None

    @property
    def usage(self) -> Usage:
        """The tokens used until then; mostly an estimate, and marked as one."""
        return spent_on_failure(self.error) + spent_before(self.chat)


class ChatCancelled(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """The chat was cancelled, by a call or as it had lost its last subscriber. The last message of its chat.

    Attributes:
        chat: The chat it belongs to.
        reason: The reason, in a few words.
        partial: The Message so far, or None if nothing had arrived.
        cursor: Its place in the log that it was read of, for a chat that is followed by a `Hub`; else None.
    """

    chat: ChatRef
    reason: str
    partial: Message | None
    cursor: str | None = None

    @property
    def usage(self) -> Usage:
        """The tokens used until then; mostly an estimate, and marked as one."""
        return spent(self.partial, sent=self.chat.attempts > 0) + spent_before(self.chat)


Terminal: TypeAlias = ChatDone | ChatFailed | ChatCancelled
"""The message that ends a chat."""

ChatMessage: TypeAlias = ChatEvent | ChatRetrying | ChatResumed | ChatDone | ChatFailed | ChatCancelled
"""Any message of a chat."""


publish(
    "anthropix_actors.messages",
    (
        ChatEvent,
        ChatRetrying,
        ChatResumed,
        ChatDone,
        ChatFailed,
        ChatCancelled,
    ),
)
