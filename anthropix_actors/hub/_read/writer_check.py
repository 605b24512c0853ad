"""Whether anybody writes a log, or will: asked after a silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from anthropix_actors.stores import Lost, Unreadable

if TYPE_CHECKING:
    from anthropix_actors.stores import Store


class WriterCheck:
    """Looks whether more may come of one log.

    It is lost if it is not closed, and nobody who lives has claimed it, nor is its job in the queue.
    """

    def __init__(self, store: Store, queue: str, name: str) -> None:
        """Look at nothing yet."""
        self._store = store
        self._queue = queue
        self.name = name

    def look(self) -> Lost | Unreadable | None:
        """Return the error of a log of which nothing more will come; None for others. May wait for the store."""
        try:
            return self._look()
        except (Unreadable, msgspec.MsgspecError) as exc:  # of this log, or of its job: no other is concerned
            return exc if isinstance(exc, Unreadable) else Unreadable(self.name, None, f"its job is none: {exc}")

    def _look(self) -> Lost | None:
        state = self._store.state(self.name)
        if state is None:
            return Lost(f"there is no log {self.name!r} any more: it was deleted, or has expired")
        if state.closed or state.holder is not None or self._store.job(self._queue, self.name) is not None:
            return None
        if self._store.state(self.name) != state:
            return None  # between the two calls, somebody has gone on with it, and perhaps finished its job
        return Lost(f"who wrote the log {self.name!r} has died, and nobody goes on with it")
