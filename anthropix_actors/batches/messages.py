"""The messages that a batch task sends to its subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from anthropix_actors._foreign.public_names import publish

if TYPE_CHECKING:
    from anthropix_actors._wire.resources import BatchOutcome, RequestCounts
    from anthropix_actors.batches.ref import BatchRef
    from anthropix_actors.errors import AnthropixError


class BatchProgress(msgspec.Struct, frozen=True):
    """A batch was created, or its counts changed.

    Attributes:
        batch: The task's ref; `batch.ids` are the batches created so far.
        counts: How many requests are in which state, over all batches of the task.
    """

    batch: BatchRef
    counts: RequestCounts


class BatchResult(msgspec.Struct, frozen=True):
    """The result of one request.

    Attributes:
        batch: The task's ref.
        custom_id: The `custom_id` of the request.
        result: `result["type"]` is `succeeded`, with a `message`, or `errored`, with an `error`, `canceled` or
            `expired`.
    """

    batch: BatchRef
    custom_id: str
    result: BatchOutcome


class BatchResults(msgspec.Struct, frozen=True):
    """The results that arrived together: for a subscriber that asked for `as_lists`, in place of a `BatchResult` each.

    Attributes:
        batch: The task's ref.
        results: The results, at least one; some 64 KiB of the file, or one that is larger.
    """

    batch: BatchRef
    results: list[BatchResult]


class BatchRetrying(msgspec.Struct, frozen=True):
    """A request about a batch failed; it is retried after `delay` seconds.

    Attributes:
        batch: The task's ref.
        attempt: Which attempt of that request failed; the first is 1.
        delay: Seconds until the next attempt.
        error: Why it failed.
    """

    batch: BatchRef
    attempt: int
    delay: float
    error: AnthropixError


class BatchDone(msgspec.Struct, frozen=True):
    """All results have been delivered. The last message of the task.

    Attributes:
        batch: The task's ref.
        counts: How many results of each type were delivered.
    """

    batch: BatchRef
    counts: RequestCounts


class BatchFailed(msgspec.Struct, frozen=True):
    """No more results follow. The last message of the task; the batches go on, and can be followed again.

    When one of several batches fails, the results of the others are delivered first.

    Attributes:
        batch: The task's ref.
        error: Why; if several batches failed, the error of the first.
        failures: The error of each failed batch, by its id; of a batch that was not created, by the place of its
            requests, such as `requests[0:100000]`. Empty if no batch failed, but the task.
    """

    batch: BatchRef
    error: AnthropixError
    failures: dict[str, AnthropixError] = {}


class BatchCancelled(msgspec.Struct, frozen=True):
    """The task was cancelled, or its last subscriber was gone. The last message of the task.

    Attributes:
        batch: The task's ref; the batches of `batch.ids` go on, unless `cancel(at_api=True)` cancelled them.
        reason: Why, in a few words.
        error: Why a batch could not be cancelled at the API, if that was asked for; or that one was just being created,
            and may exist without an id in `batch.ids`. Else None.
    """

    batch: BatchRef
    reason: str
    error: AnthropixError | None = None


BatchTerminal: TypeAlias = BatchDone | BatchFailed | BatchCancelled
"""The terminal message of a batch task."""

BatchMessage: TypeAlias = BatchProgress | BatchResult | BatchResults | BatchRetrying | BatchTerminal
"""Every message of a batch task."""


publish(
    "anthropix_actors.messages",
    (
        BatchProgress,
        BatchResult,
        BatchResults,
        BatchRetrying,
        BatchDone,
        BatchFailed,
        BatchCancelled,
    ),
)
