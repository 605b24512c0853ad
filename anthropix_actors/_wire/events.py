"""Types of a stream: the events that build a Message."""

from typing import Any, Literal, NotRequired, Required, TypeAlias, TypedDict

from anthropix_actors._wire.message import Citation, ContentBlock, Message, StopReason


class MessageStart(TypedDict):
    """The first event: a Message without content."""

    type: Literal["message_start"]
    message: Message


class ContentBlockStart(TypedDict):
    """A block begins; usually it is empty."""

    type: Literal["content_block_start"]
    index: int
    content_block: ContentBlock


class TextDelta(TypedDict):
    """More text."""

    type: Literal["text_delta"]
    text: str


class ThinkingDelta(TypedDict):
    """More thinking text."""

    type: Literal["thinking_delta"]
    thinking: str


class SignatureDelta(TypedDict):
    """The signature of a thinking block."""

    type: Literal["signature_delta"]
    signature: str


class InputJSONDelta(TypedDict):
    """More of the JSON text of a tool's input."""

    type: Literal["input_json_delta"]
    partial_json: str


class CitationsDelta(TypedDict):
    """One more citation."""

    type: Literal["citations_delta"]
    citation: Citation


Delta: TypeAlias = TextDelta | ThinkingDelta | SignatureDelta | InputJSONDelta | CitationsDelta
"""An addition to a block. At run time there may be other types."""


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
    """The fields of the Message that a `MessageDelta` sets."""

    stop_reason: StopReason | None
    stop_sequence: str | None
    stop_details: NotRequired[dict[str, Any] | None]
    container: NotRequired[dict[str, Any] | None]


class DeltaUsage(TypedDict, total=False):
    """The totals so far; a field that is absent or None has not changed."""

    output_tokens: Required[int]
    input_tokens: int | None
    cache_creation_input_tokens: int | None
    cache_read_input_tokens: int | None
    output_tokens_details: dict[str, int] | None
    server_tool_use: dict[str, int] | None
    iterations: list[dict[str, Any]] | None


class MessageDelta(TypedDict):
    """The stop reason and the usage of the Message."""

    type: Literal["message_delta"]
    delta: MessageDeltaFields
    usage: DeltaUsage
    context_management: NotRequired[dict[str, Any] | None]


class MessageStop(TypedDict):
    """The answer is complete. Only this event proves it."""

    type: Literal["message_stop"]


Event: TypeAlias = MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop
"""One delivered event of a stream: pings are left out, errors are raised. At run time there may be other types."""


class Ping(TypedDict):
    """The connection is alive."""

    type: Literal["ping"]


class ErrorEvent(TypedDict):
    """The answer ends here; `error` has `type` and `message`. The body of an error response has the same form."""

    type: Literal["error"]
    error: dict[str, Any]
    request_id: NotRequired[str | None]


WireEvent: TypeAlias = Event | Ping | ErrorEvent
"""One event as the API sends it. At run time there may be other types."""
