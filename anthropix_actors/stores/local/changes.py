"""How those wait for something who would find nothing now."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_PAUSE, LONGEST_PAUSE = 0.001, 0.01
"""Seconds between two questions whether another process has changed anything."""

_PART = 8
"""A pause is a part of the time since the last change: the later something comes, the less its delay matters."""


class Changes:
    """Wakes those that wait: at once after a change of this process, soon after one of another process.

    A change of another process tells nobody. So one of those that wait asks for all of them, and when it leaves, the
    next one does: there is no thread that would have to be started, ended and forked.

    Args:
        ask: Returns whether another process may have changed anything; None if there is no other.
    """

    def __init__(self, ask: Callable[[], bool] | None = None) -> None:
        """Begin with nothing changed, and nobody who waits."""
        self.count = 0
        self._ask = ask
        self._asking = False
        self._changed_at = time.monotonic()
        self._condition = threading.Condition()

    def tell(self) -> None:
        """Wake all that wait: something may have changed."""
        with self._condition:
            self._tell()

    def wait(self, seen: int, until: float) -> None:
        """Return when something may have changed since `count` was `seen`, at the moment `until` at the latest."""
        with self._condition:
            try:
                while self.count == seen and (left := until - time.monotonic()) > 0:
                    if self._ask is None or self._asking:
                        self._condition.wait(left)
                    else:
                        self._ask_once(self._ask, left)
            finally:
                self._condition.notify()  # if this one has asked for all, it is another one's turn

    def _ask_once(self, ask: Callable[[], bool], left: float) -> None:
        self._asking = True
        try:
            pause = (time.monotonic() - self._changed_at) / _PART
            self._condition.wait(min(left, LONGEST_PAUSE, max(SHORTEST_PAUSE, pause)))
            if ask():
                self._tell()
        finally:
            self._asking = False

    def _tell(self) -> None:
        self.count += 1
        self._changed_at = time.monotonic()
        self._condition.notify_all()
