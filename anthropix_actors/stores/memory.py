"""Logs in memory: gone with the process."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.json import copied
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.stores.log import Entry, Fenced, LogState, Lost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class _Kept:
    """One log."""

    def __init__(self) -> None:
        self.generation = secrets.token_hex(6)
        self.epoch = 0
        self.entries: list[Entry] = []
        self.closed = False


class MemoryLog:
    """A `Log` in the memory of this process. Safe from any thread.

    Example:
        >>> log = MemoryLog()
        >>> epoch = log.claim("a")
        >>> log.append("a", epoch, 0, [{"n": 1}, {"n": 2}])
        >>> log.append("a", epoch, 1, [{"n": 2}, {"n": 3}], close=True)
        >>> [entry.data["n"] for entry in log.read("a")], log.state("a").closed
        ([1, 2, 3], True)
    """

    def __init__(self) -> None:
        """Start without any."""
        self._changed = threading.Condition(threading.RLock())
        self._logs: dict[str, _Kept] = {}

    def claim(self, name: str) -> int:
        """Become the writer of a log; see `Log`."""
        with self._changed:
            kept = self._logs.setdefault(name, _Kept())
            kept.epoch += 1
            return kept.epoch

    def append(
        self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
    ) -> None:
        """Append entries; see `Log`."""
        with self._changed:
            kept = self._logs.get(name)
            if kept is None:
                raise Lost(f"there is no log {name!r}")
            if epoch != kept.epoch:
                raise Fenced(f"the log {name!r} has been claimed by another writer, of epoch {kept.epoch}")
            there = len(kept.entries)
            if first > there:
                raise ValueError(f"first: expected {there} at most, got {first}: entries would be missing")
            new = entries[there - first :]
            if new and kept.closed:
                raise ValueError(f"the log {name!r} is closed")
            for number, data in enumerate(new, there):
                kept.entries.append(Entry(epoch, number, copied(data), f"{kept.generation}.{number}"))
            kept.closed = kept.closed or close
            self._changed.notify_all()

    def read(self, name: str, after: str | None = None, *, wait: float = 0.0) -> list[Entry]:
        """Return the entries after a cursor; see `Log`."""
        deadline = time.monotonic() + wait
        with self._changed:
            while True:
                kept = self._logs.get(name)
                if kept is None:
                    raise Lost(f"there is no log {name!r}")
                found = kept.entries[_place(name, kept, after) :]
                left = deadline - time.monotonic()
                if found or kept.closed or left <= 0:
                    return list(found)
                self._changed.wait(left)

    def state(self, name: str) -> LogState | None:
        """Return the state of a log; see `Log`."""
        with self._changed:
            kept = self._logs.get(name)
            if kept is None:
                return None
            return LogState(kept.generation, kept.epoch, len(kept.entries), kept.closed)

    def names(self) -> list[str]:
        """Return the names of all logs."""
        with self._changed:
            return list(self._logs)

    def delete(self, name: str) -> None:
        """Delete a log; see `Log`."""
        with self._changed:
            self._logs.pop(name, None)
            self._changed.notify_all()


def _place(name: str, kept: _Kept, after: str | None) -> int:
    """Return how many entries were read up to a cursor."""
    if after is None:
        return 0
    generation, dot, number = after.rpartition(".")
    if not dot or not number.isdecimal():
        raise ValueError(f"after: expected the cursor of an entry, got {after!r}")
    if generation != kept.generation or int(number) >= len(kept.entries):
        raise Lost(f"the log {name!r} is not the one that was read: it was made anew")
    return int(number) + 1


publish("anthropix_actors.stores", (MemoryLog,))
