"""What a chat tells its subscribers, and who can be one.

A subscriber gets `ChatEvent`s and `ChatRetrying`s in order, then exactly one of `ChatDone`, `ChatFailed` and
`ChatCancelled`, always last. Each carries its `chat`, so that one subscriber can follow many.

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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from anthropix_actors._chat import ChatRef
    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.types import Event, Message


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """The API said something: one event of the stream, as it was on the wire. Pings are not told.

    Attributes:
        chat: The chat it belongs to.
        data: The event; `data["type"]` is its kind. Shared with other subscribers: read it, do not change it.
    """

    chat: ChatRef
    data: Event


@dataclass(frozen=True, slots=True)
class ChatRetrying:
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


@dataclass(frozen=True, slots=True)
class ChatDone:
    """The answer is complete. The last message of its chat.

    Attributes:
        chat: The chat it belongs to.
        message: The whole Message.
    """

    chat: ChatRef
    message: Message


@dataclass(frozen=True, slots=True)
class ChatFailed:
    """There will be no complete answer. The last message of its chat.

    Attributes:
        chat: The chat it belongs to.
        error: Why; `error.partial` is the Message so far, or None.
    """

    chat: ChatRef
    error: AnthropixError


@dataclass(frozen=True, slots=True)
class ChatCancelled:
    """Somebody cancelled the chat, or nobody listened any more. The last message of its chat.

    Attributes:
        chat: The chat it belongs to.
        reason: Why, in a few words.
        partial: The Message so far, or None when nothing had arrived.
    """

    chat: ChatRef
    reason: str
    partial: Message | None


Terminal: TypeAlias = ChatDone | ChatFailed | ChatCancelled
"""The message that ends a chat."""

ChatMessage: TypeAlias = ChatEvent | ChatRetrying | ChatDone | ChatFailed | ChatCancelled
"""Whatever a chat tells."""


@runtime_checkable
class Subscriber(Protocol):
    """Anything with a `tell` method that takes one message. A `pykka.ActorRef` is one.

    `tell` is called from the chat's thread, one message at a time. It should return soon: while it runs, its chat reads
    nothing. If it raises, the subscriber counts as dead and is told nothing more.
    """

    def tell(self, message: Any, /) -> None:
        """Take one message."""
