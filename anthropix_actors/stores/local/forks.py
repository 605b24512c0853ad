"""Forks: none comes in the middle of what a store does, and a child has locks and connections of its own.

SQLite knows, for each process, which files it has locked. A child inherits that knowledge, but not the locks: what it
opened itself would be locked in name only, beside a connection that its parent had open. So there is none while a fork
takes place.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """A store, as a fork sees it."""

    def before_fork(self) -> None:
        """Wait until nothing is being done, and let nothing begin."""
        ...

    def after_fork_in_parent(self) -> None:
        """Let things go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Begin anew, with locks that nobody holds."""
        ...


class Forks:
    """The stores of this process, for its forks. There is one, `FORKS`."""

    def __init__(self) -> None:
        """Begin without any stores."""
        self._lock = threading.RLock()
        self._stores: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self._held: list[Forkable] | None = None

    def tell(self, store: Forkable) -> None:
        """Have a store told of each fork from now on."""
        with self._lock:
            self._stores.add(store)

    def before(self) -> None:
        """Hold all stores. No store is made meanwhile."""
        self._lock.acquire()
        self._held = [*self._stores]
        for store in self._held:
            store.before_fork()

    def in_parent(self) -> None:
        """Let all stores go on."""
        held, self._held = self._held, None
        if held is not None:  # else this module was imported, by another thread, in the middle of a fork
            for store in held:
                store.after_fork_in_parent()
            self._lock.release()

    def in_child(self) -> None:
        """Let all stores begin anew."""
        self._lock = threading.RLock()
        self._held = None
        for store in [*self._stores]:
            store.after_fork_in_child()


FORKS = Forks()

if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(before=FORKS.before, after_in_parent=FORKS.in_parent, after_in_child=FORKS.in_child)
