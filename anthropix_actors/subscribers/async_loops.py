"""What `async for` and `await` do with the messages of a task. In the folder only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anthropix_actors._tasks.waits import task_of
from anthropix_actors.chat.growth import TEXT, grown
from anthropix_actors.chat.pieces import PieceReader
from anthropix_actors.chat.ref import outcome
from anthropix_actors.conversation.messages import TurnCancelled, TurnDone, TurnFailed, TurnSuspended
from anthropix_actors.conversation.turn_ref import TurnRef
from anthropix_actors.conversation.turn_ref import outcome as outcome_of_turn
from anthropix_actors.errors import CancelledError
from anthropix_actors.messages import (
    BatchCancelled,
    BatchDone,
    BatchFailed,
    ChatEvent,
    ChatResumed,
    ChatRetrying,
    SessionCancelled,
    SessionDone,
    SessionEvent,
    SessionFailed,
    SessionRetrying,
)
from anthropix_actors.subscribers.told import TERMINAL, Answers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator
    from typing import Self

    from anthropix_actors._wire.events import Event
    from anthropix_actors.chat.pieces import Piece
    from anthropix_actors.subscribers.inboxes import LoopInbox

Item = TypeVar("Item")
Result = TypeVar("Result")

_EVENTS = frozenset({ChatEvent, SessionEvent})
_NOTICES = frozenset({ChatRetrying, ChatResumed, SessionRetrying})
"""What a loop does not get, as a loop over a `Stream` does not. One over a turn does, as over a `TurnRef`."""


class Loops(Generic[Item, Result]):
    """What `async for` and `await` find in an `AsyncStream` and an `AsyncSubscriber`."""

    def __aiter__(self) -> AsyncGenerator[Item]:
        """Loop over the events; see `aio`. Leaving the loop early cancels a task that nobody else follows.

        Raises:
            CancelledError: the task was cancelled. A turn's loop gets that as its last message instead.
            AnthropixError: the task failed; as above.
        """
        return self._items()

    @property
    async def text(self) -> AsyncIterator[str]:
        """The text of a chat, or of a turn's answers, piece by piece, to loop over. Raises what `await` raises."""
        async with contextlib.aclosing(self._events()) as events:  # else it would be left some time later
            async for _, event in events:
                found = grown(event)
                if found is not None and found[0] == TEXT:
                    yield found[1]

    @property
    async def pieces(self) -> AsyncIterator[Piece]:
        """The answer of a chat, or those of a turn, piece by piece, as `Stream.pieces`. Raises what `await` raises."""
        reader, before = PieceReader(), None
        async with contextlib.aclosing(self._events()) as events:
            async for chat, event in events:
                if chat is not before:  # the next answer of a turn
                    reader, before = PieceReader(), chat
                for piece in reader.read(event, resumed=getattr(task_of(chat), "resumed", False)):
                    yield piece

    def __await__(self) -> Generator[Any, Any, Result]:
        """Wait for the outcome, and return what `result()` returns: a Message, counts, or an event.

        Raises:
            CancelledError: the task was cancelled.
            AnthropixError: the task failed.
        """
        return self._outcome().__await__()

    async def __aenter__(self) -> Self:
        """Return itself: `async with aio(chat) as stream`, so that all of its loops are left with the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave its loops that have not ended, which cancels a task that nobody else follows. Returns at once."""
        self._close()

    _ref: Any

    def _close(self) -> None:
        raise NotImplementedError

    def _join(self) -> LoopInbox:
        raise NotImplementedError

    def _leave(self, inbox: LoopInbox) -> None:
        raise NotImplementedError

    async def _outcome(self) -> Result:
        raise NotImplementedError

    async def _items(self) -> AsyncGenerator[Any]:
        """Yield what a loop gets, from joining to the end; leave if the loop is left before."""
        over, inbox = False, self._join()
        try:
            while True:
                for message in await inbox.burst():
                    kind = type(message)
                    over = kind in TERMINAL
                    if isinstance(self._ref, TurnRef):  # known by the first message at the latest
                        yield message
                    elif kind in _EVENTS:
                        yield message.data
                    elif over:
                        result_of(message)
                    elif kind not in _NOTICES:
                        yield message
                    if over:
                        return
        finally:
            if not over:
                self._leave(inbox)

    async def _events(self) -> AsyncGenerator[tuple[Any, Event]]:
        """Yield the events alone, each with its chat, or what it is of. Raises what `await` raises."""
        answers = Answers()
        async with contextlib.aclosing(self._items()) as items:
            async for item in items:
                if isinstance(item, dict):
                    yield self._ref, item  # type: ignore[misc] # as the API has them
                elif type(item) in TERMINAL:  # a turn's
                    result_of(item)
                else:
                    for event in answers.events_of(item):
                        yield item.chat, event


def result_of(terminal: Any) -> Any:
    """Return what `result()` of a task's ref returns, by the task's terminal message.

    Raises:
        AnthropixError: the task failed, or was cancelled.
    """
    match terminal:
        case BatchDone(counts=counts):
            return counts
        case SessionDone(event=event):
            return event
        case BatchFailed(error=error) | SessionFailed(error=error):
            raise error.with_traceback(None)  # or the traceback would grow with each call
        case BatchCancelled(reason=reason) | SessionCancelled(reason=reason):
            raise CancelledError(reason)
        case TurnDone() | TurnFailed() | TurnCancelled() | TurnSuspended():
            return outcome_of_turn(terminal)
    return outcome(terminal)
