"""The batch actor: creates batches, polls them until they end, and delivers their results.

The life of a task: every batch is created → each is polled, less and less often → when one ends, its results are
delivered → exactly one terminal message. Batches live at the API and outlast this program: with their ids they can
be followed again.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from anthropix_actors._http.backoff import Backoff
from anthropix_actors._http.request import Timeout
from anthropix_actors._http.requester import Requester
from anthropix_actors._http.retry import retry_after, without_limit
from anthropix_actors.batches.lookup import find_again
from anthropix_actors.batches.messages import BatchProgress
from anthropix_actors.batches.results import (
    BATCHES,
    MAY_EXIST,
    certainly_not_created,
    check_complete,
    decode_batch,
    saying_what_may_exist,
)
from anthropix_actors.batches.results_actor import Found, TellingActor
from anthropix_actors.errors import AnthropixError, APIConnectionError, APIError, CancelledError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors._wire.resources import MessageBatch
    from anthropix_actors.batches.body import BatchBody
    from anthropix_actors.batches.task import BatchTask

FIRST_POLL = 1.0
GROWTH = 1.5
"""Each wait between two polls is longer than the one before by this factor."""

LONGEST_WAIT = 3600.0
"""The longest wait that the API may ask for before the next poll, in seconds."""

NEW_FOR = 20.0
"""Seconds after following starts in which a batch that was never seen may still appear at the API."""

FEWER_RESULTS = 5
"""Complete reads in a row with fewer results than the batch's counts say, and none new, before that is an error."""

TRIES = 3
"""Failed reads of a batch's results in a row, before the other batches get their turn."""

_CANCEL_TIMEOUT = Timeout(connect=5, read=10, first_byte=10)


class _Followed:
    """One batch that is followed, and the progress of that."""

    def __init__(self, batch_id: str, backoff: Backoff) -> None:
        self.batch_id = batch_id
        self.seen = False  # at the API
        self.found = Found()  # all, as its results may be read again
        self.backoff = backoff  # of reading its results
        self.fewer = 0  # how many of the failures in a row read the whole file


