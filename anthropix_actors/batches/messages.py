"""What work with batches tells its subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from anthropix_actors._wire.resources import BatchOutcome, RequestCounts
    from anthropix_actors.batches.ref import BatchRef
    from anthropix_actors.errors import AnthropixError


class BatchProgress(msgspec.Struct, frozen=True):
    """A batch was made, or its counts changed.

    Attributes:
        batch: The work it belongs to; `batch.ids` are the batches that were made so far.
        counts: How many requests are in which state, over all batches of this work.
    """

    batch: BatchRef
    counts: RequestCounts


class BatchResult(msgspec.Struct, frozen=True):
    """What became of one request.

    Attributes:
        batch: The work it belongs to.
        custom_id: The name that the request was given.
        result: `result["type"]` is `succeeded`, with a `message`, or `errored`, with an `error`, `canceled` or
            `expired`.
    """

    batch: BatchRef
    custom_id: str
    result: BatchOutcome


class BatchRetrying(msgspec.Struct, frozen=True):
    """A request about a batch failed; it is sent again after `delay` seconds.

    Attributes:
        batch: The work it belongs to.
        attempt: Which attempt of that request failed; the first is 1.
        delay: Seconds until the next one.
        error: Why it failed.
    """

    batch: BatchRef
    attempt: int
    delay: float
    error: AnthropixError


class BatchDone(msgspec.Struct, frozen=True):
    """All results have been told. The last message of its work.

    Attributes:
        batch: The work it belongs to.
        counts: How many results of each type were told.
    """

    batch: BatchRef
    counts: RequestCounts


class BatchFailed(msgspec.Struct, frozen=True):
    """There will be no more results. The last message of its work; the batches go on, and can be followed again.

    When something is wrong with one of several batches, the results of the others are told first.

    Attributes:
        batch: The work it belongs to.
        error: Why; where several batches failed, the first one's error.
        failures: What went wrong with which batch, by its id; with one that was not made, by the place of its requests,
            such as `requests[0:100000]`. Empty when it was not one batch that failed, but the work.
    """

    batch: BatchRef
    error: AnthropixError
    failures: dict[str, AnthropixError] = {}


class BatchCancelled(msgspec.Struct, frozen=True):
    """Somebody cancelled the work, or nobody listened any more. The last message of its work.

    Attributes:
        batch: The work it belongs to; the batches of `batch.ids` go on unless they were cancelled at the API, too.
        reason: Why, in a few words.
        error: Why a batch could not be cancelled at the API, where that was asked for; or that one was just being made,
            and may exist without an id in `batch.ids`. Else None.
    """

    batch: BatchRef
    reason: str
    error: AnthropixError | None = None


BatchTerminal: TypeAlias = BatchDone | BatchFailed | BatchCancelled
"""The message that ends work with batches."""

BatchMessage: TypeAlias = BatchProgress | BatchResult | BatchRetrying | BatchTerminal
"""Whatever is told about batches."""
