"""The ref of a batch actor."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors.batches.messages import BatchDone, BatchFailed
from anthropix_actors.batches.task import CANCEL_PATIENCE, BatchState, BatchTask
from anthropix_actors.errors import CancelledError

if TYPE_CHECKING:
    from anthropix_actors._wire.resources import RequestCounts

STOP_PATIENCE = 1.0
"""Seconds that `stop()`, like the interpreter's exit, leaves for cancelling at the API: what goes on is billed."""


class BatchRef(TaskRef[BatchTask]):
    """The ref of an actor that creates and follows batches. All of it may be used from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) ends the task here; the batches go on at
    the API.
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the batches created so far. Store them to follow the batches after a crash."""
        return tuple(self._task.batches)

    def state(self) -> BatchState:
        """Return the progress of the task, as a copy."""
        task = self._task
        batches = tuple(copy.deepcopy(batch) for batch in list(task.batches.values()) if batch is not None)
        with task.lock:
            told = task.delivered.count
        return BatchState(batches, task.counts(), told, dict(task.failures))

    def result(self, timeout: float | None = None) -> RequestCounts:
        """Wait until all results have been delivered, and return how many there were of each type.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes, which may be a day.

        Raises:
            TimeoutError: it has not finished.
            CancelledError: it was cancelled.
            AnthropixError: it failed; the class says why.
        """
        terminal = self._wait(timeout)
        if isinstance(terminal, BatchDone):
            return terminal.counts
        raise terminal.error if isinstance(terminal, BatchFailed) else CancelledError(terminal.reason)

    def cancel(self, reason: str = "cancelled", *, at_api: bool = False) -> bool:
        """Stop following, whatever the actor is doing. Returns at once.

        Args:
            reason: Why, for `BatchCancelled`.
            at_api: Cancel the batches at the API as well; `BatchCancelled` is sent after that was tried. Requests
                answered until then are billed; following the batches again fetches their results.

        Returns:
            Whether this call cancelled it; False if it had finished or was cancelled before.
        """
        task = self._task
        with task.lock:
            if at_api and task.scope.cause is None and not task.scope.committed:
                task.cancels_batches = True
                task.hurry_parting(CANCEL_PATIENCE)
        return super().cancel(reason)

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """End the task here and stop its actor. Like `pykka.ActorRef.stop`, but never waits long for the network.

        After a `cancel(at_api=True)`, cancelling at the API gets one more second, and `BatchCancelled` says whether
        that was enough.
        """
        self._task.hurry_parting(STOP_PATIENCE)
        return super().stop(block=block, timeout=timeout)


publish("anthropix_actors", (BatchRef,))
