"""What is known of work with batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from anthropix_actors._record import Record
from anthropix_actors._request import as_timeout
from anthropix_actors._scope import CancelScope
from anthropix_actors.messages import BatchCancelled, BatchFailed

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from anthropix_actors._batch_body import BatchBody
    from anthropix_actors._caller import Calls
    from anthropix_actors._request import Request
    from anthropix_actors.errors import AnthropixError, CancelledError
    from anthropix_actors.messages import BatchResult, BatchTerminal
    from anthropix_actors.types import MessageBatch, RequestCounts


class BatchState(msgspec.Struct, frozen=True):
    """How far work with batches has come.

    Attributes:
        batches: The batches as they were last seen, in the order in which they were made.
        counts: How many requests are in which state, over all of them.
        told: How many results have been told.
    """

    batches: tuple[MessageBatch, ...]
    counts: RequestCounts
    told: int


class BatchRecord(Record):
    """The state of one piece of work with batches.

    Attributes:
        calls: The client's calls.
        options: What its requests have in common: `WorkOptions`.
        retry: How often they are sent again.
        bodies: What is still to be made into batches.
        batches: Those made so far as last seen, by id; a batch that has not been looked at yet is None.
        results: How many results of each type were told.
        cancels_batches: Whether a cancel cancels them at the API, too.
    """

    what = "batch"

    def __init__(  # noqa: PLR0913 - what there is to know at the start
        self,
        calls: Calls,
        options: dict[str, Any],
        *,
        bodies: list[BatchBody] | None = None,
        batches: Mapping[str, MessageBatch | None] | None = None,
        poll: float = 0.0,
        seen: Container[str] = (),
        tag: str | None = None,
    ) -> None:
        """Start with what is to be made, or with what was made before."""
        timeout = as_timeout(options.get("timeout"), calls.timeout)
        super().__init__(calls.transport, CancelScope(), timeout, tag=tag, ledger=calls.ledger)
        self.calls = calls
        self.options = options
        self.retry = calls.retry_of(options.get("max_retries"))
        self.bodies = bodies or []
        self.batches: dict[str, MessageBatch | None] = dict(batches or {})
        self.poll = poll
        self.seen = seen
        self.results = _no_counts()
        self.cancels_batches = False
        self.cancel_error: AnthropixError | None = None

    def cancelled(self, error: CancelledError) -> BatchTerminal:
        return BatchCancelled(self.ref, error.reason, self.cancel_error)

    def failed(self, error: AnthropixError) -> BatchTerminal:
        return BatchFailed(self.ref, error)

    def request(self, method: str, path: str, **more: Any) -> Request:
        return self.calls.request(method, path, **self.options, **more)

    def note(self, result: BatchResult) -> None:
        """Count a result that was told."""
        results = cast("dict[str, int]", self.results)
        kind = result.result["type"]
        results[kind] = results.get(kind, 0) + 1
        self.book(result)

    def counts(self) -> RequestCounts:
        """Add up the counts of all batches."""
        total = cast("dict[str, int]", _no_counts())
        for batch in list(self.batches.values()):
            counts = cast("dict[str, int]", batch["request_counts"] if batch else {})
            for name, count in counts.items():
                total[name] = total.get(name, 0) + count
        return cast("RequestCounts", total)


def _no_counts() -> RequestCounts:
    return {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
