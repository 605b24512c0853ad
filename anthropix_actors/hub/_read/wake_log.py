"""What ends the wait of a thread that reads logs: a log of its own, to which others of its process post."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from anthropix_actors.hub._write.open_log import DAY

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from anthropix_actors.stores import Entry, Log

WAKE = "/wake"
"""What the names of these logs end with."""

_MOST = 1000
"""How many entries it may have before it begins anew."""


class WakeLog:
    """The log of one thread. `prepare` and `read` are that thread's; `post` is anybody's."""

    def __init__(self, store: Log, holder: str) -> None:
        """Post nothing yet."""
        self._store = store
        self.name = holder + WAKE
        self._cursor: str | None = None
        self._is_there = False

    def prepare(self, cursors: MutableMapping[str, str | None]) -> None:
        """Add it to what is read; make it, if it is not there."""
        if not self._is_there:
            self.post()
            self._store.expire(self.name, DAY)
            self._is_there = True
        cursors[self.name] = self._cursor

    def read(self, found: Sequence[Entry] | Exception) -> None:
        """Take what was read of it: nothing that matters."""
        if isinstance(found, Exception) or found[-1].number >= _MOST:
            self.delete()
        else:
            self._cursor = found[-1].cursor

    def post(self) -> None:
        """End the thread's wait."""
        self._store.post(self.name, {"kind": "wake"}, key=secrets.token_hex(8))

    def delete(self) -> None:
        """Delete it; `prepare` makes it anew."""
        self._cursor, self._is_there = None, False
        self._store.delete(self.name)
