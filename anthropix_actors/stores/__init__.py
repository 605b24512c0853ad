"""Stores: logs and queues that outlive what writes them. An interface, and the one in memory.

>>> from anthropix_actors.stores import MemoryStore
>>> store = MemoryStore()
>>> store.append("talk-17", store.claim("talk-17"), 0, [{"kind": "said"}])
>>> [entry.id for entry in store.read("talk-17")]
['1-0']
"""

from anthropix_actors.stores.log import Entry, Fenced, Held, Log, LogState, Lost, StoreError
from anthropix_actors.stores.memory import MemoryStore
from anthropix_actors.stores.queue import Job, Queue, QueueState, Store

__all__ = [
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
    "Store",
    "StoreError",
]
