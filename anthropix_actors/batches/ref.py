"""The ref of the actor that works with batches."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors.batches.messages import BatchDone, BatchFailed
from anthropix_actors.batches.task import CANCEL_PATIENCE, BatchState, BatchTask
from anthropix_actors.errors import CancelledError

if TYPE_CHECKING:
    from anthropix_actors._wire.resources import RequestCounts

STOP_PATIENCE = 1.0
"""Seconds that `stop()` leaves to the cancelling at the API, as the interpreter's exit does: what goes on is paid."""


class BatchRef(TaskRef[BatchTask]):
    """Work with batches: the ref of the actor that makes and follows them. All of it may be used from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) ends the work here; the batches go on at
    the API.
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the batches, as far as they have been made. Keep them to follow the batches after a crash."""
        return tuple(self._task.batches)

    def state(self) -> BatchState:
        """Get how far it has come: a copy of your own."""
        task = self._task
        batches = tuple(copy.deepcopy(batch) for batch in list(task.batches.values()) if batch is not None)
        told = sum(list(cast("dict[str, int]", task.results).values()))
        return BatchState(batches, task.counts(), told, dict(task.failures))

    def result(self, timeout: float | None = None) -> RequestCounts:
        """Wait until all results have been told, and get how many there were of each type.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes, which may be a day.

        Raises:
            TimeoutError: it is not over.
            CancelledError: it was cancelled.
            AnthropixError: it failed; which class says why.
        """
        terminal = self._wait(timeout)
        if isinstance(terminal, BatchDone):
            return terminal.counts
        raise terminal.error if isinstance(terminal, BatchFailed) else CancelledError(terminal.reason)

    def cancel(self, reason: str = "cancelled", *, at_api: bool = False) -> bool:
        """Stop following, whatever it is doing. Returns at once.

        Args:
            reason: Why, for `BatchCancelled`.
            at_api: Cancel the batches at the API, too; `BatchCancelled` is told when that was tried. What was answered
                until then is paid for, and can be had by following the batches again.

        Returns:
            Whether this call did it; False when the work was over or cancelled before.
        """
        task = self._task
        with task.lock:
            if at_api and task.scope.cause is None and not task.scope.committed:
                task.cancels_batches = True
                task.hurry_parting(CANCEL_PATIENCE)
        return super().cancel(reason)

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """End the work here and stop its actor. As `pykka.ActorRef.stop`, but never waits long for the network.

        When `cancel(at_api=True)` came before, what it does at the API gets one second more, and `BatchCancelled` says
        whether that was enough.
        """
        self._task.hurry_parting(STOP_PATIENCE)
        return super().stop(block=block, timeout=timeout)
