"""What `async for` and `await` do with the messages of a task. In the folder only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anthropix_actors._tasks.waits import task_of
from anthropix_actors.chat.growth import TEXT, grown
from anthropix_actors.chat.pieces import PieceReader
from anthropix_actors.chat.ref import outcome
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
from anthropix_actors.subscribers.told import TERMINAL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator

    from anthropix_actors.chat.pieces import Piece
    from anthropix_actors.subscribers.inboxes import LoopInbox

Item = TypeVar("Item")
Result = TypeVar("Result")

_EVENTS = frozenset({ChatEvent, SessionEvent})
_NOTICES = frozenset({ChatRetrying, ChatResumed, SessionRetrying})
"""What a loop does not get, as a loop over a `Stream` does not."""


class Loops(Generic[Item, Result]):
    """What `async for` and `await` find in an `AsyncStream` and an `AsyncSubscriber`."""

    def __aiter__(self) -> AsyncGenerator[Item]:
        """Loop over the events; see `aio`. Leaving the loop early cancels a chat that nobody else follows.

        Raises:
            CancelledError: the task was cancelled.
            AnthropixError: the task failed.
        """
        return _items(self._join, self._leave)

    @property
    async def text(self) -> AsyncIterator[str]:
        """A chat's text, piece by piece, to loop over. Raises what the loop over the events raises."""
        async with contextlib.aclosing(aiter(self)) as events:  # else it would be left a turn of the event loop later
            async for event in events:
                found = grown(event) if isinstance(event, dict) else None
                if found is not None and found[0] == TEXT:
                    yield found[1]

    @property
    async def pieces(self) -> AsyncIterator[Piece]:
        """A chat's answer piece by piece, to loop over, as `Stream.pieces` has it. Raises what the loop raises."""
        reader = PieceReader()
        async with contextlib.aclosing(aiter(self)) as events:
            async for event in events:
                if isinstance(event, dict):
                    for piece in reader.read(event, resumed=getattr(task_of(self._ref), "resumed", False)):
                        yield piece

    def __await__(self) -> Generator[Any, Any, Result]:
        """Wait for the outcome, and return what `result()` returns: a Message, counts, or an event.

        Raises:
            CancelledError: the task was cancelled.
            AnthropixError: the task failed.
        """
        return self._outcome().__await__()

    _ref: Any

    def _join(self) -> LoopInbox:
        raise NotImplementedError

    def _leave(self, inbox: LoopInbox) -> None:
        raise NotImplementedError

    async def _outcome(self) -> Result:
        raise NotImplementedError


async def _items(join: Callable[[], LoopInbox], leave: Callable[[LoopInbox], None]) -> AsyncGenerator[Any]:
    """Yield what a loop gets, from joining to the end; leave if the loop is left before."""
    over, inbox = False, join()
    try:
        while True:
            for message in await inbox.burst():
                kind = type(message)
                if kind in _EVENTS:
                    yield message.data
                elif kind in TERMINAL:
                    over = True
                    result_of(message)
                    return
                elif kind not in _NOTICES:
                    yield message
    finally:
        if not over:
            leave(inbox)


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
    return outcome(terminal)
