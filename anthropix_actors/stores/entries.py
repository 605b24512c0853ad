"""The entries of a log, whichever store it is in, and what they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.stores.log import Lost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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


def refuse_others(
    log: Log, name: str, place: str, what: str, is_one: Callable[[Mapping[str, Any] | None], object]
) -> None:
    """Refuse a log that is of something else, before it is taken from who writes it.

    Args:
        log: The store.
        name: The log; one that is not there is of nothing yet.
        place: Where the caller has its name from.
        what: What it is to be of, in words.
        is_one: Returns whether it is, by its first entry, or by None if it has none.

    Raises:
        ParameterError: it is of something else.
        StoreError: the store could not be reached.

    Example:
        >>> from anthropix_actors.stores import MemoryStore
        >>> store = MemoryStore()
        >>> store.append("poems", store.claim("poems"), 0, [{"kind": "poem"}])
        >>> refuse_others(store, "poems", "name", "a chat", lambda first: not first or first["kind"] == "begin")
        Traceback (most recent call last):
        ...
        anthropix_actors.errors.ParameterError: name: the log 'poems' is none of a chat: take another name
    """
    try:
        found = log.read(name)
    except Lost:
        return
    if not is_one(found[0].data if found else None):
        raise ParameterError([Problem(place, f"the log {name!r} is none of {what}: take another name")])
