"""Threads for what may block, such as telling a subscriber: as many as are needed at once."""

from __future__ import annotations

import queue
import threading
from functools import partial
from typing import TYPE_CHECKING

from anthropix_actors._foreign.threads import IDLE, in_background

if TYPE_CHECKING:
    from collections.abc import Callable


class Crew:
    """Runs actions, each at once: on a thread that is idle, or on another one. Any thread.

    Example:
        >>> import threading
        >>> done = threading.Event()
        >>> Crew().run(done.set)
        >>> done.wait(10)
        True
    """

    def __init__(self) -> None:
        """Start without threads."""
        self._actions: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()  # None ends a thread
        self._lock = threading.Lock()
        self._idle = 0  # threads that no action is meant for
        self._is_closed = False

    def run(self, action: Callable[[], object]) -> None:
        """Run an action, which must not raise, soon, and on another thread."""
        with self._lock:
            is_short = not self._idle
            if not is_short:
                self._idle -= 1
                self._actions.put(action)
        if is_short and not in_background(partial(self._work, action), "anthropix-reader"):
            action()  # the interpreter ends, and gives no more threads

    def close(self) -> None:
        """Let the threads end that are idle, and the others when they have done what they do."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._actions.put(None)

    def _work(self, action: Callable[[], object] | None) -> None:
        while action is not None:
            action()
            action = self._next()

    def _next(self) -> Callable[[], object] | None:
        """Wait for the next action; return None when this thread is to end."""
        with self._lock:
            if self._is_closed:
                return None
            self._idle += 1
        while True:
            try:
                return self._actions.get(timeout=IDLE)
            except queue.Empty:
                if self._may_leave():
                    return None

    def _may_leave(self) -> bool:
        with self._lock:
            if not self._idle:  # an action is on its way
                return False
            self._idle -= 1
            return True
