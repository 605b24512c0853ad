"""The batch actor and its ref: makes batches, watches them until they end, and tells their results.

The life of its work: every batch is made → each is looked at, less and less often → as one ends, its results are told →
exactly one terminal message. Batches live at the API, whatever becomes of this program: their ids are all it takes to
follow them again.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from anthropix_actors._actor import TaskActor, TaskRef
from anthropix_actors._batch_record import BatchRecord, BatchState
from anthropix_actors._exchange import Exchange
from anthropix_actors._request import Timeout
from anthropix_actors._results import decoded_batch, result_lines, results_request, surely_not_made
from anthropix_actors._retry import patience, retry_after
from anthropix_actors._scope import CancelScope
from anthropix_actors.errors import (
    AnthropixError,
    APIError,
    CancelledError,
)
from anthropix_actors.messages import (
    BatchDone,
    BatchFailed,
    BatchProgress,
    BatchResult,
    BatchRetrying,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from anthropix_actors._batch_body import BatchBody
    from anthropix_actors._request import Request
    from anthropix_actors.types import MessageBatch, RequestCounts

BATCHES = "/v1/messages/batches"

FIRST_POLL = 1.0
GROWTH = 1.5
"""How much longer each wait between two looks is than the one before."""

_CANCEL_TIMEOUT = Timeout(connect=5, read=10, first_byte=10)


class BatchRef(TaskRef[BatchRecord]):
    """Work with batches: the ref of the actor that makes and follows them. All of it may be used from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) ends the work here; the batches go on at
    the API.
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the batches, as far as they have been made. Keep them to follow the batches after a crash."""
        return tuple(self._record.batches)

    def state(self) -> BatchState:
        """Get how far it has come: a copy of your own."""
        record = self._record
        batches = tuple(batch for batch in list(record.batches.values()) if batch is not None)
        return BatchState(batches, record.counts(), sum(cast("dict[str, int]", record.results).values()))

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
        record = self._record
        with record.lock:
            if at_api and record.scope.cause is None:
                record.cancels_batches = True
        return super().cancel(reason)


class _BatchActor(TaskActor[BatchRecord]):
    """What both actors have in common."""

    ref_class = BatchRef

    def _retrying(self, error: APIError, delay: float) -> None:
        record = self._record
        record.tell(BatchRetrying(record.ref, record.exchange.attempts, delay, error))

    def _look(self, batch_id: str, *, patient: bool) -> MessageBatch:
        record = self._record
        request = record.request("GET", f"{BATCHES}/{batch_id}")
        if patient:
            request = _patiently(request)
        batch: MessageBatch = record.exchange.send(request, decoded_batch, retrying=self._retrying)
        return batch

    def _tell_results(self, batch: MessageBatch, seen: Container[str], *, patient: bool) -> Iterator[str]:
        """Tell the results that were not seen before; get the `custom_id` of each that was told."""
        record, exchange, ref = self._record, self._record.exchange, self._record.ref
        request = results_request(record.calls, batch, record.options)
        answer = exchange.open(_patiently(request) if patient else request, retrying=self._retrying)
        try:
            for lines in result_lines(exchange, answer):
                messages = [
                    BatchResult(ref, line["custom_id"], line["result"])
                    for line in lines
                    if line["custom_id"] not in seen and line["custom_id"] not in record.seen
                ]
                record.tell_all(messages)
                for message in messages:
                    record.note(message)
                    yield message.custom_id
        finally:
            exchange.close(answer)

    def _done(self) -> None:
        record = self._record
        record.scope.finish()
        record.end(BatchDone(record.ref, record.results))


class ResultsActor(_BatchActor):
    """Tells the results of one batch that has ended."""

    def run(self) -> None:
        """Look whether it has ended, and tell its results."""
        record = self._record
        for batch_id, known in list(record.batches.items()):
            batch = known or self._look(batch_id, patient=False)
            record.batches[batch_id] = batch
            for _ in self._tell_results(batch, (), patient=False):
                pass
        self._done()


class BatchActor(_BatchActor):
    """Makes batches, follows them, and tells their results."""

    def run(self) -> None:
        """Make, follow, tell."""
        for body in self._record.bodies:
            self._make(body)
            body.close()
        self._follow()
        self._done()

    def on_stop(self) -> None:
        """Let go of what was not made, too."""
        super().on_stop()
        for body in self._record.bodies:
            body.close()

    def give_up(self) -> None:
        """Cancel the batches at the API, where that was asked for."""
        record = self._record
        if record.cancels_batches:
            exchange = Exchange(record.calls.transport, CancelScope())  # the work's own was cancelled
            for batch_id, batch in record.batches.items():
                if batch is None or batch["processing_status"] == "in_progress":
                    self._cancel_at_api(exchange, batch_id)

    def _cancel_at_api(self, exchange: Exchange, batch_id: str) -> None:
        record, path = self._record, f"{BATCHES}/{batch_id}"
        cancel, look = (
            record.calls.request(method, place, timeout=_CANCEL_TIMEOUT)
            for method, place in (("POST", path + "/cancel"), ("GET", path))
        )
        try:
            record.batches[batch_id] = exchange.send(cancel, decoded_batch)
        except AnthropixError as exc:
            with contextlib.suppress(AnthropixError):
                record.batches[batch_id] = batch = exchange.send(look, decoded_batch)
                if batch["processing_status"] != "in_progress":
                    return  # the API refuses to cancel what has ended meanwhile
            record.cancel_error = exc

    def _make(self, body: BatchBody) -> None:
        record = self._record
        request = record.request("POST", BATCHES, body=body)
        batch = record.exchange.send(request, decoded_batch, again=surely_not_made, retrying=self._retrying)
        self._saw(batch)

    def _follow(self) -> None:
        record = self._record
        to_do = list(record.batches)
        delay = min(FIRST_POLL, record.poll)
        while True:
            for batch_id in to_do.copy():
                batch = self._look(batch_id, patient=True)
                self._saw(batch)
                if batch["processing_status"] == "ended":
                    self._deliver(batch)
                    to_do.remove(batch_id)
            if not to_do:
                return
            asked = retry_after(record.exchange.headers, now=time.time()) or 0.0
            record.scope.sleep(max(delay, asked))
            delay = min(delay * GROWTH, record.poll)

    def _saw(self, batch: MessageBatch) -> None:
        record = self._record
        before, known = record.counts(), batch["id"] in record.batches and record.batches[batch["id"]] is not None
        record.batches[batch["id"]] = batch
        counts = record.counts()
        if counts != before or not known:
            record.tell(BatchProgress(record.ref, counts))

    def _deliver(self, batch: MessageBatch) -> None:
        """Tell a batch's results, each once, however often their file is cut."""
        record = self._record
        seen: set[str] = set()  # one batch's, at most
        failures = 0
        while True:
            told = len(seen)
            try:
                seen.update(self._tell_results(batch, seen, patient=True))
            except APIError as exc:
                failures = 1 if len(seen) > told else failures + 1
                record.exchange.explain(exc)
                delay = patience(record.calls.retry).delay(exc, attempts=failures, dice=0.0)
                if delay is None:
                    raise
                record.tell(BatchRetrying(record.ref, failures, delay, exc))
                record.scope.sleep(delay)
            else:
                return


def _patiently(request: Request) -> Request:
    """Get a request that is repeated as long as it may help: what is followed for a day outlives an outage."""
    return replace(request, retry=patience(request.retry))
