"""Types of the other endpoints' responses."""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from anthropix_actors._wire.message import Message


class TokenCount(TypedDict):
    """The input tokens that a request would have."""

    input_tokens: int


class Model(TypedDict):
    """A model that requests can name."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: str
    line: NotRequired[str | None]
    lifecycle: NotRequired[Literal["active", "deprecated", "retired"]]
    deprecated_at: NotRequired[str | None]
    retires_at: NotRequired[str | None]
    max_input_tokens: NotRequired[int | None]
    max_tokens: NotRequired[int | None]
    capabilities: NotRequired[dict[str, Any] | None]


class RequestCounts(TypedDict):
    """The number of a batch's requests in each state."""

    processing: int
    succeeded: int
    errored: int
    canceled: int
    expired: int


class MessageBatch(TypedDict):
    """A batch: requests that are answered within a day, for half the price.

    `results_url` is set when the batch has ended. Times are RFC 3339 strings.
    """

    type: Literal["message_batch"]
    id: str
    processing_status: Literal["in_progress", "canceling", "ended"]
    request_counts: RequestCounts
    created_at: str
    expires_at: str
    ended_at: str | None
    cancel_initiated_at: str | None
    archived_at: str | None
    results_url: str | None


class BatchSucceeded(TypedDict):
    """A request of a batch was answered."""

    type: Literal["succeeded"]
    message: Message


class BatchErrored(TypedDict):
    """A request of a batch was refused, or failed; `error` is the body of an error response."""

    type: Literal["errored"]
    error: dict[str, Any]


class BatchUnanswered(TypedDict):
    """A request of a batch was cancelled, or not processed within a day. It costs nothing."""

    type: Literal["canceled", "expired"]


BatchOutcome: TypeAlias = BatchSucceeded | BatchErrored | BatchUnanswered
"""The outcome of one request of a batch. At run time there may be other types."""


class BatchLine(TypedDict):
    """One line of a batch's results."""

    custom_id: str
    result: BatchOutcome


class DeletedBatch(TypedDict):
    """A deleted batch."""

    type: Literal["message_batch_deleted"]
    id: str


class FileMetadata(TypedDict):
    """A file that was uploaded, or made by a tool."""

    type: Literal["file"]
    id: str
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    downloadable: NotRequired[bool | None]
    expires_at: NotRequired[str | None]


class DeletedFile(TypedDict):
    """A deleted file."""

    type: Literal["file_deleted"]
    id: str
