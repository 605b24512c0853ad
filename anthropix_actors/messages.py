"""What chats, batches and sessions tell their subscribers, and who can be one.

A subscriber of a chat gets `ChatEvent`s in order, a `ChatRetrying` before each wait and a `ChatResumed` after a cut,
then exactly one of `ChatDone`, `ChatFailed` and `ChatCancelled`, always last. Each carries its `chat`, so that one
subscriber can follow many. Work with batches and sessions is told in the same way.

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

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import msgspec

from anthropix_actors.usage import Usage, spent, spent_before, spent_on_failure

if TYPE_CHECKING:
    from anthropix_actors._batch_ref import BatchRef
    from anthropix_actors._chat import ChatRef
    from anthropix_actors._session import SessionRef
    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.types import BatchOutcome, Event, Message, RequestCounts


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


class BatchProgress(msgspec.Struct, frozen=True):
    """A batch was made, or its counts changed.

    Attributes:
        batch: The work it belongs to; `batch.ids` are the batches that were made so far.
        counts: How many requests are in which state, over all batches of this work.
    """

    batch: BatchRef
    counts: RequestCounts


class BatchResult(msgspec.Struct, frozen=True):
    """What became of one request.

    Attributes:
        batch: The work it belongs to.
        custom_id: The name that the request was given.
        result: `result["type"]` is `succeeded`, with a `message`, or `errored`, with an `error`, `canceled` or
            `expired`.
    """

    batch: BatchRef
    custom_id: str
    result: BatchOutcome


class BatchRetrying(msgspec.Struct, frozen=True):
    """A request about a batch failed; it is sent again after `delay` seconds.

    Attributes:
        batch: The work it belongs to.
        attempt: Which attempt of that request failed; the first is 1.
        delay: Seconds until the next one.
        error: Why it failed.
    """

    batch: BatchRef
    attempt: int
    delay: float
    error: AnthropixError


class BatchDone(msgspec.Struct, frozen=True):
    """All results have been told. The last message of its work.

    Attributes:
        batch: The work it belongs to.
        counts: How many results of each type were told.
    """

    batch: BatchRef
    counts: RequestCounts


class BatchFailed(msgspec.Struct, frozen=True):
    """There will be no more results. The last message of its work; the batches go on, and can be followed again.

    When something is wrong with one of several batches, the results of the others are told first.

    Attributes:
        batch: The work it belongs to.
        error: Why; where several batches failed, the first one's error.
        failures: What went wrong with which batch, by its id; with one that was not made, by the place of its requests,
            such as `requests[0:100000]`. Empty when it was not one batch that failed, but the work.
    """

    batch: BatchRef
    error: AnthropixError
    failures: dict[str, AnthropixError] = {}


class BatchCancelled(msgspec.Struct, frozen=True):
    """Somebody cancelled the work, or nobody listened any more. The last message of its work.

    Attributes:
        batch: The work it belongs to; the batches of `batch.ids` go on unless they were cancelled at the API, too.
        reason: Why, in a few words.
        error: Why a batch could not be cancelled at the API, where that was asked for; or that one was just being made,
            and may exist without an id in `batch.ids`. Else None.
    """

    batch: BatchRef
    reason: str
    error: AnthropixError | None = None


BatchTerminal: TypeAlias = BatchDone | BatchFailed | BatchCancelled
"""The message that ends work with batches."""

BatchMessage: TypeAlias = BatchProgress | BatchResult | BatchRetrying | BatchTerminal
"""Whatever is told about batches."""


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


@runtime_checkable
class Subscriber(Protocol):
    """Anything with a `tell` method that takes one message. A `pykka.ActorRef` is one.

    `tell` is called from the chat's thread, one message at a time. It should return soon: while it runs, its chat reads
    nothing. If it raises, the subscriber counts as dead and is told nothing more.
    """

    def tell(self, message: Any, /) -> None:
        """Take one message."""
