"""Turns for chats: so many of a client's at once; the others wait, first come, first served.

A chat that waits has no thread and no connection, so thousands may wait. One that is cancelled while it waits is
started at once, beyond the number: all that it does is to tell its end.
"""

from __future__ import annotations

import collections
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._tasks.task import Task

LOOK_EVERY = 1.0
"""Seconds between two looks at those who wait, for whether anybody still listens: they cost nothing meanwhile."""


class Slots:
    """So many may run at once. All of it may be used from any thread.

    Args:
        size: How many.

    Attributes:
        lock: Held for moments, and never while foreign code runs.
    """

    cancel_first = True

    def __init__(self, size: int) -> None:
        """Start with nobody."""
        self._size = size
        self._closed = False
        # Reentrant, as a signal handler may cancel a chat while the thread it interrupts starts another.
        self.lock = threading.RLock()
        self._running: set[Task] = set()
        self._waiting: collections.OrderedDict[Task, Callable[[], None]] = collections.OrderedDict()
        self._looked = 0.0
        SWEEPER.fork_listeners.add(self)

    def take(self, work: Task, begin: Callable[[], None]) -> None:
        """Begin work now, if there is room, or else when it is its turn. It ends with `give_back`, however it ends.

        Raises:
            AnthropixError: it was to begin now, and could not.
        """
        with self.lock:
            free = len(self._running) < self._size and not self._waiting
            if free:
                self._running.add(work)
            else:
                self._waiting[work] = begin
                SWEEPER.watch(self)
        if free:
            begin()

    def __repr__(self) -> str:
        """Show how many tasks run, and how many wait."""
        return f"<Slots {len(self._running)} of {self._size} taken, {len(self._waiting)} waiting>"

    def release(self, work: Task) -> None:
        """Forget work, whether it runs or waits; begin nothing. Again does nothing."""
        with self.lock:
            self._running.discard(work)
            self._waiting.pop(work, None)
            self._unwatch()

    def give_back(self, work: Task) -> None:
        """Say that work has ended. Begins those whose turn it is, in this thread."""
        self.release(work)
        self._begin_next()

    def before(self, work: Task) -> tuple[Task, ...]:
        """Get those that have a turn while this one waits for its own; none when it does not wait for one of them."""
        with self.lock:
            full = len(self._running) >= self._size  # else whoever has made room is about to begin the next
            return tuple(self._running) if full and work in self._waiting else ()

    def start_cancelled(self, work: Task) -> None:
        """Begin work now if it waits: it was cancelled."""
        try:
            with self.lock:
                begin = self._waiting.pop(work, None)
                if begin is not None:
                    self._running.add(work)
                    self._unwatch()
            if begin is not None:
                begin()
        except BaseException as exc:
            work.abort(AnthropixError("interrupted"))  # if it has a thread by now, that ends it
            if not isinstance(exc, AnthropixError):
                raise

    def close(self) -> None:
        """Begin nothing more, but what is cancelled."""
        self._closed = True

    def _begin_next(self) -> None:
        """Begin work as long as there is room.

        What finds no thread waits on, at the head of the queue, while other work runs that will give its thread back;
        where none does, it is over, and the next one tries.
        """
        while (found := self._next()) is not None:
            work, begin = found
            try:
                begin()
            except AnthropixError as exc:
                if self._put_back(work, begin):
                    return
                work.abort(exc)

    def _next(self) -> tuple[Task, Callable[[], None]] | None:
        with self.lock:
            if self._closed or not self._waiting or len(self._running) >= self._size:
                return None
            work, begin = self._waiting.popitem(last=False)
            self._running.add(work)
            self._unwatch()
            return work, begin

    def _put_back(self, work: Task, begin: Callable[[], None]) -> bool:
        with self.lock:
            self._running.discard(work)
            if not self._running:
                return False
            self._waiting[work] = begin
            self._waiting.move_to_end(work, last=False)
            SWEEPER.watch(self)
            return True

    def _unwatch(self) -> None:
        if not self._waiting:
            SWEEPER.unwatch(self)

    # By the sweeper

    def sweep(self, now: float) -> None:
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            for work in self._those_waiting():
                work.sweep(now)
            self._begin_next()  # what found no thread

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel all that wait, and begin no more; get a function that waits until their subscribers have heard."""
        self.close()
        partings = [work.cancel_and_join(reason) for work in self._those_waiting()]

        def heard(timeout: float) -> None:
            deadline = time.monotonic() + timeout
            for wait in partings:
                wait(max(0.0, deadline - time.monotonic()))

        return heard

    def after_fork(self) -> None:
        """Start afresh in a forked child: those who run, and those who wait, are the parent's."""
        self.lock = threading.RLock()
        waiting, self._waiting = self._waiting, collections.OrderedDict()
        self._running = set()
        for work in waiting:
            work.after_fork()

    def _those_waiting(self) -> list[Task]:
        with self.lock:
            return list(self._waiting)
