"""The state of a batch task, shared by its actor, its ref and the sweeper."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import msgspec

from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.task import PATIENCE, Task
from anthropix_actors.batches.body import close_all
from anthropix_actors.batches.delivered import Delivered, no_counts
from anthropix_actors.batches.messages import BatchCancelled, BatchFailed, BatchResults
from anthropix_actors.batches.results import counts_of
from anthropix_actors.errors import APIError, CancelledError, ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._http.request import Request
    from anthropix_actors._wire.resources import MessageBatch, RequestCounts
    from anthropix_actors.batches.body import BatchBody
    from anthropix_actors.batches.messages import BatchResult, BatchTerminal
    from anthropix_actors.batches.record import BatchRecord
    from anthropix_actors.errors import AnthropixError

_NAMED = 5
"""How many failed batches an error's text names."""


CANCEL_PATIENCE = 60.0
"""Seconds that cancelling all batches at the API may take."""


class BatchState(msgspec.Struct, frozen=True):
    """The progress of a batch task.

    Attributes:
        batches: The batches as they were last seen, in the order in which they were created.
        counts: How many requests are in which state, over all batches.
        told: How many results have been delivered.
        failures: The error of each failed batch, by its id; of a batch that was not created, by the place of its
            requests, such as `requests[0:100000]`. The others go on.
    """

    batches: tuple[MessageBatch, ...]
    counts: RequestCounts
    told: int
    failures: dict[str, AnthropixError] = {}  # msgspec copies it for each instance


