"""The concurrency limit of a client: at most `size` of its chats run; the others wait, first come, first served.

A waiting chat has no thread and no connection, so thousands may wait. A chat that is cancelled while it waits is
started at once, beyond the limit: it only sends its terminal message.
"""

from __future__ import annotations

import collections
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.locks import is_held
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._tasks.task import Task

LOOK_EVERY = 1.0
"""Seconds between two checks of the waiting chats for lost subscribers."""


class Slots:
    """At most `size` tasks run at once; the others wait in a queue. All methods may be called from any thread.

    Args:
        size: How many tasks may run at once.

    Attributes:
        lock: Held briefly, and never while foreign code runs.
    """

    cancel_first = True

    def __init__(self, size: int) -> None:
        """Start with no tasks."""
        self._size = size
        self._closed = False
        # Reentrant, as a signal handler may cancel a chat while the thread it interrupts starts another.
        self.lock = threading.RLock()
        self._running: set[Task] = set()
        self._waiting: collections.OrderedDict[Task, Callable[[], None]] = collections.OrderedDict()
        self._looked = 0.0
        SWEEPER.fork_listeners.add(self)

    def take(self, task: Task, begin: Callable[[], None]) -> None:
        """Begin a task now if a slot is free, or else when its turn comes. Call `give_back` when it has ended.

        Raises:
            AnthropixError: a slot was free, but the task could not begin.
        """
        with self.lock:
            free = len(self._running) < self._size and not self._waiting
            if free:
                self._running.add(task)
            else:
                self._waiting[task] = begin
                SWEEPER.watch(self)
        if free:
            begin()

    def __repr__(self) -> str:
        """Show how many tasks run, and how many wait."""
        return f"<Slots {len(self._running)} of {self._size} taken, {len(self._waiting)} waiting>"

    def release(self, task: Task) -> None:
        """Remove a task, whether it runs or waits; begin no other. Calling it again does nothing."""
        with self.lock:
            self._running.discard(task)
            self._waiting.pop(task, None)
            self._unwatch()

    def give_back(self, task: Task) -> None:
        """Release the slot of a task that has ended. Begins the next tasks in the calling thread."""
        self.release(task)
        self._begin_next()

    def before(self, task: Task) -> tuple[Task, ...]:
        """Return the tasks that run while this one waits for a slot; empty if it does not wait for one of them."""
        with self.lock:
            full = len(self._running) >= self._size  # else the thread that freed a slot is about to begin the next task
            return tuple(self._running) if full and task in self._waiting else ()

    def start_cancelled(self, task: Task) -> None:
        """Begin a cancelled task now if it waits, in the calling thread."""
        try:
            with self.lock:
                begin = self._waiting.pop(task, None)
                if begin is not None:
                    self._running.add(task)
                    self._unwatch()
            if begin is not None:
                begin()
        except BaseException as exc:
            task.abort(AnthropixError("interrupted"))  # if its thread has started, that thread ends it
            if not isinstance(exc, AnthropixError):
                raise

    def close(self) -> None:
        """Start only cancelled tasks from now on."""
        self._closed = True

    def _begin_next(self) -> None:
        """Begin waiting tasks while slots are free.

        A task that gets no thread waits on, at the head of the queue, while other tasks run whose threads will end; if
        none runs, it is aborted, and the next task is tried.
        """
        while (found := self._next()) is not None:
            task, begin = found
            try:
                begin()
            except AnthropixError as exc:
                if self._put_back(task, begin):
                    return
                task.abort(exc)

    def _next(self) -> tuple[Task, Callable[[], None]] | None:
        with self.lock:
            if self._closed or not self._waiting or len(self._running) >= self._size:
                return None
            task, begin = self._waiting.popitem(last=False)
            self._running.add(task)
            self._unwatch()
            return task, begin

    def _put_back(self, task: Task, begin: Callable[[], None]) -> bool:
        with self.lock:
            self._running.discard(task)
            if not self._running:
                return False
            self._waiting[task] = begin
            self._waiting.move_to_end(task, last=False)
            SWEEPER.watch(self)
            return True

    def _unwatch(self) -> None:
        assert is_held(self.lock)
        if not self._waiting:
            SWEEPER.unwatch(self)

    # Called by the sweeper

    def sweep(self, now: float) -> None:
        """Sweep the waiting tasks every `LOOK_EVERY` seconds, and begin tasks. In the sweeper's thread."""
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            for task in self._those_waiting():
                task.sweep(now)
            self._begin_next()  # tasks that got no thread before

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel all waiting tasks, and begin no more; return a function that waits until their subscribers know.

        In the thread that runs `Sweeper.cancel_all`.
        """
        self.close()
        partings = [task.cancel_and_join(reason) for task in self._those_waiting()]

        def join(timeout: float) -> None:
            deadline = time.monotonic() + timeout
            for wait in partings:
                wait(max(0.0, deadline - time.monotonic()))

        return join

    def after_fork(self) -> None:
        """Start afresh in a forked child: running and waiting tasks belong to the parent."""
        self.lock = threading.RLock()
        waiting, self._waiting = self._waiting, collections.OrderedDict()
        self._running = set()
        for task in waiting:
            task.after_fork()

    def _those_waiting(self) -> list[Task]:
        with self.lock:
            return list(self._waiting)
