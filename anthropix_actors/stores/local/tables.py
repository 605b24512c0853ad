"""What a store of one machine keeps, as the shared half of it sees that: small steps, each within one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anthropix_actors.stores.queue import QueueState


class Head(msgspec.Struct, frozen=True):
    """A log without its entries; one that is posted to has epoch 0."""

    name: str
    generation: str
    epoch: int
    length: int
    closed: bool
    holder: str | None


class KeptJob(msgspec.Struct, frozen=True):
    """A job as it is kept."""

    id: str
    data: bytes
    attempt: int
    holder: str | None


class LogTables(Protocol):
    """The steps that logs are made of. A log that has expired is none."""

    def head(self, name: str) -> Head | None:
        """Return a log, if there is one."""
        ...

    def heads(self, names: Iterable[str]) -> Mapping[str, Head]:
        """Return those of these logs that there are, by name; perhaps others, too."""
        ...

    def make(self, name: str) -> Head:
        """Make a log, which is not there, with a generation that no other has."""
        ...

    def claim(self, head: Head, epoch: int, holder: str | None) -> None:
        """Give a log an epoch and a holder."""
        ...

    def add(self, head: Head, epoch: int, entries: Sequence[bytes], key: str | None = None) -> None:
        """Add entries at the end of a log."""
        ...

    def close(self, head: Head) -> None:
        """Note that nothing more comes."""
        ...

    def has_key(self, head: Head, key: str) -> bool:
        """Return whether something was posted with this key."""
        ...

    def entries(self, head: Head, place: int) -> list[tuple[int, bytes]]:
        """Return epoch and data of the entries from this number on, as many as one `read` returns."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Return the names of the logs that begin so, sorted."""
        ...

    def end_in(self, head: Head, seconds: float | None) -> None:
        """Let a log expire in so many seconds, or not at all."""
        ...

    def drop(self, head: Head) -> None:
        """Delete a log."""
        ...

    def lives(self, holder: str | None) -> bool:
        """Return whether a holder lives."""
        ...

    def beat(self, holder: str, seconds: float) -> None:
        """Let a holder live for so many seconds from now on; 0 for no longer."""
        ...


class QueueTables(Protocol):
    """The steps that queues are made of."""

    def put(self, queue: str, job_id: str, data: bytes) -> bool:
        """Put a job at the end; return False if there is one of this id."""
        ...

    def job(self, queue: str, job_id: str) -> KeptJob | None:
        """Return a job, if there is one."""
        ...

    def free(self, queue: str, count: int) -> list[KeptJob]:
        """Return jobs that nobody has who lives: orphaned ones first, each kind in its order."""
        ...

    def hand(self, queue: str, job: KeptJob, holder: str) -> None:
        """Give a job to a holder, and count that."""
        ...

    def to_front(self, queue: str, job: KeptJob) -> None:
        """Put a job at the front, as if nobody had taken it."""
        ...

    def drop_job(self, queue: str, job_id: str) -> None:
        """Remove a job."""
        ...

    def queue_state(self, queue: str) -> QueueState:
        """Return the state of a queue."""
        ...

    def lives(self, holder: str | None) -> bool:
        """Return whether a holder lives."""
        ...


class Tables(LogTables, QueueTables, Protocol):
    """All of them."""
