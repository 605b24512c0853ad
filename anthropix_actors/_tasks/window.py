"""How far a subscriber may be behind. Its window belongs to it: all tasks that it follows share it, in turn.

The rules:

- a task waits while the window is full, or while others wait: they go on in the order in which they came;
- whoever makes room calls `moved`, which lets as many go on as there is room for;
- a task that leaves without having used its place passes it on.
"""

from __future__ import annotations

import collections
import threading
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any

from anthropix_actors._tasks.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.subscriber import Subscriber


_SHARES = 4
"""In how many turns a window is filled, at least: a task that has much to tell is not to hold up the others."""


class Place:
    """The place of a task in the queue of those that wait.

    Attributes:
        count: How many messages it is for.
        granted: Whether they may be told.
    """

    __slots__ = ("count", "granted", "scope", "size")

    def __init__(self, scope: CancelScope, size: int, count: int) -> None:
        """Wait through a scope, for room for so many messages in a window of this size."""
        self.scope = scope
        self.size = size
        self.count = max(1, min(count, size // _SHARES))
        self.granted = False


class Window:
    """The window of one subscriber. Any thread.

    A subscriber that is no actor, and bounds what it holds, has one in its attribute `window`.

    Example:
        >>> import collections
        >>> held = collections.deque()
        >>> window = Window(lambda size: len(held) >= size)
        >>> window.has_room(256)
        True
    """

    def __init__(self, is_full: Callable[[int], bool]) -> None:
        """Ask `is_full(size)` whether the subscriber has no room: it holds `size` messages or more.

        It is called often, by any thread and with a lock held: let it only compare.
        """
        self._is_full = is_full
        self._lock = threading.RLock()  # reentrant: a signal handler may come in the middle of it
        self._waiting: collections.deque[Place] = collections.deque()
        self._granted = 0  # messages that may be told, and may not have been yet

    def has_room(self, size: int) -> bool:
        """Return whether a task may tell one more, in a window of this size: there is room, and nobody waits for it."""
        return not self._waiting and not self._is_full(size)

    def enter(self, scope: CancelScope, size: int, count: int) -> Place:
        """Queue up, for `count` messages or less. The caller waits through its scope until the place is granted.

        Then, or when it gives up, it calls `leave`.
        """
        place = Place(scope, size, count)
        with self._lock:
            self._waiting.append(place)
        self.moved()  # room may have come since the caller looked
        return place

    def leave(self, place: Place) -> None:
        """Leave the queue: its messages were told, or will not be."""
        with self._lock:
            if place.granted:
                self._granted -= place.count
            else:
                self._waiting.remove(place)
        self.moved()

    def moved(self, at_least: int = 0) -> None:
        """Let those go on for whom there is room, and at least so many. Call it whenever there may be more room."""
        going_on: list[Place] = []
        with self._lock:
            while self._waiting and (len(going_on) < at_least or not self._is_full_for(self._waiting[0])):
                place = self._waiting.popleft()
                place.granted = True
                self._granted += place.count
                going_on.append(place)
        for place in going_on:
            place.scope.notify()

    def _is_full_for(self, place: Place) -> bool:
        return self._is_full(place.size - self._granted - place.count + 1)


class WindowDelivery(Delivery):
    """Delivery to a subscriber with a window: the task waits for room through its scope, not in the `tell`."""

    def __init__(self, subscriber: Subscriber, scope: CancelScope, size: int, window: Window) -> None:
        super().__init__(subscriber, scope, size)
        self._window = window
        self._behind: Callable[[], int] = int  # a cheap look at how far it is behind; `int()` is 0
        self._near = 0  # from how far on the window is asked
        self._kept: collections.deque[Any] | None = None  # only the thread with the turn touches it
        self._keeps = False  # whether what there is no room for is kept, and not waited for

    # In the task's thread

    def offer_all(self, messages: Iterable[Any], keep: Callable[[], collections.deque[Any]]) -> None:
        """Send the messages that there is room for; keep the others, to be told before all later ones."""
        if self._kept is None:
            self._kept = keep()
        self._keeps = True
        try:
            self.tell_all(messages)
        finally:
            self._keeps = False

    @property
    def is_behind(self) -> bool:
        """Whether messages are kept, and there is no room for them."""
        return bool(self._kept) and not self.detached and not self._has_room()

    def line_up(self) -> Place:
        """Queue up for what is kept: the caller waits for the place, and calls `catch_up`."""
        return self._window.enter(self._scope, self._size, len(self._kept or ()))

    def catch_up(self, place: Place) -> None:
        """Tell as much of what is kept as there is room for, and leave the queue.

        Raises:
            Gone: the subscriber takes no more messages.
        """
        mine = object()
        try:
            if place.granted and self._takes_turn(mine):
                self._tell_some(self._out_of_kept(), place.count)
        finally:
            if self._turn is mine:
                self._turn = None
            self._window.leave(place)
        if self._waiting:
            self.drain()

    def _tell_each(self, messages: Iterable[Any]) -> None:
        """Send messages, each when there is room. All in one loop, as this is where the time goes."""
        if self._kept:
            self._kept.extend(messages)
            self._tell_kept()
            return
        scope, tell, behind, near = self._scope, self.subscriber.tell, self._behind, self._near
        left = iter(messages)
        if behind() >= near and not self._has_room():
            self._wait_or_keep(left)
        if self.detached:
            return
        for message in left:
            try:
                tell(message)
            except BaseException as exc:  # as in `_tell_now`
                raise self._gone(exc) from exc
            if scope.cause is not None:
                scope.check()
            if behind() >= near and not self._has_room():
                self._wait_or_keep(left)
            if self.detached:
                return

    def _tell_kept(self) -> None:
        kept = self._out_of_kept()
        while self._kept and not self.detached:
            if self._has_room():
                self._tell_some(kept, 1)
            elif self._keeps:
                return
            else:
                self._tell_in_turn(kept)

    def _out_of_kept(self) -> Iterator[Any]:
        while self._kept:
            yield self._kept.popleft()

    def _wait_or_keep(self, left: Iterator[Any]) -> None:
        if self._keeps and self._kept is not None:
            self._kept.extend(left)
        else:
            self._tell_in_turn(left)

    def _tell_in_turn(self, left: Iterator[Any]) -> None:
        """Wait for room if there is more to tell, and tell as much of it as there is room for."""
        count = length_hint(left, 1)
        if not count:
            return
        place = self._window.enter(self._scope, self._size, count)
        try:
            self._wait_for(lambda: place.granted or self.has_ended)
            self._tell_some(left, place.count)
        finally:
            self._window.leave(place)

    def _tell_some(self, left: Iterator[Any], count: int) -> None:
        if not self.detached:
            for message in islice(left, count):
                self._tell_now(message)
                self._scope.check()
                if self.detached:
                    return

    def _has_room(self) -> bool:
        """Return whether it may be told one more.

        Raises:
            Gone: the subscriber takes no more messages.
        """
        try:
            return self._window.has_room(self._size)
        except BaseException as exc:  # of the subscriber, too
            raise self._gone(exc) from exc

    @property
    def has_ended(self) -> bool:
        """Whether it will never make room again."""
        return False

    # In any thread

    def _tell_waiting(self) -> None:
        for message in self._out_of_kept():
            self._tell_now(message)
        super()._tell_waiting()
