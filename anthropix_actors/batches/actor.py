"""The batch actor: makes batches, watches them until they end, and tells their results.

The life of its work: every batch is made → each is looked at, less and less often → as one ends, its results are told →
exactly one terminal message. Batches live at the API, whatever becomes of this program: their ids are all it takes to
follow them again.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from anthropix_actors._http.request import Timeout
from anthropix_actors._http.requester import Requester
from anthropix_actors._http.retry import retry_after, without_limit
from anthropix_actors.batches.deliver import TellingActor
from anthropix_actors.batches.messages import BatchProgress, BatchRetrying
from anthropix_actors.batches.results import (
    BATCHES,
    MAY_EXIST,
    certainly_not_created,
    check_complete,
    decode_batch,
    saying_what_may_exist,
)
from anthropix_actors.errors import AnthropixError, APIConnectionError, APIError, CancelledError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors._wire.resources import MessageBatch
    from anthropix_actors.batches.body import BatchBody
    from anthropix_actors.batches.task import BatchTask

FIRST_POLL = 1.0
GROWTH = 1.5
"""How much longer each wait between two looks is than the one before."""

LONGEST_WAIT = 3600.0
"""Seconds that the API may ask to wait until the next look."""

NEW_FOR = 20.0
"""Seconds from the start of the following in which a batch that was never seen may still appear at the API."""

FEWER_RESULTS = 5
"""How often in a row whole results are read again that are fewer than the batch's counts say, and always the same."""

TRIES = 3
"""How often in a row the results of a batch are asked for in vain, before the others have their turn."""

_CANCEL_TIMEOUT = Timeout(connect=5, read=10, first_byte=10)


class _Followed:
    """One batch that is followed, and how that goes."""

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        self.seen = False  # at the API
        self.found: set[str] = set()  # the `custom_id`s of its results
        self.failures = 0  # of reading its results, in a row
        self.fewer = 0  # how many of these got all of the file


