"""Logs that outlive what writes them: an interface, and the one in memory.

>>> from anthropix_actors.stores import MemoryLog
>>> log = MemoryLog()
>>> log.append("talk-17", log.claim("talk-17"), 0, [{"kind": "said"}])
>>> [entry.id for entry in log.read("talk-17")]
['1-0']
"""

from anthropix_actors.stores.log import Entry, Fenced, Log, LogState, Lost
from anthropix_actors.stores.memory import MemoryLog

__all__ = ["Entry", "Fenced", "Log", "LogState", "Lost", "MemoryLog"]
