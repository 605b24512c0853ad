"""Entries as they are kept → entries as they are read. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors.stores.log import Entry, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

_OBJECT = msgspec.json.Decoder(dict[str, Any])


def decoded(name: str, kept: Iterable[tuple[int, int, bytes, str]]) -> list[Entry] | Unreadable:
    """Return the entries of a log up to the first that is no JSON object; if that is the very first, say so.

    Args:
        name: The log.
        kept: Epoch, number, data and cursor of each.

    Example:
        >>> kept = (1, 0, b'{"n": 1}', "a.0"), (1, 1, b'{"n', "a.1")
        >>> [entry.data for entry in decoded("log", kept)]
        [{'n': 1}]
        >>> decoded("log", kept[1:])
        Unreadable("entry 1 of the log 'log' cannot be read: Input data was truncated")
    """
    entries: list[Entry] = []
    for epoch, number, data, cursor in kept:
        try:
            entries.append(Entry(epoch, number, _OBJECT.decode(data), cursor))
        except (msgspec.DecodeError, ValueError, RecursionError) as exc:
            return entries or Unreadable(name, number, str(exc))
    return entries
