"""Delivery to a subscriber with a window: what there is no room for waits, or is kept while others go on."""

from __future__ import annotations

import sys
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.scope import SLICE
from anthropix_actors._tasks.delivery import Delivery

if TYPE_CHECKING:
    import collections
    from collections.abc import Iterable, Iterator

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.delivery import Keep
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.window import Place, Window


class WindowDelivery(Delivery):
    """Delivery to a subscriber with a window: the task waits for room through its scope, not in the `tell`."""

    def __init__(self, subscriber: Subscriber, scope: CancelScope, size: int, window: Window) -> None:
        super().__init__(subscriber, scope, size)
        self._window = window
        window.followers.add(self)
        self._kept: collections.deque[Any] | None = None  # only the thread with the turn touches it
        self._keep: Keep | None = None  # what keeps what there is no room for, as soon as there are others
        self._place: Place | None = None  # the place in the window's queue for what is kept

    # In the task's thread

    def offer_all(self, messages: Iterable[Any], keep: Keep) -> None:
        """Send the messages that there is room for; keep the others, to be told when there is, before later ones."""
        self._keep = keep
        try:
            self.tell_all(messages)
        finally:
            self._keep = None

    def _keeps(self) -> bool:
        """Return whether what there is no room for is kept, and not waited for: others would be held up."""
        return self._keep is not None and self._keep() is not None

    @property
    def is_behind(self) -> bool:
        """Whether messages are kept for it."""
        return bool(self._kept) and not self.detached and not self.has_ended

    def _tell_each(self, messages: Iterable[Any]) -> None:
        """Send messages, as many at a time as there is room for."""
        if self._kept:
            self._tell_after_kept(messages)
            return
        left = iter(messages)
        while length_hint(left) and not self.detached:
            if room := self._room():
                self._tell_some(islice(left, room))
            else:
                self._wait_or_keep(left)

    def _tell_some(self, messages: Iterable[Any]) -> None:
        """Send messages without a look at the room. All in one loop, as this is where the time goes."""
        scope, tell = self._scope, self.subscriber.tell
        for message in messages:
            try:
                tell(message)
            except BaseException as exc:  # as in `_tell_now`
                raise self._gone(exc) from exc
            if scope.cause is not None:
                scope.check()
            if self.detached:
                return

    def _room(self) -> int:
        """Return how many messages may be told before the next look.

        Raises:
            Gone: the subscriber takes no more messages.
        """
        try:
            return self._window.room(self._size)
        except BaseException as exc:  # of the subscriber, too
            raise self._gone(exc) from exc

    def _wait_or_keep(self, left: Iterator[Any]) -> None:
        make = None if self._keep is None else self._keep()
        if make is None:
            self._tell_in_turn(left)
            return
        if self._kept is None:
            self._kept = make()
        self._kept.extend(left)
        self._line_up()

    def _tell_after_kept(self, messages: Iterable[Any]) -> None:
        """Add messages to those that are kept; without others to go on for, wait until all have been told."""
        assert self._kept is not None
        self._kept.extend(messages)
        if not self._keeps():
            self._give_place_up()
            kept = self._out_of_kept()
            while self._kept and not self.detached and not self._keeps():
                self._tell_in_turn(kept)
            if self._kept and not self.detached:  # another has joined meanwhile
                self._line_up()

    def _tell_in_turn(self, left: Iterator[Any]) -> None:
        """Wait for room, and tell as much as there is room for."""
        place = self._window.enter(self._scope.notify, self._size, length_hint(left, 1))
        try:
            while not self._scope.wait(lambda: place.granted or self._waits_no_more(), SLICE):
                self._window.moved()  # nobody may have noticed that there is room: some inboxes change the order
            if not self.detached and (place.granted or self.has_ended):
                self._tell_some(islice(left, place.count))
        finally:
            self._window.leave(place)

    def _waits_no_more(self) -> bool:
        return self.detached or self.has_ended or self._keeps()

    @property
    def has_ended(self) -> bool:
        """Whether it will never make room again."""
        return False

    # What is kept. In the thread that has the turn

    def _out_of_kept(self) -> Iterator[Any]:
        while self._kept:
            yield self._kept.popleft()

    def _line_up(self) -> None:
        """Queue up for what is kept; when there is room, another thread sends it, as the task's may wait for bytes."""
        assert self._kept
        self._give_place_up()
        self._place = self._window.enter(self.drain_in_background, self._size, len(self._kept))

    def _give_place_up(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            self._window.leave(place)

    def _is_due(self) -> bool:
        return super()._is_due() or (self._place is not None and self._place.granted)

    def _tell_waiting(self) -> None:
        place = self._place
        if self._closed:
            self._tell_kept(sys.maxsize)
        elif place is not None and place.granted:
            self._tell_kept(place.count)
        self._give_place_up()
        if self._closed or not self._kept:
            super()._tell_waiting()
        else:
            self._kept.extend(self._waiting)  # told meanwhile
            self._waiting.clear()
            self._line_up()

    def _tell_kept(self, count: int) -> None:
        for message in islice(self._out_of_kept(), count):
            if self.detached or self._scope.cause is not None:  # nothing is told after a cancel but the end
                return
            self._tell_now(message)

    # In any thread

    def detach(self) -> None:
        super().detach()
        self._give_place_up()
