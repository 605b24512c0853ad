"""The queues of a store of one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors.stores.kept_job import attempts, job_of
from anthropix_actors.stores.local.base import Base
from anthropix_actors.stores.local.rules import had_by
from anthropix_actors.stores.log import StoreClosedError
from anthropix_actors.stores.names import checked_name, checked_number, encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.stores.local.tables import KeptJob, Tables
    from anthropix_actors.stores.queue import Job, QueueState


class Queues(Base):
    """A `Queue` over tables. Safe from any thread."""

    max_entry_bytes: int

    def put(self, queue: str, job_id: str, data: Mapping[str, Any]) -> bool:
        """Put a job; see `Queue`."""
        _checked(queue, job_id)
        found = encoded(data, "data", self.max_entry_bytes)
        put = self._write(lambda tables: tables.put(queue, job_id, found))
        self._changes.tell()
        return put

    def take(self, queue: str, holder: str, count: int, *, wait: float = 0.0) -> list[Job]:
        """Take jobs; see `Queue`."""
        checked_name(queue, "queue")
        checked_name(holder, "holder")
        checked_number(count, "count", least=1)
        if self._closed:
            raise StoreClosedError("the store is closed")
        return self._waited(lambda _: self._take_now(queue, holder, count) or None, wait) or []

    def finish(self, queue: str, holder: str, job_id: str) -> bool:
        """Remove a job that is done; see `Queue`."""
        _checked(queue, job_id, holder)

        def step(tables: Tables) -> bool:
            job = had_by(tables.job(queue, job_id), holder)
            if job is not None:
                tables.drop_job(queue, job_id)
            return job is not None

        return self._write(step)

    def give_back(self, queue: str, holder: str, job_id: str) -> bool:
        """Put a job back; see `Queue`."""
        _checked(queue, job_id, holder)

        def step(tables: Tables) -> bool:
            job = had_by(tables.job(queue, job_id), holder)
            if job is not None:
                tables.to_front(queue, job)
            return job is not None

        given = self._write(step)
        self._changes.tell()
        return given

    def remove(self, queue: str, job_id: str) -> bool:
        """Remove a job that nobody has; see `Queue`."""
        _checked(queue, job_id)

        def step(tables: Tables) -> bool:
            job = tables.job(queue, job_id)
            free = job is not None and not tables.lives(job.holder)
            if free:
                tables.drop_job(queue, job_id)
            return free

        return self._write(step)

    def job(self, queue: str, job_id: str) -> Job | None:
        """Return a job; see `Queue`."""
        _checked(queue, job_id)
        job = self._read(lambda tables: tables.job(queue, job_id))
        return None if job is None else _job(job)

    def queue_state(self, queue: str) -> QueueState:
        """Return the state of a queue; see `Queue`."""
        checked_name(queue, "queue")
        return self._read(lambda tables: tables.queue_state(queue))

    def _take_now(self, queue: str, holder: str, count: int) -> list[Job]:
        def step(tables: Tables) -> list[KeptJob]:
            taken = tables.free(queue, count)
            for job in taken:
                tables.hand(queue, job, holder)
            return taken

        # Who waits looks often: nobody is kept from writing by that.
        taken = self._write(step) if self._read(lambda tables: tables.free(queue, 1)) else []
        return [_job(job, holder) for job in taken]


def _checked(queue: str, job_id: str, holder: str | None = None) -> None:
    checked_name(queue, "queue")
    checked_name(job_id, "job_id")
    if holder is not None:
        checked_name(holder, "holder")


def _job(job: KeptJob, taken_by: str | None = None) -> Job:
    if taken_by is None:
        return job_of(job.id, job.data, job.attempt, job.holder)
    return job_of(job.id, job.data, attempts(job.attempt) + 1, taken_by)
