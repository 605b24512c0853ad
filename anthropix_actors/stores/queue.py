"""The interface of queues: jobs that are put once, and taken by one holder at a time.

The rules:

- a job is put once: another of the same id changes nothing, as long as it is in the queue;
- who takes a job has it as long as it lives, as it says with `Log.beat`: then the next one gets it;
- a job is in the queue until the one that has it has finished it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.stores.log import Log

if TYPE_CHECKING:
    from collections.abc import Mapping


class Job(msgspec.Struct, frozen=True):
    """A job of a queue.

    Attributes:
        id: Its name.
        data: What was put: JSON as a dict.
        attempt: How many holders have taken it, this one included; 0 for one that nobody has taken.
        holder: Who has it, alive or not; None if nobody has.
        fault: Why what was put cannot be read, as it is no JSON object; `data` is then empty. Mostly None.
    """

    id: str
    data: Mapping[str, Any]
    attempt: int = 0
    holder: str | None = None
    fault: str | None = None


class QueueState(msgspec.Struct, frozen=True):
    """What a queue is at one moment.

    Attributes:
        waiting: How many jobs nobody has.
        taken: How many are had by somebody who lives.
        orphaned: How many are had by somebody who does not: the next `take` gets them.
        oldest: Seconds since the oldest of those that nobody has was put; 0.0 without any.
    """

    waiting: int
    taken: int
    orphaned: int
    oldest: float


class Queue(Protocol):
    """What keeps queues by name. All methods may be called from any thread, and may raise `StoreError`."""

    def put(self, queue: str, job_id: str, data: Mapping[str, Any]) -> bool:
        """Put a job at the end of a queue; return False, and do nothing, if it has one of this id.

        Raises:
            ParameterError: `data` is not JSON, or larger than the store takes.
        """
        ...

    def take(self, queue: str, holder: str, count: int, *, wait: float = 0.0) -> list[Job]:
        """Take up to `count` jobs that nobody has who lives, in the order in which they were put, orphaned ones first.

        Args:
            queue: The queue.
            holder: Who takes them. It has to live (`Log.beat`): else they are the next one's at once.
            count: How many at most.
            wait: Seconds to wait for one, if there is none.
        """
        ...

    def finish(self, queue: str, holder: str, job_id: str) -> bool:
        """Remove a job; return False, and do nothing, if this holder does not have it."""
        ...

    def give_back(self, queue: str, holder: str, job_id: str) -> bool:
        """Put a job at the front of its queue, as if it had not been taken; return False if this holder has it not."""
        ...

    def remove(self, queue: str, job_id: str) -> bool:
        """Remove a job that nobody has; return False, and do nothing, if there is none, or somebody has it."""
        ...

    def job(self, queue: str, job_id: str) -> Job | None:
        """Return a job of a queue, or None."""
        ...

    def queue_state(self, queue: str) -> QueueState:
        """Return the state of a queue; one that was never put to is empty."""
        ...


class Store(Log, Queue, Protocol):
    """What keeps both logs and queues."""


publish("anthropix_actors.stores", (Job, QueueState, Queue, Store))
