"""Where messages wait for a loop of the caller's: a coroutine's, or a thread's. In the folder only.

`tell` puts a message there and returns at once. The window bounds how many there are: those that wait, and those that
the loop has taken and not handled yet.

A coroutine is woken once for all that arrives until it looks: while it is busy, `tell` is no more than an append. It
first says that it waits, and then looks once more; a `tell` first appends, and then looks whether it waits. So one of
them sees the other, without a lock.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import queue
import threading
from typing import Any

from anthropix_actors._tasks.window import CountedWindow
from anthropix_actors.errors import CancelledError, ParameterError, Problem
from anthropix_actors.subscribers.told import TERMINAL

LEFT = "the loop over the answer was left"
"""The reason of a cancel, where a loop ended before its answer."""

OF_TWO = (
    "expected one aio() for each chat, turn, batch or session, got messages of two: their events do not say whose they"
    " are"
)

_TWO_LOOPS = (
    "expected coroutines of one event loop, got those of two, which would take each other's messages: call aio(chat) in"
    " each, which may be any number"
)


class LoopInbox:
    """Messages for coroutines of one event loop: that in which they first wait.

    Attributes:
        window: Its room, for the deliveries.
        end: The terminal message, once it was taken.
        handled_in: The ident of the event loop's thread, while it may wait. `result()` is refused there.
    """

    def __init__(self) -> None:
        """Start empty, and bound to no event loop."""
        self.window = CountedWindow(self._held)
        self.end: Any = None
        self.handled_in: int | None = None
        self._arrived: collections.deque[Any] = collections.deque()
        self._taken = 0
        self._left = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._waits = False

    def tell(self, message: Any, /) -> None:
        """Take one message. Returns at once. Any thread."""
        self._arrived.append(message)
        if self._waits and self._loop is not None:
            self._waits = False
            try:
                self._loop.call_soon_threadsafe(self._event.set)
            except RuntimeError:  # the event loop is closed
                self._left = True

    def is_alive(self) -> bool:
        """Return whether a coroutine may still take messages. Any thread."""
        if self._loop is not None and self._loop.is_closed():
            self.leave()
        return self.end is None and not self._left

    def leave(self) -> None:
        """Take no more messages. Any thread."""
        self._left = True
        self.handled_in = None

    def wake(self) -> None:
        """Leave; a coroutine that waits finds that out. Any thread."""
        self.leave()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                self._loop.call_soon_threadsafe(self._event.set)

    def _held(self) -> int:
        return len(self._arrived) + self._taken

    async def burst(self) -> list[Any]:
        """Wait for messages; return all that have arrived. After the end, return it again and again.

        The messages of the burst before count as handled. Other coroutines get their turn, even if messages are there.

        Raises:
            CancelledError: it was left.
            ParameterError: coroutines of another event loop wait for its messages.
        """
        if self.end is not None:
            return [self.end]
        if self._left:
            raise CancelledError(LEFT)
        self.bind()
        self._taken = 0
        self.window.moved()
        if self._arrived:
            await asyncio.sleep(0)
        else:
            await self._arrival()
        arrived = self._arrived
        burst = [arrived.popleft() for _ in range(len(arrived))]
        self._taken = len(burst)
        if burst and type(burst[-1]) in TERMINAL:
            self.end = burst[-1]
        return burst

    def bind(self) -> None:
        """Belong to the event loop that runs this: its coroutines wait for messages. Raises as `burst`."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop, self.handled_in = loop, threading.get_ident()
        elif self._loop is not loop:
            raise ParameterError([Problem("aio()", _TWO_LOOPS)])

    async def _arrival(self) -> None:
        """Wait until a message arrives; or for less, if another coroutine takes it."""
        self._event.clear()
        self._waits = True
        if not self._arrived:
            await self._event.wait()


class ThreadInbox:
    """Messages for one thread.

    Attributes:
        window: Its room, for the deliveries.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.window = CountedWindow(self._held)
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._taken = 0

    def tell(self, message: Any, /) -> None:
        """Take one message. Returns at once. Any thread."""
        self._queue.put(message)

    def _held(self) -> int:
        return self._queue.qsize() + self._taken

    def burst(self, timeout: float) -> list[Any]:
        """Wait for messages, for at most `timeout` seconds; return all that have arrived, perhaps none.

        The messages of the burst before count as handled.
        """
        self._taken = 0
        self.window.moved()
        burst = []
        try:
            burst.append(self._queue.get(timeout=timeout))
            while True:
                burst.append(self._queue.get_nowait())
        except queue.Empty:
            self._taken = len(burst)
            return burst
