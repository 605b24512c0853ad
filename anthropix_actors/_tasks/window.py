"""How far a subscriber may be behind. Its window belongs to it: all tasks that it follows share it, in turn.

The rules:

- a task waits while the window is full, or while others wait: they go on in the order in which they came;
- whoever makes room calls `moved`, which lets as many go on as there is room for;
- a task that leaves without having used its place passes it on.
"""

from __future__ import annotations

import collections
import threading
import weakref
from typing import TYPE_CHECKING

from anthropix_actors._cancel.sweeper import SWEEPER

if TYPE_CHECKING:
    from collections.abc import Callable


_SHARES = 4
"""In how many turns a window is filled, at least: a task that has much to tell is not to hold up the others."""


class Place:
    """The place of a task in the queue of those that wait.

    Attributes:
        wake: Called without a lock, in any thread, when it is granted.
        size: The size of the window for this task.
        count: How many messages it is for.
        granted: Whether they may be told.
        left: Whether the queue was left.
    """

    __slots__ = ("count", "granted", "left", "size", "wake")

    def __init__(self, wake: Callable[[], object], size: int, count: int) -> None:
        """Wait for room for so many messages in a window of this size."""
        self.wake = wake
        self.size = size
        self.count = max(1, min(count, size // _SHARES))
        self.granted = self.left = False


class Window:
    """The window of one subscriber. Any thread.

    A subscriber that is no actor, and bounds what it holds, has one in its attribute `window`.

    Example:
        >>> import collections
        >>> held = collections.deque()
        >>> window = Window(lambda size: len(held) >= size)
        >>> window.room(256)
        1
    """

    def __init__(self, is_full: Callable[[int], bool]) -> None:
        """Ask `is_full(size)` whether the subscriber has no room: it holds `size` messages or more.

        It is called often, by any thread and with a lock held: let it only compare, and never raise.
        """
        self._is_full = is_full
        self._lock = threading.RLock()  # reentrant: a signal handler may come in the middle of it
        self._waiting: collections.deque[Place] = collections.deque()
        self._granted = 0  # messages that may be told, and may not have been yet
        self.followers = weakref.WeakSet[object]()  # the deliveries to it
        SWEEPER.fork_listeners.add(self)

    def room(self, size: int) -> int:
        """Return how many messages a task may tell before it looks again, in a window of this size.

        None if others wait for room, which they get first.
        """
        return int(not self._waiting and not self._is_full(size))

    def _share_of(self, room: int) -> int:
        return max(1, room // (len(self.followers) or 1))

    def enter(self, wake: Callable[[], object], size: int, count: int) -> Place:
        """Queue up, for `count` messages or less; `wake` is called when they may be told. In the end, call `leave`."""
        place = Place(wake, size, count)
        with self._lock:
            self._waiting.append(place)
        self.moved()  # room may have come since the caller looked
        return place

    def leave(self, place: Place) -> None:
        """Leave the queue: its messages were told, or will not be. Once is enough."""
        with self._lock:
            if place.left:
                return
            place.left = True
            if place.granted:
                self._granted -= place.count
            else:
                self._waiting.remove(place)
        self.moved()

    def moved(self, at_least: int = 0) -> None:
        """Let those go on for whom there is room, and at least so many. Call it whenever there may be more room."""
        if not self._waiting:  # whoever is about to wait looks again itself
            return
        going_on: list[Place] = []
        with self._lock:
            while self._waiting and (len(going_on) < at_least or not self._is_full_for(self._waiting[0])):
                place = self._waiting.popleft()
                place.granted = True
                self._granted += place.count
                going_on.append(place)
        for place in going_on:
            place.wake()

    def after_fork(self) -> None:
        """Forget in a forked child who waits: those are tasks of the parent, whose threads do not run there."""
        for place in self._waiting:
            place.left = True
        self._waiting.clear()
        self.followers.clear()
        self._lock, self._granted = threading.RLock(), 0

    def _is_full_for(self, place: Place) -> bool:
        return self._is_full(place.size - self._granted - place.count + 1)


class CountedWindow(Window):
    """The window of a subscriber that can tell how many messages it holds: a task looks once for several.

    Example:
        >>> held = collections.deque()
        >>> CountedWindow(lambda: len(held)).room(256)
        256
    """

    def __init__(self, held: Callable[[], int], *, at_once: int = 1) -> None:
        """Ask `held()` how many it holds, with the rules of `is_full`; an empty one has `at_once` times the room."""
        super().__init__(lambda size: held() >= size)
        self._held, self._at_once = held, at_once

    def room(self, size: int) -> int:
        """Return the task's share of the room: each of those that tell may use it before any looks again."""
        held = self._held()
        room = size - held if held else size * self._at_once
        return 0 if room <= 0 or self._waiting else self._share_of(room)
