"""Appending to several logs, over any store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.log import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import AnthropixError
from anthropix_actors.stores.log import StoreError
from anthropix_actors.stores.names import checked_part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.stores.log import Append


def append_each(log: Any, appends: Mapping[str, Append]) -> dict[str, AnthropixError]:
    """Append to several logs, one after the other: the `append_many` of a store that has nothing better.

    Args:
        log: The store; only its `append` is called.
        appends: As of `Log.append_many`.

    Returns:
        As `Log.append_many`; what `append` raises that is none of our errors is a `StoreError`.

    Example:
        >>> from anthropix_actors.stores import Append, MemoryStore
        >>> class Simple(MemoryStore):
        ...     def append_many(self, appends):
        ...         return append_each(self, appends)
        >>> store = Simple()
        >>> epoch = store.claim("a")
        >>> store.append_many({"a": Append(epoch, 0, [{"n": 1}]), "b": Append(1, 0, [{"n": 1}])})
        {'b': Lost("there is no log 'b'")}
        >>> store.read("a")[0].data
        {'n': 1}
    """
    refused: dict[str, AnthropixError] = {}
    for name, each in appends.items():
        try:
            part = checked_part(each)
            log.append(name, part.epoch, part.first, part.entries, close=part.close)
        except AnthropixError as exc:
            refused[name] = exc
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - of the store, which may be anybody's
            refused[name] = StoreError(f"the log {name!r} could not be written: {shown(exc)}")
            refused[name].__cause__ = exc
    return refused


publish("anthropix_actors.stores", (append_each,))
