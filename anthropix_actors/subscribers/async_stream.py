"""`aio`: a task in a coroutine, which loops over its events and awaits its outcome. For asyncio.

No thread waits for a coroutine, and no coroutine for a lock that is held for long: the task's thread puts messages into
an inbox, and waits through its own scope while that is full. Leaving is posted to the sweeper's thread, as a loop may
be left in a finalizer, which must not wait for any lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from anthropix_actors._calls.item_stream import ItemStream
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.delivery import Delivery
from anthropix_actors._tasks.of_one import OfOne
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors._tasks.waits import task_of
from anthropix_actors.chat.ref import ChatRef
from anthropix_actors.chat.stream import Stream
from anthropix_actors.conversation.ref import ConversationRef
from anthropix_actors.conversation.turn_ref import TurnRef
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.messages import ChatEvent
from anthropix_actors.subscribers.async_loops import Item, Loops, Result, result_of
from anthropix_actors.subscribers.inboxes import LEFT, OF_TWO, LoopInbox
from anthropix_actors.subscribers.told import OF_A_TURN, ref_of, whole_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._tasks.task import Task
    from anthropix_actors._wire.events import Event
    from anthropix_actors._wire.message import Message
    from anthropix_actors._wire.resources import RequestCounts
    from anthropix_actors.batches.ref import BatchRef
    from anthropix_actors.sessions.ref import SessionRef

_LATE = (
    "expected a chat or a turn to loop over, got a {}, whose messages so far cannot be had again: make the subscriber"
    " first, with messages = aio(), and loop over that; await works with any"
)


class AsyncStream(Loops[Item, Result]):
    """A chat or a turn, to loop over in coroutines; or any task, to await. `aio` returns it.

    Each loop gets the whole answer: what was said before it began comes in events that rebuild it. So any number of
    coroutines may loop, or wait, in any number of event loops, also after the end. A chat that nobody follows or waits
    for any more is cancelled.

    Example:
        >>> import asyncio
        >>> async def ask(question):
        ...     events = aio(client.chat(model="claude-sonnet-5", messages=question, stream=True))
        ...     return [event["type"] async for event in events][-1], (await events)["stop_reason"]
        >>> asyncio.run(ask(hello))
        ('message_stop', 'end_turn')
    """

    _ref: TaskRef[Any]

    def __init__(self, ref: TaskRef[Any], stream: Stream | None = None) -> None:
        """Use `aio`."""
        self._ref = ref
        self._inboxes = weakref.WeakSet[LoopInbox]()  # of the loops
        self._stream = stream  # kept, as its loss would cancel the chat; closed when somebody else follows

    @property
    def ref(self) -> TaskRef[Any]:
        """The ref of the task: to cancel it, from any thread."""
        return self._ref

    def _join(self) -> LoopInbox:
        if not isinstance(self._ref, (ChatRef, TurnRef)):
            raise ParameterError([Problem("work", _LATE.format(task_of(self._ref).what))])
        if whole_of(self._ref) is not self._ref:
            raise ParameterError([Problem("work", OF_A_TURN)])
        inbox = LoopInbox()
        self._inboxes.add(inbox)
        self._ref.subscribe(inbox)
        self._release()
        return inbox

    def _leave(self, inbox: LoopInbox) -> None:
        inbox.leave()
        SWEEPER.post(partial(self._ref.unsubscribe, inbox, LEFT))

    def _close(self) -> None:
        for inbox in list(self._inboxes):
            inbox.wake()
            self._leave(inbox)
        self._release()

    def _release(self) -> None:
        if self._stream is not None:
            self._stream.close()

    async def _outcome(self) -> Result:
        over, waiter = False, _Waiter(task_of(self._ref))
        try:
            waiter.join()
            self._release()
            terminal = await waiter.arrival
            over = True
        finally:
            task_of(self._ref).audience.waiting.discard(waiter)
            if over:
                waiter.leave()
            else:
                SWEEPER.post(waiter.leave)
        result: Result = result_of(terminal)
        return result


class AsyncSubscriber(LoopInbox, OfOne, Loops[Any, Any]):
    """A subscriber for one chat, turn, batch or session, to loop over, or to await. `aio()` returns it.

    Example:
        >>> import asyncio
        >>> from anthropix_actors import BatchResult
        >>> async def run(requests):
        ...     messages = aio()
        ...     client.batches.run(requests, messages, poll=0.01)
        ...     async for message in messages:
        ...         if isinstance(message, BatchResult):
        ...             print(message.custom_id, message.result["type"])
        >>> asyncio.run(run([{"custom_id": "first", "params": {"model": "claude-sonnet-5", "messages": hello}}]))
        first succeeded
    """

    def __init__(self) -> None:
        """Use `aio`."""
        super().__init__()
        self._ref: Any = None
        self._loops = 0

    async def burst(self) -> list[Any]:
        """Wait for messages, which must be of one task; see `LoopInbox`.

        Raises:
            ParameterError: they are of two.
        """
        burst = await super().burst()
        known = self._ref
        for message in burst:
            ref = whole_of(message.chat) if type(message) is ChatEvent else ref_of(message)
            if ref is not known and ref is not None:
                if known is not None:
                    raise ParameterError([Problem("aio()", OF_TWO)])
                known = self._ref = ref
        return burst

    def _join(self) -> LoopInbox:
        self._loops += 1
        return self

    def _leave(self, inbox: LoopInbox) -> None:  # noqa: ARG002 - itself
        self._loops -= 1
        if not self._loops:
            self._unfollow()

    def _close(self) -> None:
        if self.end is None:
            self.wake()
            self._unfollow()

    def _unfollow(self) -> None:
        self.leave()
        if self._ref is not None:  # else the sweeper finds out
            SWEEPER.post(partial(self._ref.unsubscribe, self, LEFT))

    async def _outcome(self) -> Any:
        async for _ in self:
            pass
        return result_of(self.end)


@overload
def aio() -> AsyncSubscriber: ...
@overload
def aio(work: Stream | ChatRef) -> AsyncStream[Event, Message]: ...
@overload
def aio(work: TurnRef) -> AsyncStream[Any, Message]: ...
@overload
def aio(work: BatchRef) -> AsyncStream[Any, RequestCounts]: ...
@overload
def aio(work: SessionRef) -> AsyncStream[Any, dict[str, Any]]: ...
def aio(work: Any = None) -> AsyncStream[Any, Any] | AsyncSubscriber:
    """Return a chat, turn, batch or session as something to `await`, and to loop over with `async for`, in asyncio.

    A chat: `aio(client.chat(..., stream=True))`, or `aio(chat)` of any `ChatRef`. The loop gets the same events as one
    over a `Stream`, and ends as that does. `.text` has only the text, `.pieces` what a `Stream`'s has; `await` waits
    for the whole Message.

    A turn: `aio(talk.say(...))`. The loop gets the same messages as one over a `TurnRef`, the terminal one included, so
    it raises nothing; `.text` has the text of all its answers, and `await` waits for the last one. A loop that is left
    early cancels the turn unless others follow it; an `await` that is cancelled does not.

    A batch, a session: a subscriber of their own, `messages = aio()`, then `client.batches.run(requests, messages)` or
    `client.sessions.events(session, stream=messages)`. The loop gets a batch's messages, but for the last one, or a
    session's events; `await messages` skips them, and waits for what `result()` returns. `await aio(ref)` does so for
    any ref, however it is followed. An `aio()` that nobody reads makes its task wait when it is full.

    A loop that is slower than the answer makes the chat, and so the server, wait: at most `window` events are ahead of
    it. Leaving a loop early (`break`, an error, a cancelled coroutine) cancels the chat, unless others follow it; so
    does an event loop that was closed. This function may be called in any thread, and the client's methods, except
    those that wait for an answer, in coroutines.

    Args:
        work: A `Stream` or a ref; nothing for a subscriber.

    Raises:
        ParameterError: `work` is something else.

    Example:
        >>> import asyncio
        >>> async def ask(question):
        ...     async for text in aio(client.chat(model="claude-sonnet-5", messages=question, stream=True)).text:
        ...         print(text, end="")
        >>> asyncio.run(ask(hello))
        Hello!
    """
    if work is None:
        return AsyncSubscriber()
    if isinstance(work, Stream):
        return AsyncStream(work.chat, work)
    if isinstance(work, TaskRef):
        return AsyncStream(work)
    raise ParameterError(
        [Problem("work", f"expected a stream, or the ref of a chat, a turn, a batch or a session, got {_what(work)}")]
    )


def _what(work: object) -> str:
    """Return what something is that is no task, and what to do."""
    if isinstance(work, Mapping):
        return "a mapping: a chat's Message is there without waiting; pass stream=True to have a stream"
    if isinstance(work, ConversationRef):
        return "a ConversationRef: pass a turn of it, which say(...) returns"
    if isinstance(work, ItemStream):
        return "an ItemStream, whose loop blocks its thread: pass stream=aio() and loop over that"
    return type(work).__name__


class _Waiter:
    """A coroutine that waits for a task, as a done callback. The sweeper finds out if its event loop was closed."""

    cancel_first = False

    def __init__(self, task: Task) -> None:
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._callback = Delivery(self, task.scope)
        self.arrival: asyncio.Future[Any] = self._loop.create_future()

    def join(self) -> None:
        self._task.audience.waiting.add(self)
        self._task.audience.add_callback(self._callback)
        if not self._task.finished.is_set():
            SWEEPER.watch(self)

    def leave(self) -> None:
        """Wait no longer. Takes locks: a finalizer posts it."""
        SWEEPER.unwatch(self)
        self._task.audience.waiting.discard(self)
        self._task.audience.remove_callback(self._callback)
        self._task.audience.cancel_if_abandoned()

    def tell(self, message: Any, /) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed, and nobody waits there
            self._loop.call_soon_threadsafe(self._arrive, message)

    def _arrive(self, message: Any) -> None:
        if not self.arrival.done():  # the coroutine may have been cancelled
            self.arrival.set_result(message)

    # As the sweeper sees it

    def sweep(self, now: float) -> None:  # noqa: ARG002 - the name is the protocol's
        if self._loop.is_closed():
            self.leave()

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:  # noqa: ARG002 - as above
        return bool  # nothing to cancel, or to wait for: the task is watched itself

    def after_fork(self) -> None:
        """Have nothing to do: the task ends itself in a forked child."""


publish("anthropix_actors.subscribers", (aio, AsyncStream, AsyncSubscriber))
