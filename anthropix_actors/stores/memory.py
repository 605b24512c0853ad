"""A store in memory: gone with the process."""

from __future__ import annotations

import heapq
import secrets
import threading
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from anthropix_actors._foreign.locks import is_held
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.stores.local.rules import bounded
from anthropix_actors.stores.local.store import LocalStore
from anthropix_actors.stores.local.tables import Head, KeptJob
from anthropix_actors.stores.names import LARGEST_ENTRY
from anthropix_actors.stores.queue import QueueState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from anthropix_actors.stores.local.base import Found
    from anthropix_actors.stores.local.tables import Tables


class MemoryStore(LocalStore):
    """A `Store` in the memory of this process. Safe from any thread; a forked child has a copy.

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
        self._lock = threading.RLock()
        self._tables = _MemoryTables()
        super().__init__(max_entry_bytes=max_entry_bytes)

    def _read(self, step: Callable[[Tables], Found]) -> Found:
        with self._lock:
            return step(self._tables)

    _write = _read

    def before_fork(self) -> None:
        """Wait until nothing is being done, and let nothing begin."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Let things go on."""
        if is_held(self._lock):  # else the fork was interrupted before this was held
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin anew, with what the parent had."""
        self._lock = threading.RLock()
        super().after_fork_in_child()


class _Log:
    """The entries of a log, as epoch and data, and the keys of one that is posted to.

    There are as many as its head says: an interrupt may have come before that was changed, and then they are not there.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []
        self.keys: dict[str, int] = {}  # → the number of what was posted with it
        self.ends_at: float | None = None


class _Place:
    """A job in its queue."""

    def __init__(self, job: KeptJob) -> None:
        self.job = job
        self.since = time.monotonic()


class _MemoryTables:
    """`Tables` of dicts. For one thread at a time."""

    def __init__(self) -> None:
        self._heads: dict[str, Head] = {}
        self._logs: dict[str, _Log] = {}
        self._ends: list[tuple[float, str]] = []  # a heap of when logs may expire
        self._queues: dict[str, dict[str, _Place]] = {}
        self._lives: dict[str, float] = {}  # holder → until when

    def head(self, name: str) -> Head | None:
        return self.heads(()).get(name)

    def heads(self, names: Iterable[str]) -> Mapping[str, Head]:  # noqa: ARG002 - of all: nothing is to be fetched
        while self._ends and self._ends[0][0] <= time.monotonic():
            ended = self._ends[0][1]
            log = self._logs.get(ended)
            if log is not None and log.ends_at is not None and log.ends_at <= time.monotonic():
                self._drop(ended)
            heapq.heappop(self._ends)
        return self._heads

    def make(self, name: str) -> Head:
        head = Head(name, secrets.token_hex(6), 0, 0, closed=False, holder=None)
        self._logs[name], self._heads[name] = _Log(), head
        return head

    def claim(self, head: Head, epoch: int, holder: str | None) -> None:
        self._change(head, epoch=epoch, holder=holder)

    def add(self, head: Head, epoch: int, entries: Sequence[bytes], key: str | None = None) -> None:
        log = self._logs[head.name]
        before = self._heads[head.name].length
        log.entries[before:] = [(epoch, data) for data in entries]
        if key is not None:
            log.keys[key] = before
        self._change(head, length=len(log.entries))

    def close(self, head: Head) -> None:
        self._change(head, closed=True)

    def has_key(self, head: Head, key: str) -> bool:
        return self._logs[head.name].keys.get(key, head.length) < head.length

    def entries(self, head: Head, place: int) -> list[tuple[int, bytes]]:
        log = self._logs[head.name]
        return bounded(log.entries[number] for number in range(place, head.length))

    def names(self, prefix: str) -> list[str]:
        self.head("")  # what has expired is gone
        return sorted(name for name in self._logs if name.startswith(prefix))

    def end_in(self, head: Head, seconds: float | None) -> None:
        ends_at = None if seconds is None else time.monotonic() + seconds
        if ends_at is not None:
            heapq.heappush(self._ends, (ends_at, head.name))
        self._logs[head.name].ends_at = ends_at

    def drop(self, head: Head) -> None:
        self._drop(head.name)

    def lives(self, holder: str | None) -> bool:
        return holder is not None and self._lives.get(holder, 0.0) > time.monotonic()

    def beat(self, holder: str, seconds: float) -> None:
        now = time.monotonic()
        self._lives = {each: until for each, until in self._lives.items() if until > now}
        self._lives[holder] = now + seconds

    def put(self, queue: str, job_id: str, data: bytes) -> bool:
        places = self._queues.setdefault(queue, {})
        new = job_id not in places
        if new:
            places[job_id] = _Place(KeptJob(job_id, data, 0, None))
        return new

    def job(self, queue: str, job_id: str) -> KeptJob | None:
        place = self._places(queue).get(job_id)
        return None if place is None else place.job

    def free(self, queue: str, count: int) -> list[KeptJob]:
        free = [place.job for place in self._places(queue).values() if not self.lives(place.job.holder)]
        free.sort(key=lambda job: job.holder is None)
        return free[:count]

    def hand(self, queue: str, job: KeptJob, holder: str) -> None:
        self._queues[queue][job.id].job = replace(job, attempt=job.attempt + 1, holder=holder)

    def to_front(self, queue: str, job: KeptJob) -> None:
        place = self._queues[queue][job.id]
        place.job = replace(job, attempt=job.attempt - 1, holder=None)
        self._queues[queue] = {job.id: place, **self._queues[queue]}

    def drop_job(self, queue: str, job_id: str) -> None:
        places = self._queues[queue]
        del places[job_id]
        if not places:
            del self._queues[queue]

    def queue_state(self, queue: str) -> QueueState:
        places = [*self._places(queue).values()]
        waiting = [place for place in places if place.job.holder is None]
        taken = sum(self.lives(place.job.holder) for place in places)
        now = time.monotonic()
        oldest = max((now - place.since for place in waiting), default=0.0)
        return QueueState(len(waiting), taken, len(places) - len(waiting) - taken, oldest)

    def _places(self, queue: str) -> dict[str, _Place]:
        return self._queues.get(queue, {})

    def _drop(self, name: str) -> None:
        self._heads.pop(name, None)
        del self._logs[name]

    def _change(self, head: Head, **fields: object) -> None:
        self._heads[head.name] = replace(self._heads[head.name], **fields)


publish("anthropix_actors.stores", (MemoryStore,))
