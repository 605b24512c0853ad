"""The queue between a chat's thread and the threads that iterate over its events."""

from __future__ import annotations

import collections
import queue
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.scope import SLICE
from anthropix_actors._tasks.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._wire.events import Event
    from anthropix_actors.chat.messages import Terminal


class _Iterator:
    """Placeholder for the iterating thread: a queue that referred to itself would be a cycle."""

    def tell(self, message: Any, /) -> None:
        """Do nothing: the messages go to the queue."""


_ITERATOR = _Iterator()


class EventQueue(Delivery):
    """Delivery to the threads that iterate: a bounded queue with an end. It runs no foreign code."""

    takes_events = True

    def __init__(self, scope: CancelScope, size: int) -> None:
        """Hold at most `size` events."""
        super().__init__(_ITERATOR, scope, size)
        self._items: collections.deque[Event | Terminal] = collections.deque()  # its methods are atomic
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()  # a token in it says: look again
        self._end: dict[str, Terminal] = {}  # a dict, as its setdefault is atomic
        self._full = False

    def tell_all(self, messages: Iterable[Any]) -> None:
        """Do nothing: a loop gets events, and no messages such as retries. In the chat's thread."""

    def tell_events(self, events: Sequence[Event]) -> None:
        """Queue events; wait while the queue is full. In the chat's thread."""
        begin = 0
        while begin < len(events) and not self.detached:
            room = max(0, self._size - len(self._items))
            self._add(events[begin : begin + room])
            begin += room
            if len(self._items) >= self._size:
                self._full = True
                self._wait_for(self._has_room)
                self._full = False

    def put(self, *messages: Any) -> None:
        """Queue events, however full the queue is. Any thread."""
        self._add([message.data for message in messages])

    def close(self, *last: Any) -> None:
        """Queue the last messages; the final one, the terminal message, ends the queue, once. Any thread."""
        *events, terminal = last
        self.put(*events)
        if self._end.setdefault("end", terminal) is terminal:
            self._add((terminal,))

    def _add(self, items: Sequence[Event | Terminal]) -> None:
        self._items.extend(items)
        if not self._news.qsize():  # one is enough, whoever takes it
            self._news.put(None)

    def get(self) -> Event | Terminal:
        """Return the next event; after the last, the terminal message, again and again. Any thread."""
        item: Event | Terminal | None
        try:
            item = self._items.popleft()
        except IndexError:
            item = None  # do not wait here: a Ctrl-C would come with a second traceback
        if item is None:
            item = self._wait_for_item()
        if isinstance(item, dict):
            if self._full and self._has_room():
                self._scope.notify()
        else:
            self._add((item,))
        return item

    def _wait_for_item(self) -> Event | Terminal:
        while True:
            try:  # not `suppress`: a stream that is calm comes here for each event
                self._news.get(timeout=SLICE)
                item = self._items.popleft()
            except (queue.Empty, IndexError):  # the token may be an old one
                continue
            if self._items and not self._news.qsize():  # another loop may have missed the token
                self._news.put(None)
            return item

    def is_alive(self) -> bool:
        """Return whether a thread may still iterate."""
        return not self._end

    def _has_room(self) -> bool:
        # Low-water mark at half, so that the two threads do not wake each other for every single event.
        return len(self._items) <= self._size // 2 or bool(self._end)
