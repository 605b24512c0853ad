"""What both halves of a store use: its tables, within a transaction, and how it waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from anthropix_actors.stores.closing import Closing
from anthropix_actors.stores.local.changes import Changes
from anthropix_actors.stores.names import checked_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container

    from anthropix_actors.stores.local.tables import Tables

Found = TypeVar("Found")

LOOK_AGAIN = 0.25
"""Seconds after which those that wait look again: nobody tells what ends by the clock, a holder's life or a log."""


class Base(Closing):
    """The state of a store that waits and is closed. Subclasses have the tables."""

    def __init__(self) -> None:
        """Begin with nobody who waits."""
        self._changes = self._new_changes()
        self._closed = False

    def _new_changes(self) -> Changes:
        return Changes()

    # Steps are functions, not blocks: an interrupt may come where a block is left by code of Python's, and only a lock
    # that C releases is then released.

    def _read(self, step: Callable[[Tables], Found]) -> Found:
        """Return what a step returns, in which the tables stay as they are."""
        raise NotImplementedError

    def _write(self, step: Callable[[Tables], Found]) -> Found:
        """Return what a step returns, in which the tables are this thread's; what it changes is kept, or all undone."""
        raise NotImplementedError

    def _waited(
        self, look: Callable[[Collection[str] | None], Found | None], wait: float, names: Container[str] = ()
    ) -> Found | None:
        """Return what `look` finds, as soon as that is not None; None after `wait` seconds, and when it is closed.

        Args:
            look: Is given the names of the logs that have changed since it looked last; None if anything may have.
            wait: For how many seconds to wait.
            names: The logs that it looks at.
        """
        deadline = time.monotonic() + checked_seconds(wait, "wait")
        watch = self._changes.watch(names)
        changed: Collection[str] | None = None
        while True:
            found = look(changed)
            now = time.monotonic()
            if found is not None or now >= deadline:
                return found
            changed = self._changes.wait(watch, min(deadline, now + LOOK_AGAIN)) or None
            if self._closed:
                return None
