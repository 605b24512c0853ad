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


class TellingActor(TaskActor[BatchTask]):
    """Base class of the two batch actors: polls a batch, and delivers its results."""

    ref_class = BatchRef

    def _retrying(self, error: APIError, attempt: int, delay: float) -> None:
        task = self._task
        task.note_retry()
        task.audience.tell(BatchRetrying(task.ref, attempt, delay, error))

    def _look(self, batch_id: str) -> MessageBatch:
        task = self._task
        request = task.request("GET", f"{BATCHES}/{batch_id}")
        return task.requester.send(request, decode_batch, retrying=self._retrying)

    def _tell_results(self, batch: MessageBatch, found: set[str]) -> None:
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
        finally:
            requester.close(answer)

    def _take_new(self, lines: list[BatchLine], found: set[str], new: list[BatchResult]) -> None:
        """Add the results that are in neither `found` nor `seen` to `new`, and to `found`."""
        task, ref, asks = self._task, self._task.ref, self._task.seen is not None
        for line in lines:  # one loop, as the time is spent here
            custom_id = line["custom_id"]
            if custom_id not in found:
                found.add(custom_id)
                if not asks or not task.is_seen(custom_id):
                    new.append(BatchResult(ref, custom_id, line["result"]))

    def _done(self) -> None:
        task = self._task
        task.scope.commit()
        if task.failures:
            raise task.whole_failure()
        task.finish(BatchDone(task.ref, task.results.copy()))


class ResultsActor(TellingActor):
    """Delivers the results of one batch that has ended."""

    def run(self) -> None:
        """Fetch the batch if it is not known, and deliver its results, in the actor's thread."""
        task = self._task
        for batch_id, known in list(task.batches.items()):
            batch = known or self._look(batch_id)
            task.batches[batch_id] = batch
            found: set[str] = set()
            self._tell_results(batch, found)
            check_complete(batch, len(found))
        self._done()