class BatchActor(TellingActor):
    """Creates batches, follows them, and delivers their results. The failure of one batch does not end the others."""

    def __init__(self, task: BatchTask) -> None:
        """Hold the task; nothing is followed yet."""
        super().__init__(task)
        self._began = 0.0  # to follow, on the monotonic clock

    def run(self) -> None:
        """Create the batches, follow them and deliver their results, in the actor's thread."""
        task = self._task
        if task.record is None or not task.record.ended:
            for number, body in enumerate(task.bodies):
                self._make(number, body)
                body.close()
            self._follow()
        self._done()

    def on_stop(self) -> None:
        """Also close the bodies of batches that were not created. Runs in the actor's thread."""
        super().on_stop()
        for body in self._task.bodies:
            body.close()

    def on_error(self) -> None:
        """Cancel the batches at the API if the caller asked for that. Runs in the actor's thread."""
        task = self._task
        if task.cancels_batches:
            requester = Requester(task.core.transport, task.parting)  # the task's own scope was cancelled
            for batch_id, batch in list(task.batches.items()):
                if batch is None or batch["processing_status"] == "in_progress":
                    self._cancel_at_api(requester, batch_id)

    def _cancel_at_api(self, requester: Requester, batch_id: str) -> None:
        task, path = self._task, f"{BATCHES}/{batch_id}"
        options: dict[str, Any] = {**task.options, "timeout": _CANCEL_TIMEOUT}
        cancel = task.core.request_factory.build("POST", path + "/cancel", **options)
        look = task.core.request_factory.build("GET", path, **options)
        try:
            task.batches[batch_id] = requester.send(cancel, decode_batch)
        except AnthropixError as exc:
            with contextlib.suppress(AnthropixError):
                task.batches[batch_id] = batch = requester.send(look, decode_batch)
                if batch["processing_status"] != "in_progress":
                    return  # the API refuses to cancel a batch that has ended meanwhile
            task.cancel_error = task.cancel_error or exc

    def _make(self, number: int, body: BatchBody) -> None:
        """Create a batch, unless another process has."""
        task, record = self._task, self._task.record
        if record is None:
            self._create(body)
            return
        try:
            found = record.created.get(number) or find_again(task, self.look, number, body, record)
        except APIError as exc:
            task.scope.check()
            task.fail(body.place, exc)
            return
        if found is not None:
            task.batches[found] = None
            return
        record.note_intent(number)
        made = self._create(body)
        if isinstance(made, str):
            record.note_created(number, made)
        elif certainly_not_created(made):
            record.note_refused(number)

    def _create(self, body: BatchBody) -> str | APIError:
        """Create a batch; return its id, or why it was not created."""
        task, requester = self._task, self._task.requester
        request = task.request("POST", BATCHES, body=body)
        refused = 0

        def retrying(error: APIError, attempt: int, delay: float) -> None:
            nonlocal refused
            refused = attempt
            self._retrying(error, attempt, delay)

        try:
            with saying_what_may_exist():
                batch = requester.send(request, decode_batch, again=certainly_not_created, retrying=retrying)
        except APIError as exc:
            task.scope.check()
            task.fail(body.place, exc)
            return exc
        except CancelledError:
            if requester.attempts > refused:  # cancelled while it was being created
                task.cancel_error = APIConnectionError(f"{body.place}: {MAY_EXIST}")
            raise
        else:
            self._saw(batch["id"], batch)
            return batch["id"]

    def _follow(self) -> None:
        task = self._task
        self._began = time.monotonic()
        retry, delays = without_limit(task.retry), poll_delays(task.poll)
        to_do = [_Followed(batch_id, Backoff(task.requester, retry)) for batch_id in task.batches]
        new = task.bodies and task.record is None
        wait = next(delays) if new else 0.0  # they were created a moment ago
        while to_do:
            task.scope.sleep(wait)
            delay, asked = next(delays), 0.0
            for each in to_do.copy():
                try:
                    over = self._go_on_with(each, delay)
                except APIError as exc:
                    task.scope.check()  # if the task was cancelled, it is not the batch's error
                    task.fail(each.batch_id, exc)
                    over = True
                asked = max(asked, retry_after(task.requester.headers, now=time.time()) or 0.0)
                if over:
                    to_do.remove(each)
            wait = max(delay, min(asked, LONGEST_WAIT))

    def _go_on_with(self, each: _Followed, delay: float) -> bool:
        """Poll a batch, and deliver its results if it has ended; return whether it is finished.

        After an error that may pass, it is polled again in the next round, so that it does not hold up other batches.
        """
        requester = self._task.requester
        try:
            batch = self.look(each.batch_id)
        except APIError as exc:
            if not self._may_be_mended(each, exc):
                raise
            wait = max(delay, min(exc.retry_after or 0.0, LONGEST_WAIT))
            requester.announce_retry(exc, requester.attempts, wait, self._retrying)
            return False
        each.seen = True
        self._saw(each.batch_id, batch)
        return batch["processing_status"] == "ended" and self._deliver(each, batch, delay)

    def _may_be_mended(self, each: _Followed, error: APIError) -> bool:
        if not self._task.retry.max_retries:
            return False
        if isinstance(error, NotFoundError):  # the API was seen to answer 404 for a batch that it had just created
            return not each.seen and time.monotonic() - self._began < NEW_FOR
        return error.retryable

    def _saw(self, batch_id: str, batch: MessageBatch) -> None:
        task = self._task
        before, known = task.counts(), task.batches.get(batch_id) is not None
        task.batches[batch_id] = batch
        counts = task.counts()
        if counts != before or not known:
            task.audience.tell(BatchProgress(task.ref, counts))

    def _deliver(self, each: _Followed, batch: MessageBatch, delay: float) -> bool:
        """Deliver a batch's results, each once, however often their file is cut; return whether it is finished."""
        requester, backoff = self._task.requester, each.backoff
        while True:
            before, whole = len(each.found), False
            try:
                self._tell_results(batch, each.found)
                whole = True
                check_complete(batch, len(each.found))
            except APIError as exc:
                error = exc
            else:
                return True
            if progress := len(each.found) > before:
                backoff.reset()
            # The API may still be writing a file that looks complete; or the counts are wrong, and stay wrong.
            each.fewer = each.fewer + 1 if whole and not progress else 0
            wait = backoff.delay(error, veto=each.fewer >= FEWER_RESULTS)
            others_turn = backoff.failures % TRIES == 0
            wait = min(max(wait, delay if others_turn else 0.0), LONGEST_WAIT)
            requester.announce_retry(error, backoff.failures, wait, self._retrying)
            if others_turn:
                return False
            requester.scope.sleep(wait)


def poll_delays(longest: float) -> Iterator[float]:
    """Yield the seconds between polls: longer each time, up to `longest`. Endless.

    Example:
        >>> import itertools
        >>> list(itertools.islice(poll_delays(3), 5))
        [1.0, 1.5, 2.25, 3, 3]
    """
    delay = min(FIRST_POLL, longest)
    while True:
        yield delay
        delay = min(delay * GROWTH, longest)
