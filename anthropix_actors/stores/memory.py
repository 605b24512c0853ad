"""A store in memory: gone with the process."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.stores.log import Entry, Fenced, Held, LogState, Lost
from anthropix_actors.stores.names import (
    LARGEST_ENTRY,
    MOST_READ,
    all_encoded,
    checked_name,
    checked_seconds,
    cursor_of,
    encoded,
    place_of,
    refused_closed,
    refused_gap,
    refused_mix,
)
from anthropix_actors.stores.queue import Job, QueueState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class _Kept:
    """One log. `keys` is of one that is posted to."""

    def __init__(self) -> None:
        self.generation = secrets.token_hex(6)
        self.epoch = 0
        self.entries: list[tuple[int, bytes]] = []
        self.keys: set[str] = set()
        self.closed = False
        self.holder: str | None = None
        self.ends_at: float | None = None

    def add(self, epoch: int, entries: Iterable[bytes]) -> None:
        self.entries += ((epoch, data) for data in entries)


class _Waiting(msgspec.Struct):
    """One job of a queue."""

    job: Job
    since: float


class MemoryStore:
    """A `Store` in the memory of this process. Safe from any thread.

    Args:
        max_entry_bytes: The largest entry, or job, as JSON.

    Example:
        >>> store = MemoryStore()
        >>> epoch = store.claim("a")
        >>> store.append("a", epoch, 0, [{"n": 1}, {"n": 2}])
        >>> store.append("a", epoch, 1, [{"n": 2}, {"n": 3}], close=True)
        >>> [entry.data["n"] for entry in store.read("a")], store.state("a").closed
        ([1, 2, 3], True)
    """

    def __init__(self, *, max_entry_bytes: int = LARGEST_ENTRY) -> None:
        """Start without any logs."""
        self._most = max_entry_bytes
        self._changed = threading.Condition(threading.RLock())
        self._logs: dict[str, _Kept] = {}
        self._queues: dict[str, dict[str, _Waiting]] = {}
        self._beats: dict[str, float] = {}  # holder → until when it lives
        self._closed = False

    # Logs

    def claim(self, name: str, holder: str | None = None) -> int:
        """Become the writer of a log; see `Log`."""
        checked_name(name)
        if holder is not None:
            checked_name(holder, "holder")
        with self._changed:
            kept = self._kept(name) or self._logs.setdefault(name, _Kept())
            if kept.keys:
                raise refused_mix(name)
            if holder is not None and kept.holder not in {None, holder} and self._lives(kept.holder):
                raise Held(name, str(kept.holder))
            kept.epoch += 1
            kept.holder = holder
            return kept.epoch

    def append(
        self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
    ) -> None:
        """Append entries; see `Log`."""
        found = all_encoded(entries, self._most)
        with self._changed:
            kept = self._there(name)
            if kept.keys:
                raise refused_mix(name)
            if epoch != kept.epoch:
                raise Fenced(f"the log {name!r} has been claimed by another writer, of epoch {kept.epoch}")
            there = len(kept.entries)
            if first > there:
                raise refused_gap(name, first, there)
            new = found[there - first :]
            if new and kept.closed:
                raise refused_closed(name)
            kept.add(epoch, new)
            kept.closed = kept.closed or close
            self._changed.notify_all()

    def post(self, name: str, data: Mapping[str, Any], *, key: str) -> bool:
        """Append one entry without being the writer; see `Log`."""
        checked_name(name)
        checked_name(key, "key")
        found = encoded(data, "data", self._most)
        with self._changed:
            kept = self._kept(name) or self._logs.setdefault(name, _Kept())
            if kept.epoch:
                raise refused_mix(name)
            if key in kept.keys:
                return False
            kept.keys.add(key)
            kept.add(0, [found])
            self._changed.notify_all()
            return True

    def read(self, name: str, after: str | None = None, *, wait: float = 0.0) -> list[Entry]:
        """Return the entries after a cursor; see `Log`."""

        def look() -> list[Entry] | None:
            found = self._after(name, after)
            return found if found or self._there(name).closed else None

        with self._changed:
            return self._waited(look, wait) or []

    def read_many(self, cursors: Mapping[str, str | None], *, wait: float = 0.0) -> dict[str, list[Entry] | Lost]:
        """Return the entries of several logs; see `Log`."""
        with self._changed:
            return self._waited(lambda: self._all_after(cursors) or None, wait) or {}

    def state(self, name: str) -> LogState | None:
        """Return the state of a log; see `Log`."""
        with self._changed:
            kept = self._kept(name)
            if kept is None:
                return None
            holder = kept.holder if self._lives(kept.holder) else None
            return LogState(kept.generation, kept.epoch, len(kept.entries), kept.closed, holder)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all logs; see `Log`."""
        with self._changed:
            return sorted(name for name in [*self._logs] if name.startswith(prefix) and self._kept(name) is not None)

    def expire(self, name: str, seconds: float | None) -> None:
        """Let a log be deleted later; see `Log`."""
        if seconds is not None:
            checked_seconds(seconds, "seconds")
        with self._changed:
            kept = self._kept(name)
            if kept is not None:
                kept.ends_at = None if seconds is None else time.monotonic() + seconds

    def delete(self, name: str) -> None:
        """Delete a log; see `Log`."""
        with self._changed:
            self._logs.pop(name, None)
            self._changed.notify_all()

    def beat(self, holder: str, seconds: float) -> None:
        """Say how long a holder lives; see `Log`."""
        checked_name(holder, "holder")
        checked_seconds(seconds, "seconds")
        with self._changed:
            if seconds:
                self._beats[holder] = time.monotonic() + seconds
            else:
                self._beats.pop(holder, None)
                self._changed.notify_all()  # its jobs are free

    def close(self) -> None:
        """Let those that wait go; see `Log`. What is in memory stays."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # Queues

    def put(self, queue: str, job_id: str, data: Mapping[str, Any]) -> bool:
        """Put a job; see `Queue`."""
        checked_name(queue, "queue")
        checked_name(job_id, "job_id")
        plain = msgspec.json.decode(encoded(data, "data", self._most))
        with self._changed:
            jobs = self._queues.setdefault(queue, {})
            if job_id in jobs:
                return False
            jobs[job_id] = _Waiting(Job(job_id, plain), time.monotonic())
            self._changed.notify_all()
            return True

    def take(self, queue: str, holder: str, count: int, *, wait: float = 0.0) -> list[Job]:
        """Take jobs; see `Queue`."""
        checked_name(holder, "holder")
        with self._changed:
            return self._waited(lambda: self._taken(queue, holder, count) or None, wait) or []

    def finish(self, queue: str, holder: str, job_id: str) -> bool:
        """Remove a job that is done; see `Queue`."""
        with self._changed:
            return self._of(queue, job_id, holder) is not None and self._queues[queue].pop(job_id) is not None

    def give_back(self, queue: str, holder: str, job_id: str) -> bool:
        """Put a job back; see `Queue`."""
        with self._changed:
            found = self._of(queue, job_id, holder)
            if found is None:
                return False
            found.job = replace(found.job, holder=None, attempt=found.job.attempt - 1)
            self._queues[queue] = {job_id: found, **self._queues[queue]}
            self._changed.notify_all()
            return True

    def remove(self, queue: str, job_id: str) -> bool:
        """Remove a job that nobody has; see `Queue`."""
        with self._changed:
            found = self._queues.get(queue, {}).get(job_id)
            if found is None or self._lives(found.job.holder):
                return False
            del self._queues[queue][job_id]
            return True

    def job(self, queue: str, job_id: str) -> Job | None:
        """Return a job; see `Queue`."""
        with self._changed:
            found = self._queues.get(queue, {}).get(job_id)
            return None if found is None else found.job

    def queue_state(self, queue: str) -> QueueState:
        """Return the state of a queue; see `Queue`."""
        with self._changed:
            jobs = [*self._queues.get(queue, {}).values()]
            waiting = [each for each in jobs if each.job.holder is None]
            taken = sum(self._lives(each.job.holder) for each in jobs)
            since = min((each.since for each in waiting), default=None)
            oldest = 0.0 if since is None else time.monotonic() - since
            return QueueState(len(waiting), taken, len(jobs) - len(waiting) - taken, oldest)

    # With the lock held

    def _waited(self, look: Callable[[], Any], wait: float) -> Any:
        """Return what `look` finds, as soon as that is not None; None after `wait` seconds, and when it is closed."""
        deadline = time.monotonic() + checked_seconds(wait, "wait")
        while True:
            found = look()
            left = min(deadline, self._next_end()) - time.monotonic()
            if found is not None or self._closed or time.monotonic() >= deadline:
                return found
            self._changed.wait(max(0.0, left))

    def _next_end(self) -> float:
        """Return when the next holder's life ends: then its jobs are free."""
        now = time.monotonic()
        return min((end for end in self._beats.values() if end > now), default=now + 3600)

    def _lives(self, holder: str | None) -> bool:
        return holder is not None and self._beats.get(holder, 0.0) > time.monotonic()

    def _kept(self, name: str) -> _Kept | None:
        kept = self._logs.get(name)
        if kept is not None and kept.ends_at is not None and kept.ends_at <= time.monotonic():
            del self._logs[name]
            return None
        return kept

    def _there(self, name: str) -> _Kept:
        kept = self._kept(name)
        if kept is None:
            raise Lost(f"there is no log {name!r}")
        return kept

    def _after(self, name: str, after: str | None) -> list[Entry]:
        generation, place = place_of(after)
        kept = self._there(name)
        if generation not in {None, kept.generation} or place > len(kept.entries):
            raise Lost(f"the log {name!r} is not the one that was read: it was made anew")
        found = kept.entries[place : place + MOST_READ]
        return [
            Entry(epoch, number, msgspec.json.decode(data), cursor_of(kept.generation, number))
            for number, (epoch, data) in enumerate(found, place)
        ]

    def _all_after(self, cursors: Mapping[str, str | None]) -> dict[str, list[Entry] | Lost]:
        found: dict[str, list[Entry] | Lost] = {}
        for name, after in cursors.items():
            try:
                if entries := self._after(name, after):
                    found[name] = entries
            except Lost as exc:
                found[name] = exc
        return found

    def _taken(self, queue: str, holder: str, count: int) -> list[Job]:
        jobs = self._queues.get(queue, {})
        free = [each for each in jobs.values() if not self._lives(each.job.holder)]
        free.sort(key=lambda each: each.job.holder is None)  # orphaned ones first, each kind in its order
        for each in free[:count]:
            each.job = replace(each.job, holder=holder, attempt=each.job.attempt + 1)
        return [each.job for each in free[:count]]

    def _of(self, queue: str, job_id: str, holder: str) -> _Waiting | None:
        found = self._queues.get(queue, {}).get(job_id)
        return found if found is not None and found.job.holder == holder else None


publish("anthropix_actors.stores", (MemoryStore,))
