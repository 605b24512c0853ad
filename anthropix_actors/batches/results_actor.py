"""The base class of the batch actors, which delivers results; and the actor that only does this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors._tasks.actor import TaskActor
from anthropix_actors.batches.messages import BatchDone, BatchResult, BatchRetrying
from anthropix_actors.batches.ref import BatchRef
from anthropix_actors.batches.results import BATCHES, check_complete, decode_batch, result_lines, results_request
from anthropix_actors.batches.task import BatchTask

if TYPE_CHECKING:
    from anthropix_actors._wire.resources import BatchLine, MessageBatch
    from anthropix_actors.errors import APIError


REMEMBERED = 1_000
"""How many results back a repeated one is recognised, where a file is read once: so the memory is bounded."""


class Found:
    """The names of the results that were found, so that each is delivered once.

    Args:
        most: Forget a name when this many others, or up to twice as many, were found after it; None keeps all.

    Attributes:
        names: The latest ones.
        older: Those before them.

    Example:
        >>> found = Found(2)
        >>> for name in "abcde":
        ...     found.names.add(name)
        ...     found.forget_oldest()
        >>> sorted(found.older | found.names), len(found)
        (['c', 'd', 'e'], 5)
    """

    def __init__(self, most: int | None = None) -> None:
        """Start with none."""
        self.names: set[str] = set()
        self.older: set[str] = set()
        self._most = most
        self._forgotten = 0

    def __len__(self) -> int:
        """Return how many were found, even those that are forgotten."""
        return self._forgotten + len(self.older) + len(self.names)

    def forget_oldest(self) -> None:
        """Forget the older names when there are as many new ones."""
        if self._most is not None and len(self.names) >= self._most:
            self._forgotten += len(self.older)
            self.older, self.names = self.names, set()


class TellingActor(TaskActor[BatchTask]):
    """Base class of the two batch actors: polls a batch, and delivers its results."""

    ref_class = BatchRef

    def _retrying(self, error: APIError, attempt: int, delay: float) -> None:
        task = self._task
        task.note_retry()
        task.audience.tell(BatchRetrying(task.ref, attempt, delay, error))

    def look(self, batch_id: str) -> MessageBatch:
        """Return a batch as it is now."""
        task = self._task
        request = task.request("GET", f"{BATCHES}/{batch_id}")
        return task.requester.send(request, decode_batch, retrying=self._retrying)

    def _tell_results(self, batch: MessageBatch, found: Found) -> None:
        """Deliver the results whose `custom_id` is not in `found`, and add it there."""
        task, requester = self._task, self._task.requester
        request = results_request(task.core, batch, task.options)
        answer = requester.open(request, retrying=self._retrying)
        try:
            for lines in result_lines(requester, answer):
                new: list[BatchResult] = []
                try:
                    self._take_new(lines, found, new)
                finally:  # what came before a `seen` that raises is delivered
                    task.publish(new)
                    task.record_told()
                found.forget_oldest()
        finally:
            requester.close(answer)

    def _take_new(self, lines: list[BatchLine], found: Found, new: list[BatchResult]) -> None:
        """Add the results that are in neither `found` nor `seen` to `new`, and to `found`."""
        task, ref, asks = self._task, self._task.ref, self._task.seen is not None
        names, older = found.names, found.older
        for line in lines:  # one loop, as the time is spent here
            custom_id = line["custom_id"]
            if custom_id not in names and custom_id not in older:
                names.add(custom_id)
                if not asks or not task.is_seen(custom_id):
                    new.append(BatchResult(ref, custom_id, line["result"]))

    def _done(self) -> None:
        task = self._task
        task.scope.commit()
        if task.failures:
            raise task.whole_failure()
        task.record_end()
        task.finish(BatchDone(task.ref, task.delivered.counts()))


class ResultsActor(TellingActor):
    """Delivers the results of one batch that has ended."""

    def run(self) -> None:
        """Fetch the batch if it is not known, and deliver its results, in the actor's thread."""
        task = self._task
        for batch_id, known in list(task.batches.items()):
            batch = known or self.look(batch_id)
            task.batches[batch_id] = batch
            found = Found(REMEMBERED)
            self._tell_results(batch, found)
            check_complete(batch, len(found))
        self._done()