class BatchActor(TellingActor):
    """Makes batches, follows them, and tells their results. What goes wrong with one of them is no other's end."""

    def __init__(self, task: BatchTask) -> None:
        """Start before anything is followed."""
        super().__init__(task)
        self._began = 0.0  # to follow, on the monotonic clock

    def run(self) -> None:
        """Make, follow, tell."""
        for body in self._task.bodies:
            self._make(body)
            body.close()
        self._follow()
        self._done()

    def on_stop(self) -> None:
        """Let go of what was not made, too."""
        super().on_stop()
        for body in self._task.bodies:
            body.close()

    def on_error(self) -> None:
        """Cancel the batches at the API, where that was asked for."""
        task = self._task
        if task.cancels_batches:
            requester = Requester(task.core.transport, task.parting)  # the work's own scope was cancelled
            for batch_id, batch in list(task.batches.items()):
                if batch is None or batch["processing_status"] == "in_progress":
                    self._cancel_at_api(requester, batch_id)

    def _cancel_at_api(self, requester: Requester, batch_id: str) -> None:
        task, path = self._task, f"{BATCHES}/{batch_id}"
        options: dict[str, Any] = {**task.options, "timeout": _CANCEL_TIMEOUT}
        cancel = task.core.request("POST", path + "/cancel", **options)
        look = task.core.request("GET", path, **options)
        try:
            task.batches[batch_id] = requester.send(cancel, decode_batch)
        except AnthropixError as exc:
            with contextlib.suppress(AnthropixError):
                task.batches[batch_id] = batch = requester.send(look, decode_batch)
                if batch["processing_status"] != "in_progress":
                    return  # the API refuses to cancel what has ended meanwhile
            task.cancel_error = task.cancel_error or exc

    def _make(self, body: BatchBody) -> None:
        task, requester = self._task, self._task.requester
        request = task.request("POST", BATCHES, body=body)
        refused = 0

        def retrying(error: APIError, delay: float) -> None:
            nonlocal refused
            refused = requester.attempts
            self._retrying(error, delay)

        try:
            with saying_what_may_exist():
                batch = requester.send(request, decode_batch, again=certainly_not_created, retrying=retrying)
        except APIError as exc:
            task.scope.check()
            task.fail(body.place, exc)
        except CancelledError:
            if requester.attempts > refused:  # cancelled while it was being made
                task.cancel_error = APIConnectionError(f"{body.place}: {MAY_EXIST}")
            raise
        else:
            self._saw(batch["id"], batch)

    def _follow(self) -> None:
        task = self._task
        self._began = time.monotonic()
        to_do, delays = [_Followed(batch_id) for batch_id in task.batches], poll_delays(task.poll)
        wait = next(delays) if task.bodies else 0.0  # what was made a moment ago
        while to_do:
            task.scope.sleep(wait)
            delay, asked = next(delays), 0.0
            for each in to_do.copy():
                try:
                    over = self._go_on_with(each, delay)
                except APIError as exc:
                    task.scope.check()  # else it is no batch's error, but the end of the work
                    task.fail(each.batch_id, exc)
                    over = True
                asked = max(asked, retry_after(task.requester.headers, now=time.time()) or 0.0)
                if over:
                    to_do.remove(each)
            wait = max(delay, min(asked, LONGEST_WAIT))

    def _go_on_with(self, each: _Followed, delay: float) -> bool:
        """Look at a batch, and tell its results if it has ended; get whether that is done.

        What fails and may be mended has its next turn in the next round, so that it holds up no other batch.
        """
        try:
            batch = self._look(each.batch_id)
        except APIError as exc:
            if not self._may_be_mended(each, exc):
                raise
            wait = max(delay, min(exc.retry_after or 0.0, LONGEST_WAIT))
            self._task.requester.log_retry(exc, wait)
            self._retrying(exc, wait)
            return False
        each.seen = True
        self._saw(each.batch_id, batch)
        return batch["processing_status"] == "ended" and self._deliver(each, batch, delay)

    def _may_be_mended(self, each: _Followed, error: APIError) -> bool:
        if not self._task.retry.max_retries:
            return False
        if isinstance(error, NotFoundError):  # the API has been seen not to know a batch that it has just made
            return not each.seen and time.monotonic() - self._began < NEW_FOR
        return error.retryable

    def _saw(self, batch_id: str, batch: MessageBatch) -> None:
        task = self._task
        before, known = task.counts(), task.batches.get(batch_id) is not None
        task.batches[batch_id] = batch
        counts = task.counts()
        if counts != before or not known:
            task.tell(BatchProgress(task.ref, counts))

    def _deliver(self, each: _Followed, batch: MessageBatch, delay: float) -> bool:
        """Tell a batch's results, each once, however often their file is cut; get whether that is done."""
        task = self._task
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
            progress = len(each.found) > before
            each.failures = 1 if progress else each.failures + 1
            # A whole file with too few results may still be written; or the counts are wrong, and stay so.
            each.fewer = each.fewer + 1 if whole and not progress else 0
            task.requester.annotate(error)
            wait = without_limit(task.retry).delay(error, attempts=each.failures, dice=0.0)
            if wait is None or each.fewer >= FEWER_RESULTS:
                raise error
            others_turn = each.failures % TRIES == 0
            wait = min(max(wait, delay if others_turn else 0.0), LONGEST_WAIT)
            task.requester.log_retry(error, wait)
            task.note_retry()
            task.tell(BatchRetrying(task.ref, each.failures, wait, error))
            if others_turn:
                return False
            task.scope.sleep(wait)


def poll_delays(longest: float) -> Iterator[float]:
    """Get the seconds between the looks at batches: longer each time, up to `longest`. Without an end.

    Example:
        >>> import itertools
        >>> list(itertools.islice(poll_delays(3), 5))
        [1.0, 1.5, 2.25, 3, 3]
    """
    delay = min(FIRST_POLL, longest)
    while True:
        yield delay
        delay = min(delay * GROWTH, longest)
