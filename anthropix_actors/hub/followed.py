"""The blocking loop over a chat that runs elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.waits import refuse_deadlock, task_of
from anthropix_actors.chat.growth import TEXT, grown
from anthropix_actors.chat.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatResumed
from anthropix_actors.chat.pieces import PieceReader
from anthropix_actors.chat.ref import outcome
from anthropix_actors.conversation.follower import MessageQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from anthropix_actors._wire.message import Message
    from anthropix_actors.chat.messages import ChatMessage
    from anthropix_actors.chat.pieces import Piece
    from anthropix_actors.hub.ref import LogRef

_LEFT = "the loop over the chat was left"


class Followed:
    """A chat that runs elsewhere, to loop over: `Hub.follow` returns it.

    A loop that is left can be gone on with, here or on another machine: from `cursor` on. Leaving it cancels nothing.

    Example:
        >>> for text in hub.follow("answer-1").text:
        ...     print(text, end="")
        Hello!

    Attributes:
        cursor: The cursor of the last message that a loop was given; before, that from which it follows, or None.
    """

    def __init__(self, ref: LogRef, after: str | None, again: Callable[[str | None], LogRef], window: int) -> None:
        """Use `Hub.follow`."""
        self.cursor = after
        self._ref = ref
        self._again = again
        self._window = window
        self._is_begun = False
        self._loops: dict[MessageQueue, LogRef] = {}

    def __repr__(self) -> str:
        """Show the chat and the cursor."""
        return f"<{type(self).__name__} {self._ref!r} at {self.cursor}>"

    @property
    def chat(self) -> LogRef:
        """The ref of the chat: to cancel it, wherever it runs, or to subscribe others."""
        return self._ref

    def __iter__(self) -> Iterator[ChatMessage]:
        """Loop over its messages, the terminal one included. A second loop goes on after the first.

        Raises:
            DeadlockError: the loop would wait for its own thread.
        """
        ref = self._next_ref()
        refuse_deadlock(task_of(ref))
        messages, over = MessageQueue(self._window), False
        self._loops[messages] = ref
        try:
            ref.subscribe(messages)
            while not over:
                message = messages.get()
                over = isinstance(message, (ChatDone, ChatFailed, ChatCancelled))
                self.cursor = message.cursor or self.cursor
                yield message
        finally:
            self._leave(messages, over=over)

    def _next_ref(self) -> LogRef:
        if self._is_begun:
            self._ref = self._again(self.cursor)
        self._is_begun = True
        return self._ref

    def _leave(self, messages: MessageQueue, *, over: bool = False) -> None:
        ref = self._loops.pop(messages, None)
        if ref is not None and not over:
            messages.close()
            ref.unsubscribe(messages, _LEFT)

    @property
    def text(self) -> Iterator[str]:
        """The text of the answer, piece by piece, to loop over.

        Raises:
            CancelledError: the chat was cancelled.
            AnthropixError: it failed; `Lost` if who ran it has died.
        """
        for message in self._until_end():
            found = grown(message.data) if isinstance(message, ChatEvent) else None
            if found is not None and found[0] == TEXT:
                yield found[1]

    @property
    def pieces(self) -> Iterator[Piece]:
        """The answer piece by piece, to loop over, as `Stream.pieces`. Raises as `text`."""
        reader, resumed = PieceReader(), False
        for message in self._until_end():
            if isinstance(message, ChatEvent):
                yield from reader.read(message.data, resumed=resumed)
            resumed = resumed or isinstance(message, ChatResumed)

    def message(self) -> Message:
        """Wait until the answer is complete, and return the whole Message. Raises as `text`."""
        for _ in self._until_end():
            pass
        return self._ref.result()

    def result(self, timeout: float | None = None) -> Message:
        """Wait for the answer, for at most `timeout` seconds, and return the whole Message. Takes no messages.

        Raises:
            TimeoutError: there is no result yet; the chat goes on.
            CancelledError: the chat was cancelled.
            AnthropixError: it failed; `Lost` if who ran it has died.
        """
        return self._ref.result(timeout)

    def close(self) -> None:
        """Follow no longer; the chat goes on. A loop that waits in another thread ends with a `ChatCancelled`."""
        for messages, ref in [*self._loops.items()]:
            self._leave(messages)
            messages.tell(ChatCancelled(ref, _LEFT, None))

    def _until_end(self) -> Iterator[Any]:
        """Loop over all but the terminal message, and raise for that."""
        for message in self:
            if isinstance(message, (ChatDone, ChatFailed, ChatCancelled)):
                outcome(message)
            else:
                yield message

    def __enter__(self) -> Self:
        """Return the loop itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close it."""
        self.close()


publish("anthropix_actors.hub", (Followed,))
