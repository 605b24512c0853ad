"""The queue between a chat's thread and those who iterate over its events."""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.scope import SLICE
from anthropix_actors._tasks.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._wire.events import Event
    from anthropix_actors.chat.messages import Terminal


class _Iterator:
    """Stands for whoever iterates: a channel that held itself would be left to the garbage collector."""

    def tell(self, message: Any, /) -> None:
        """Take nothing: it is the channel that is told."""


_ITERATOR = _Iterator()


class EventQueue(Delivery):
    """Events to those who iterate, in other threads: a bounded queue with an end. Nobody's code runs in it."""

    def __init__(self, scope: CancelScope, size: int) -> None:
        """Hold at most `size` events."""
        super().__init__(_ITERATOR, scope, size)
        self._queue: queue.SimpleQueue[Event | Terminal] = queue.SimpleQueue()
        self._end: dict[str, Terminal] = {}  # a dict, as its setdefault is atomic
        self._full = False

    def tell_all(self, messages: Sequence[Any]) -> None:
        """Do nothing: those who iterate get events and are not told of retries."""

    def tell_events(self, events: Sequence[Event]) -> None:
        """Queue events; wait while the queue is full."""
        put, qsize, size = self._queue.put, self._queue.qsize, self._size
        for event in events:
            put(event)
            if qsize() >= size:
                self._full = True
                self._wait_for(self._has_room)
                self._full = False
                if self.detached:
                    return

    def put(self, *messages: Any) -> None:
        """Queue events, however full the queue is."""
        for message in messages:
            self._queue.put(message.data)

    def close(self, *last: Any) -> None:
        """End the queue with the last of these, a terminal message, unless it has an end."""
        *events, terminal = last
        self.put(*events)
        if self._end.setdefault("end", terminal) is terminal:
            self._queue.put(terminal)

    def get(self) -> Event | Terminal:
        """Get the next event; after the last, the terminal message, again and again. Any thread."""
        item: Event | Terminal | None
        try:
            item = self._queue.get_nowait()  # half the time of a `get` with a timeout
        except queue.Empty:
            item = None  # and not waited for here: a Ctrl-C would come with a second traceback
        if item is None:
            item = self._wait_for_item()
        if isinstance(item, dict):
            if self._full and self._has_room():
                self._scope.notify()
        else:
            self._queue.put(item)
        return item

    def _wait_for_item(self) -> Event | Terminal:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=SLICE)

    def is_alive(self) -> bool:
        """Whether somebody may still iterate."""
        return not self._end

    def _has_room(self) -> bool:
        # Half of it, so that the two threads do not wake each other for every single event.
        return self._queue.qsize() <= self._size // 2 or bool(self._end)
