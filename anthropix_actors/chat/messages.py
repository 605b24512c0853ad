"""What a chat tells its subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from anthropix_actors.usage import Usage, spent, spent_before, spent_on_failure

if TYPE_CHECKING:
    from anthropix_actors._wire.events import Event
    from anthropix_actors._wire.message import Message
    from anthropix_actors.chat.ref import ChatRef
    from anthropix_actors.errors import AnthropixError


class ChatEvent(msgspec.Struct, frozen=True):
    """The API said something: one event of the stream, as it was on the wire. Pings are not told.

    Attributes:
        chat: The chat it belongs to.
        data: The event; `data["type"]` is its kind. Shared with other subscribers: read it, do not change it.
    """

    chat: ChatRef
    data: Event


class ChatRetrying(msgspec.Struct, frozen=True):
    """The request failed before any content; it is sent again after `delay` seconds.

    Attributes:
        chat: The chat it belongs to.
        attempt: Which attempt failed; the first is 1.
        delay: Seconds until the next one.
        error: Why it failed.
    """

    chat: ChatRef
    attempt: int
    delay: float
    error: AnthropixError


class ChatResumed(msgspec.Struct, frozen=True):
    """The answer was cut, and goes on in another one; told to those who asked for it with `resume=True`.

    Attributes:
        chat: The chat it belongs to.
        attempt: Which attempt goes on; the first of the chat is 1.
        kept: How many content blocks remain. What was told of later ones is void; their indexes are used again. An open
            text that remains goes on in the deltas to come.
    """

    chat: ChatRef
    attempt: int
    kept: int


class ChatDone(msgspec.Struct, frozen=True):
    """The answer is complete. The last message of its chat.

    Attributes:
        chat: The chat it belongs to.
        message: The whole Message.
        output: The value that it says, where `output` asked for one.
        resumed: Whether it is made of several answers. What the cut ones cost is an estimate.
    """

    chat: ChatRef
    message: Message
    output: Any = None
    resumed: bool = False

    @property
    def usage(self) -> Usage:
        """What it cost, in tokens; an estimate where attempts before it had begun an answer, and lost it."""
        return Usage.of(self.message, complete=True) + Usage(estimate=self.resumed) + spent_before(self.chat)


class ChatFailed(msgspec.Struct, frozen=True):
    """There will be no complete answer. The last message of its chat.

    Attributes:
        chat: The chat it belongs to.
        error: Why; `error.partial` is the Message so far, or None.
    """

    chat: ChatRef
    error: AnthropixError

    @property
    def usage(self) -> Usage:
        """What it cost until then, in tokens; mostly an estimate, and says so."""
        return spent_on_failure(self.error) + spent_before(self.chat)


class ChatCancelled(msgspec.Struct, frozen=True):
    """Somebody cancelled the chat, or nobody listened any more. The last message of its chat.

    Attributes:
        chat: The chat it belongs to.
        reason: Why, in a few words.
        partial: The Message so far, or None when nothing had arrived.
    """

    chat: ChatRef
    reason: str
    partial: Message | None

    @property
    def usage(self) -> Usage:
        """What it cost until then, in tokens; mostly an estimate, and says so."""
        return spent(self.partial, sent=self.chat.attempts > 0) + spent_before(self.chat)


Terminal: TypeAlias = ChatDone | ChatFailed | ChatCancelled
"""The message that ends a chat."""

ChatMessage: TypeAlias = ChatEvent | ChatRetrying | ChatResumed | ChatDone | ChatFailed | ChatCancelled
"""Whatever a chat tells."""
