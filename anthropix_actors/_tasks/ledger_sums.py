"""Sums that any thread may add to and read, even a signal handler in the middle of either; nothing is lost.

A signal handler interrupts a thread between two Python instructions. So the lock is reentrant; a handler's items are
queued, and added by the call that it interrupts; and the sums change in one step, which no handler interrupts.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.locks import is_held

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Item: TypeAlias = "Sequence[tuple[Hashable, Any]]"
"""Added in one step: keys, and values that are added with `+`."""

_LATEST = object()
"""The key of the item that was added last."""


class Books:
    """Sums by key.

    Example:
        >>> books = Books()
        >>> books.add([("apples", 2), ("pears", 1)])
        >>> books.add([("apples", 3)])
        >>> books.now()
        {'apples': 5, 'pears': 1}
    """

    def __init__(self) -> None:
        """Start with no sums."""
        self._lock = threading.RLock()
        self._sums: dict[Any, Any] = {}
        self._queued: deque[Item] = deque()  # not added yet
        self._adding = False
        SWEEPER.fork_listeners.add(self)

    def add(self, item: Item) -> None:
        """Add the item's values to the sums of its keys, in one step. Any thread, and signal handlers."""
        with self._lock:
            self._queued.append(item)
            if self._adding:  # this is a signal handler: the call that it interrupts adds the item
                return
            try:
                self._adding = True
                while self._queued:
                    self._add_first()
            finally:
                self._adding = False

    def _add_first(self) -> None:
        assert is_held(self._lock)
        try:
            changes = _changes(self._sums, self._queued[0])
        except Exception:  # its values cannot be added: drop it, or it would block the others
            self._queued.popleft()
            raise
        self._sums.update(changes)
        self._queued.popleft()

    def now(self) -> dict[Any, Any]:
        """Return a copy of all sums. Any thread, and signal handlers."""
        with self._lock:
            sums = self._sums.copy()
            for item in tuple(self._queued):
                sums.update(_changes(sums, item))
        sums.pop(_LATEST, None)
        return sums

    def after_fork(self) -> None:
        """Replace the lock in a forked child, where no thread would release it; the parent's sums are kept."""
        self._lock, self._adding = threading.RLock(), False


def _changes(sums: dict[Any, Any], item: Item) -> dict[Any, Any]:
    """Return the sums that an item changes."""
    if item is sums.get(_LATEST):  # already added: an exception of a signal handler left it in the queue
        return {}
    changes: dict[Any, Any] = {_LATEST: item}
    for key, value in item:
        before = changes.get(key, sums.get(key))
        changes[key] = value if before is None else before + value
    return changes
