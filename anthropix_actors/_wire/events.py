"""What a stream says: the events of a Message."""

from typing import Any, Literal, NotRequired, Required, TypeAlias, TypedDict

from anthropix_actors._wire.message import Citation, ContentBlock, Message, StopReason


class MessageStart(TypedDict):
    """The first event: a Message without content."""

    type: Literal["message_start"]
    message: Message


class ContentBlockStart(TypedDict):
    """A block begins, mostly an empty one."""

    type: Literal["content_block_start"]
    index: int
    content_block: ContentBlock


class TextDelta(TypedDict):
    """More text."""

    type: Literal["text_delta"]
    text: str


class ThinkingDelta(TypedDict):
    """More of what the model thinks."""

    type: Literal["thinking_delta"]
    thinking: str


class SignatureDelta(TypedDict):
    """The signature of what the model thought."""

    type: Literal["signature_delta"]
    signature: str


class InputJSONDelta(TypedDict):
    """More of the JSON of a tool's input."""

    type: Literal["input_json_delta"]
    partial_json: str


class CitationsDelta(TypedDict):
    """One more citation."""

    type: Literal["citations_delta"]
    citation: Citation


Delta: TypeAlias = TextDelta | ThinkingDelta | SignatureDelta | InputJSONDelta | CitationsDelta
"""What a block grows by. At run time there may be other types."""


class ContentBlockDelta(TypedDict):
    """A block grows."""

    type: Literal["content_block_delta"]
    index: int
    delta: Delta


class ContentBlockStop(TypedDict):
    """A block is complete."""

    type: Literal["content_block_stop"]
    index: int


class MessageDeltaFields(TypedDict):
    """What a `MessageDelta` changes about the Message."""

    stop_reason: StopReason | None
    stop_sequence: str | None
    stop_details: NotRequired[dict[str, Any] | None]
    container: NotRequired[dict[str, Any] | None]


class DeltaUsage(TypedDict, total=False):
    """The totals so far; what is absent or None has not changed."""

    output_tokens: Required[int]
    input_tokens: int | None
    cache_creation_input_tokens: int | None
    cache_read_input_tokens: int | None
    output_tokens_details: dict[str, int] | None
    server_tool_use: dict[str, int] | None
    iterations: list[dict[str, Any]] | None


class MessageDelta(TypedDict):
    """The Message gets its stop reason and its usage."""

    type: Literal["message_delta"]
    delta: MessageDeltaFields
    usage: DeltaUsage
    context_management: NotRequired[dict[str, Any] | None]


class MessageStop(TypedDict):
    """The answer is complete. Nothing else proves that."""

    type: Literal["message_stop"]


Event: TypeAlias = MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop
"""One event of a stream, as it is told: pings are not, errors are raised. At run time there may be other types."""


class Ping(TypedDict):
    """The connection is alive."""

    type: Literal["ping"]


class ErrorEvent(TypedDict):
    """The answer breaks off here: `error` has `type` and `message`. An error with its own HTTP status has this body."""

    type: Literal["error"]
    error: dict[str, Any]
    request_id: NotRequired[str | None]


WireEvent: TypeAlias = Event | Ping | ErrorEvent
"""One event as the API sends it. At run time there may be other types."""