class BatchTask(Task):
    """The state of one batch task.

    Attributes:
        core: The parts of its client.
        retry: The retry policy of its requests.
        options: The options of its requests, from `task_options`.
        bodies: The bodies of the batches to create.
        batches: The batches created so far, by id, as last seen; None if not polled yet.
        record: Writes down what is done, or None.
        as_lists: Whether results are delivered in lists.
        delivered: Which results were delivered; guarded by the lock.
        failures: The error of each failed batch.
        cancels_batches: Whether a cancel includes the batches at the API.
        cancel_error: The reason why a batch may still run at the API after a cancel; or None.
        parting: The scope of the requests that cancel batches at the API.
    """

    what = "batch"

    def __init__(  # noqa: PLR0913 - the parts of the state
        self,
        core: ClientCore,
        options: dict[str, Any],
        *,
        bodies: list[BatchBody] | None = None,
        batches: Mapping[str, MessageBatch | None] | None = None,
        poll: float = 0.0,
        seen: Container[str] | None = None,
        record: BatchRecord | None = None,
        as_lists: bool = False,
        tag: str | None = None,
    ) -> None:
        """Start with the bodies of batches to create, or with batches that were created before."""
        super().__init__(core.transport, CancelScope(), options["timeout"], tag=tag, ledger=core.ledger)
        self.core = core
        self.options = options
        self.retry = core.request_factory.retry_of(options.get("max_retries"))
        self.bodies = bodies or []
        self.batches: dict[str, MessageBatch | None] = dict(batches or {})
        self.batches |= dict.fromkeys(() if record is None else record.created.values())
        self.poll = poll
        self.seen = seen if record is None else record.told
        self.record = record
        self.as_lists = as_lists
        self.delivered = Delivered()
        self.delivered.add({} if record is None else record.counts())
        self._unrecorded: list[BatchResult] = []
        self._unbooked: deque[BatchResult] = deque()
        self.failures: dict[str, AnthropixError] = {}
        self.cancels_batches = False
        self.cancel_error: AnthropixError | None = None
        self.parting = CancelScope()
        self._parting_ends = math.inf

    def cancelled_message(self, error: CancelledError) -> BatchTerminal:
        """Return the terminal message of a task that was cancelled."""
        unconfirmed = self.parting.cause if self.cancels_batches else None  # it took too long
        return BatchCancelled(self.ref, error.reason, self.cancel_error or unconfirmed)

    def failed_message(self, error: AnthropixError) -> BatchTerminal:
        """Return the terminal message of a task that failed."""
        return BatchFailed(self.ref, error, dict(self.failures))

    def request(self, method: str, path: str, **more: Any) -> Request:
        """Return a request with the options of this task."""
        return self.core.request_factory.build(method, path, **self.options, **more)

    def is_seen(self, custom_id: str) -> bool:
        """Return whether the caller has handled this result before, according to `seen`.

        Raises:
            ParameterError: `seen` raised an exception; it is the caller's code.
        """
        try:
            return self.seen is not None and custom_id in self.seen
        except BaseException as exc:  # a SystemExit ends only this task
            raise ParameterError([Problem("seen", f"it raised {shown(exc)}")]) from exc

    def fail(self, what: str, error: APIError) -> None:
        """Note the error of one batch; the others go on."""
        self.failures[what] = error
        if self._several:
            log(logging.WARNING, "%s: %s; the other batches go on", what, error, tag=self.tag)

    def whole_failure(self) -> AnthropixError:
        """Return the error of the task: that of the first failed batch; its text names the other failed ones."""
        (what, error), *others = self.failures.items()
        if isinstance(error, APIError) and self._several:
            names = ", ".join(name for name, _ in others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
            rest = f"failed as well: {names}; see failures" if others else "the results of the others were delivered"
            error.message = f"{what}: {error.message} ({rest})"
        return error

    @property
    def _several(self) -> bool:
        return len(self.batches.keys() | self.failures.keys()) > 1 or len(self.bodies) > 1

    def hurry_parting(self, patience: float) -> None:
        """Limit cancelling at the API to `patience` seconds from now. Any thread."""
        with self.lock:
            self._parting_ends = min(self._parting_ends, time.monotonic() + patience)

    def sweep(self, now: float) -> None:
        """Cancel the task after its deadline, and end cancelling at the API after its own. In the sweeper's thread."""
        if self.cancels_batches:  # the terminal message comes after that, from the actor's own thread
            self.patience = math.inf if now < self._parting_ends + 10 * PATIENCE else PATIENCE
        super().sweep(now)
        if now >= self._parting_ends:
            self.parting.cancel(CancelledError("the API did not confirm in time that it cancelled the batch"))

    def abort(self, error: AnthropixError) -> bool:
        """End the task without a thread, and close its bodies, which will not be sent."""
        if ended := super().abort(error):
            close_all(self.bodies)
        return ended

    def after_fork(self) -> None:
        """End the task in a forked child."""
        self.parting.after_fork(CancelledError("the process was forked"))
        super().after_fork()

    def publish(self, results: list[BatchResult]) -> None:
        """Deliver results to the subscriber, if there is one; may wait for it. In the task's thread.

        The ledger gets the delivered results afterwards: its code must not delay the subscriber.
        """
        messages = [BatchResults(self.ref, results)] if self.as_lists and results else results
        with self.lock:
            each = self.delivered.offer(results, messages)
        try:
            self.audience.tell_all(each)
            self.scope.check()  # it is cancelled if the subscriber has left, and no caller waits
            deque(each, maxlen=0)  # without a subscriber, they are still counted, for callers that wait
        finally:
            self._book_results()

    def record_told(self) -> None:
        """Write down which results were told, once the subscriber has handled them. In the task's thread."""
        told = self._unrecorded
        if told and self.record is not None and all(each.until_handled() for each in self.audience.deliveries):
            self.record.note_told(told)
            self._unrecorded = []

    def record_end(self) -> None:
        """Write down that all was told, if it was. In the task's thread."""
        if self.record is not None and not (self.record.ended or self._unrecorded):
            self.record.note_end()

    def tell_ledger(self, message: Any) -> None:
        """Tell the ledger the end; before it, the results that the task's thread is kept from telling it."""
        self._book_results()
        super().tell_ledger(message)

    def _book_results(self) -> None:
        """Tell the ledger the results that were delivered, each once. In the task's thread, or another at the end."""
        with self.lock:
            delivered = self.delivered.note()
            if self.record is not None:
                self._unrecorded += delivered
            if self.ledger is None:
                return
            self._unbooked.extend(delivered)
        with contextlib.suppress(IndexError):
            while True:
                super().tell_ledger(self._unbooked.popleft())

    def counts(self) -> RequestCounts:
        """Return the sum of the counts of all batches."""
        total = cast("dict[str, int]", no_counts())
        for batch in list(self.batches.values()):
            for name, count in counts_of(batch).items():
                total[name] = total.get(name, 0) + count
        return cast("RequestCounts", total)


publish("anthropix_actors", (BatchState,))
