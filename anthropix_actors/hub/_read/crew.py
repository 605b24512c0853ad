"""Threads for what may block, such as telling a subscriber: as many as are needed at once."""

from __future__ import annotations

import queue
import threading
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
        self._actions: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that no action is meant for

    def run(self, action: Callable[[], object]) -> None:
        """Run an action, which must not raise, soon, and on another thread."""
        with self._lock:
            self._actions.put(action)
            is_short = not self._idle
            if not is_short:
                self._idle -= 1
        if is_short and not in_background(self._work, "anthropix-reader"):
            self._actions.get()()  # the interpreter ends, and gives no more threads

    def _work(self) -> None:
        while True:
            try:
                action = self._actions.get(timeout=IDLE)
            except queue.Empty:
                if self._may_leave():
                    return
                continue
            action()
            del action
            with self._lock:
                self._idle += 1

    def _may_leave(self) -> bool:
        with self._lock:
            if not self._idle:  # an action is on its way
                return False
            self._idle -= 1
            return True
