"""How those wait for something who would find nothing now."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container

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
        self._ask = ask
        self._asker: Callable[[], Watch | None] = _nobody
        self._changed_at = time.monotonic()
        self._lock = threading.RLock()  # reentrant, as a signal handler may use the store in the middle of it
        # By weak references: whatever ends a wait, such as an interrupt in the middle of it, nobody else has its watch.
        self._watches: dict[weakref.ref[Watch], None] = {}

    def watch(self, names: Container[str] = ()) -> Watch:
        """Return what notes changes, as long as somebody has it: of logs, those of these names; of queues, anything."""
        watch = Watch(names, self._lock)
        with self._lock:
            self._watches[weakref.ref(watch, self._watches.pop)] = None
        return watch

    def tell(self, name: str | None = None) -> None:
        """Wake those that wait for the log of this name; without a name, all: anything may have changed."""
        with self._lock:
            self._tell(name)

    def wait(self, watch: Watch, until: float) -> set[str] | None:
        """Return when something has changed since the last time, at the moment `until` at the latest.

        Returns:
            The names of the logs that have changed; None if anything may have.
        """
        with self._lock:
            watch.waits = True
            try:
                while watch.changed == set() and (left := until - time.monotonic()) > 0:
                    if self._ask is None or self._asker() is not None:
                        watch.condition.wait(left)
                    else:
                        self._ask_once(self._ask, watch, left)
            finally:
                watch.waits = False
                self._let_another_ask()
            changed, watch.changed = watch.changed, set()
            return changed

    def _ask_once(self, ask: Callable[[], bool], watch: Watch, left: float) -> None:
        self._asker = weakref.ref(watch)
        try:
            pause = (time.monotonic() - self._changed_at) / _PART
            watch.condition.wait(min(left, LONGEST_PAUSE, max(SHORTEST_PAUSE, pause)))
            if ask():
                self._tell(None)
        finally:
            self._asker = _nobody

    def _let_another_ask(self) -> None:
        """Wake one that waits: if this one has asked for all, it is the other one's turn."""
        waiting = next((watch for watch in self._watching() if watch.waits), None)
        if waiting is not None:
            waiting.condition.notify()

    def _tell(self, name: str | None) -> None:
        self._changed_at = time.monotonic()
        for watch in self._watching():
            watch.tell(name)

    def _watching(self) -> list[Watch]:
        return [watch for each in [*self._watches] if (watch := each()) is not None]


def _nobody() -> None:
    return None


class Watch:
    """What has changed for one that waits. Used with the lock of its `Changes`.

    Attributes:
        changed: The names of the logs that have changed; None if anything may have.
        condition: Notified when something has.
        waits: Whether anybody waits for that.
    """

    def __init__(self, names: Container[str], lock: threading.RLock) -> None:
        """Note nothing yet."""
        self.changed: set[str] | None = set()
        self.condition = threading.Condition(lock)
        self.waits = False
        self._names = names

    def tell(self, name: str | None) -> None:
        """Note a change, if it is one for this watch."""
        if name is None:
            self.changed = None
        elif name not in self._names:
            return
        elif self.changed is not None:
            self.changed.add(name)
        self.condition.notify()
