"""The entries of a log, whichever store it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.stores.log import Entry, Log


def entries_of(log: Log, name: str, after: str | None = None, *, wait: float = 0.0) -> Iterator[Entry]:
    """Yield the entries of a log after a cursor, some thousand a read, until none has come for `wait` seconds.

    Raises:
        Lost: there is no such log, or it is not the one that the cursor is of.
        StoreError: the store could not be reached.

    Example:
        >>> from anthropix_actors.stores import MemoryStore
        >>> store = MemoryStore()
        >>> store.append("a", store.claim("a"), 0, [{"n": 1}, {"n": 2}])
        >>> [entry.data["n"] for entry in entries_of(store, "a")]
        [1, 2]
    """
    while found := log.read(name, after, wait=wait):
        yield from found
        after = found[-1].cursor
