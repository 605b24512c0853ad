"""Turns for chats: so many of a client's at once; the others wait, first come, first served.

A chat that waits has no thread and no connection, so thousands may wait. One that is cancelled while it waits is
started at once, beyond the number: all that it does is to tell its end.
"""

from __future__ import annotations

import collections
import threading
import time
from typing import TYPE_CHECKING, Protocol

from anthropix_actors._watch import SWEEPER
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_EVERY = 1.0
"""Seconds between two looks at those who wait, for whether anybody still listens: they cost nothing meanwhile."""


class Waiting(Protocol):
    """Work that may have to wait."""

    def part(self, reason: str) -> Callable[[float], object]:
        """Cancel it; get a function that waits until its subscribers have heard."""
        ...

    def sweep(self, now: float) -> None:
        """Cancel it if nobody listens."""

    def forget(self) -> None:
        """Be over, in a forked child."""

    def break_off(self, error: AnthropixError) -> None:
        """Be over, as it could not be started."""


class Slots:
    """So many may run at once. All of it may be used from any thread.

    Args:
        size: How many.
    """

    parts_first = True

    def __init__(self, size: int) -> None:
        """Start with nobody."""
        self._size = size
        self._closed = False
        # Reentrant, as a signal handler may cancel a chat while the thread it interrupts starts another.
        self._lock = threading.RLock()
        self._running = 0
        self._waiting: collections.OrderedDict[Waiting, Callable[[], None]] = collections.OrderedDict()
        self._looked = 0.0
        SWEEPER.forgetful.add(self)

    def take(self, work: Waiting, begin: Callable[[], None]) -> None:
        """Begin work now, if there is room, or else when it is its turn. What `begin` does ends with `give_back`.

        Raises:
            AnthropixError: it was to begin now, and could not.
        """
        with self._lock:
            free = self._running < self._size and not self._waiting
            if free:
                self._running += 1
            else:
                self._waiting[work] = begin
                SWEEPER.watch(self)
        if free:
            try:
                begin()
            except AnthropixError:
                self.give_back()
                raise

    def give_back(self) -> None:
        """Say that work has ended. Begins the next, in this thread."""
        with self._lock:
            self._running -= 1
            if self._closed or not self._waiting or self._running >= self._size:
                return
            work, begin = self._waiting.popitem(last=False)
            self._running += 1
            self._watch()
        self._begin(work, begin)

    def hurry(self, work: Waiting) -> None:
        """Begin work now if it waits: it was cancelled."""
        with self._lock:
            begin = self._waiting.pop(work, None)
            if begin is None:
                return
            self._running += 1
            self._watch()
        self._begin(work, begin)

    def close(self) -> None:
        """Begin nothing more, but what is cancelled."""
        self._closed = True

    def _begin(self, work: Waiting, begin: Callable[[], None]) -> None:
        try:
            begin()
        except AnthropixError as exc:
            work.break_off(exc)
            self.give_back()

    def _watch(self) -> None:
        if not self._waiting:
            SWEEPER.unwatch(self)

    # By the sweeper

    def sweep(self, now: float) -> None:
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            for work in self._those_waiting():
                work.sweep(now)

    def part(self, reason: str) -> Callable[[float], object]:
        """Cancel all that wait, and begin no more; get a function that waits until their subscribers have heard."""
        self.close()
        partings = [work.part(reason) for work in self._those_waiting()]

        def heard(timeout: float) -> None:
            deadline = time.monotonic() + timeout
            for wait in partings:
                wait(max(0.0, deadline - time.monotonic()))

        return heard

    def forget(self) -> None:
        """Start afresh in a forked child: those who run, and those who wait, are the parent's."""
        self._lock = threading.RLock()
        waiting, self._waiting = self._waiting, collections.OrderedDict()
        self._running = 0
        for work in waiting:
            work.forget()

    def _those_waiting(self) -> list[Waiting]:
        with self._lock:
            return list(self._waiting)
