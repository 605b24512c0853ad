"""Sums that any thread may add to and read, also a signal handler in the middle of either; nothing is lost.

A signal handler interrupts a thread between two steps of Python. So the lock is reentrant; what a handler adds is put
in a queue, and added by the call that it interrupts; and the sums change in one step, which no handler interrupts.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from anthropix_actors._cancel.sweeper import SWEEPER

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Item: TypeAlias = "Sequence[tuple[Hashable, Any]]"
"""What is added at once: keys, and values that add up with `+`."""

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
        """Start without any."""
        self._lock = threading.RLock()
        self._sums: dict[Any, Any] = {}
        self._told: deque[Item] = deque()  # and not added yet
        self._adding = False
        SWEEPER.fork_listeners.add(self)

    def add(self, item: Item) -> None:
        """Add to some of the sums, to all of them at once."""
        with self._lock:
            self._told.append(item)
            if self._adding:  # this is a signal handler: the call that it interrupts adds it, too
                return
            try:
                self._adding = True
                while self._told:
                    self._add_first()
            finally:
                self._adding = False

    def _add_first(self) -> None:
        try:
            changes = _changes(self._sums, self._told[0])
        except Exception:  # it does not add up: others do
            self._told.popleft()
            raise
        self._sums.update(changes)
        self._told.popleft()

    def now(self) -> dict[Any, Any]:
        """Get a copy of all sums."""
        with self._lock:
            sums = self._sums.copy()
            for item in tuple(self._told):
                sums.update(_changes(sums, item))
        sums.pop(_LATEST, None)
        return sums

    def after_fork(self) -> None:
        """Be usable in a forked child, where nobody lets go of the lock; it starts with the sums of the parent."""
        self._lock, self._adding = threading.RLock(), False


def _changes(sums: dict[Any, Any], item: Item) -> dict[Any, Any]:
    """Get what is different after an item."""
    if item is sums.get(_LATEST):  # it is in: what a signal handler raised kept it in the queue
        return {}
    changes: dict[Any, Any] = {_LATEST: item}
    for key, value in item:
        before = changes.get(key, sums.get(key))
        changes[key] = value if before is None else before + value
    return changes
