"""Stores: logs and queues that outlive what writes them. Each is imported when it is used first.

>>> from anthropix_actors.stores import MemoryStore
>>> store = MemoryStore()
>>> store.append("talk-17", store.claim("talk-17"), 0, [{"kind": "said"}])
>>> [entry.id for entry in store.read("talk-17")]
['1-0']
"""

from typing import TYPE_CHECKING

from anthropix_actors._foreign.late_imports import late_names

if TYPE_CHECKING:
    from anthropix_actors.stores.appends import append_each
    from anthropix_actors.stores.conformance import CHECKS, LOG_CHECKS, QUEUE_CHECKS, SHARED_CHECKS, check
    from anthropix_actors.stores.log import (
        Append,
        Entry,
        Fenced,
        Held,
        Log,
        LogState,
        Lost,
        StoreClosedError,
        StoreError,
        Unreadable,
    )
    from anthropix_actors.stores.memory import MemoryStore
    from anthropix_actors.stores.queue import Job, Queue, QueueState, Store
    from anthropix_actors.stores.sqlite import SQLiteStore
    from anthropix_actors.stores.urls import open_store

__all__ = [
    "CHECKS",
    "LOG_CHECKS",
    "QUEUE_CHECKS",
    "SHARED_CHECKS",
    "Append",
    "Entry",
    "Fenced",
    "Held",
    "Job",
    "Log",
    "LogState",
    "Lost",
    "MemoryStore",
    "Queue",
    "QueueState",
    "SQLiteStore",
    "Store",
    "StoreClosedError",
    "StoreError",
    "Unreadable",
    "append_each",
    "check",
    "open_store",
]

_HOMES = {
    "appends": ("append_each",),
    "conformance": ("CHECKS", "LOG_CHECKS", "QUEUE_CHECKS", "SHARED_CHECKS", "check"),
    "log": (
        *("Append", "Entry", "Fenced", "Held", "Log", "LogState"),
        *("Lost", "StoreClosedError", "StoreError", "Unreadable"),
    ),
    "memory": ("MemoryStore",),
    "queue": ("Job", "Queue", "QueueState", "Store"),
    "sqlite": ("SQLiteStore",),
    "urls": ("open_store",),
}

__getattr__ = late_names(__name__, _HOMES, globals())


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet as well."""
    return sorted({*globals(), *__all__})
