"""TypedDicts of what travels between a program and the API, exactly as on the wire.

At run time all of these are plain dicts, so nothing that the API adds is ever lost, and nothing needs converting to be
stored or forwarded. The API adds types of blocks, events and deltas without notice: a `match` should have a default
case, whatever a type checker thinks of it.

For what a caller sends, the types name what is known and accept any mapping besides: block types, tool types and model
names are open lists.

Source: https://docs.claude.com/en/api/messages and /streaming, read 2026-11-23.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Required, TypeAlias, TypedDict

if TYPE_CHECKING:
    import os

    from anthropix_actors._call import CancelToken
    from anthropix_actors._http.request import Timeout

# What the API answers


class MessageUsage(TypedDict, total=False):
    """What an answer cost, in tokens. The numbers of a stream are totals so far, not increments.

    Tokens of a compaction are in `iterations` only: a ledger must add them.
    """

    input_tokens: Required[int]
    output_tokens: Required[int]
    cache_creation_input_tokens: int | None
    cache_read_input_tokens: int | None
    cache_creation: dict[str, int] | None
    output_tokens_details: dict[str, int] | None
    server_tool_use: dict[str, int] | None
    inference_geo: str | None
    service_tier: str | None
    speed: str | None
    iterations: list[dict[str, Any]] | None


class Citation(TypedDict, total=False):
    """Where a text is taken from. Its `type` (`char_location`, ...) says which keys there are. An end is excluded."""

    type: Required[str]
    cited_text: Required[str]
    document_index: int
    document_title: str | None
    start_char_index: int
    end_char_index: int
    start_page_number: int
    end_page_number: int
    start_block_index: int
    end_block_index: int
    search_result_index: int
    source: str
    title: str | None
    url: str
    encrypted_index: str


class TextBlock(TypedDict):
    """Text, perhaps with the places it is taken from."""

    type: Literal["text"]
    text: str
    citations: NotRequired[list[Citation] | None]


class ThinkingBlock(TypedDict):
    """What the model thought. Send it back as it is: the signature covers it."""

    type: Literal["thinking"]
    thinking: str
    signature: NotRequired[str]


class RedactedThinkingBlock(TypedDict):
    """What the model thought, encrypted."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(TypedDict):
    """A call of a tool of yours.

    `input_json` is there only when the input is no JSON, or not yet complete: it is the text as far as it came, and
    `input` is then empty. Do not run such a call; answer it with a `tool_result` that has `is_error`. The note is this
    library's own: sent back with the rest of the content, it is left out.
    """

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    input_json: NotRequired[str]
    caller: NotRequired[dict[str, Any] | None]
    toolset_name: NotRequired[str | None]


class ServerToolUseBlock(TypedDict):
    """A call of a tool that the API runs itself, or an MCP server. For `input_json`, see `ToolUseBlock`."""

    type: Literal["server_tool_use", "mcp_tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    input_json: NotRequired[str]
    caller: NotRequired[dict[str, Any] | None]
    server_name: NotRequired[str]


class ServerToolResultBlock(TypedDict):
    """What such a tool gave back, or its error. The form of `content` depends on the tool."""

    type: Literal[
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "advisor_tool_result",
        "mcp_tool_result",
    ]
    tool_use_id: str
    content: Any
    is_error: NotRequired[bool]
    caller: NotRequired[dict[str, Any] | None]


class ContainerUploadBlock(TypedDict):
    """A file that was put into the container."""

    type: Literal["container_upload"]
    file_id: str


ContentBlock: TypeAlias = (
    TextBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ServerToolUseBlock
    | ServerToolResultBlock
    | ContainerUploadBlock
)
"""One block of an answer. At run time there may be other types."""

StopReason: TypeAlias = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
    "compaction",
]
"""Why the model stopped. At run time there may be others."""


class Message(TypedDict):
    """The model's answer. Of an unfinished one, `stop_reason` is None."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[ContentBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    stop_details: NotRequired[dict[str, Any] | None]
    container: NotRequired[dict[str, Any] | None]
    diagnostics: NotRequired[dict[str, Any] | None]
    context_management: NotRequired[dict[str, Any] | None]
    usage: MessageUsage


# The events of a stream


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


# What the other endpoints answer


class TokenCount(TypedDict):
    """How many tokens a request would have."""

    input_tokens: int


class Model(TypedDict):
    """A model that can be asked."""

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
    """How many requests of a batch are in which state."""

    processing: int
    succeeded: int
    errored: int
    canceled: int
    expired: int


class MessageBatch(TypedDict):
    """A batch: requests that are answered within a day, for half the price.

    `results_url` is there when it has ended. Times are RFC 3339 strings.
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
    """A request of a batch was refused, or failed; `error` is the body of an error answer."""

    type: Literal["errored"]
    error: dict[str, Any]


class BatchUnanswered(TypedDict):
    """A request of a batch was cancelled, or did not get its turn within a day. It costs nothing."""

    type: Literal["canceled", "expired"]


BatchOutcome: TypeAlias = BatchSucceeded | BatchErrored | BatchUnanswered
"""What became of one request of a batch. At run time there may be other types."""


class BatchLine(TypedDict):
    """One line of a batch's results."""

    custom_id: str
    result: BatchOutcome


class DeletedBatch(TypedDict):
    """A batch that is no more."""

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
    """A file that is no more."""

    type: Literal["file_deleted"]
    id: str


# What a caller sends


class CacheControlParam(TypedDict):
    """Cache everything up to here."""

    type: Literal["ephemeral"]
    ttl: NotRequired[Literal["5m", "1h"]]


class TextBlockParam(TypedDict):
    """Text."""

    type: Literal["text"]
    text: str
    citations: NotRequired[Sequence[Mapping[str, Any]] | None]
    cache_control: NotRequired[CacheControlParam | None]


class Base64SourceParam(TypedDict):
    """Data of its own: base64, or bytes or a path, which are encoded when they are sent."""

    type: Literal["base64"]
    media_type: str
    data: "str | bytes | os.PathLike[str]"


class URLSourceParam(TypedDict):
    """Data that the API fetches."""

    type: Literal["url"]
    url: str


class FileSourceParam(TypedDict):
    """Data that were uploaded before."""

    type: Literal["file"]
    file_id: str


class ImageBlockParam(TypedDict):
    """A picture."""

    type: Literal["image"]
    source: Base64SourceParam | URLSourceParam | FileSourceParam
    cache_control: NotRequired[CacheControlParam | None]


class DocumentBlockParam(TypedDict):
    """A document."""

    type: Literal["document"]
    source: Base64SourceParam | URLSourceParam | FileSourceParam | Mapping[str, Any]
    title: NotRequired[str | None]
    context: NotRequired[str | None]
    citations: NotRequired[Mapping[str, Any] | None]
    cache_control: NotRequired[CacheControlParam | None]


class ToolResultBlockParam(TypedDict):
    """What a tool gave back."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: NotRequired[str | Sequence[Mapping[str, Any]]]
    is_error: NotRequired[bool]
    cache_control: NotRequired[CacheControlParam | None]


ContentBlockParam: TypeAlias = (
    TextBlockParam | ImageBlockParam | DocumentBlockParam | ToolResultBlockParam | ContentBlock | Mapping[str, Any]
)
"""One block of a message to the model. A block of an answer may be sent back as it is."""


class MessageParam(TypedDict):
    """One turn of a conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | Sequence[ContentBlockParam]


class ToolParam(TypedDict, total=False):
    """A tool of yours: its input is described by a JSON schema."""

    name: Required[str]
    input_schema: Required[Mapping[str, Any]]
    description: str
    type: Literal["custom"]
    strict: bool
    cache_control: CacheControlParam | None
    defer_loading: bool
    eager_input_streaming: bool
    allowed_callers: Sequence[str]
    input_examples: Sequence[Mapping[str, Any]]


class ToolChoiceParam(TypedDict):
    """Whether the model calls tools: as it likes, one in any case, the one with this name, or none. A closed list."""

    type: Literal["auto", "any", "tool", "none"]
    name: NotRequired[str]
    disable_parallel_tool_use: NotRequired[bool]


class ThinkingParam(TypedDict):
    """Whether the model thinks before it answers; `budget_tokens`, 1024 at least, goes with `enabled`."""

    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: NotRequired[int]
    display: NotRequired[Literal["summarized", "omitted"] | None]


class OutputConfigParam(TypedDict, total=False):
    """How much effort the answer is worth, such as "high", and its form, `{"type": "json_schema", "schema": ...}`."""

    effort: str | None
    format: Mapping[str, Any] | None


class MetadataParam(TypedDict, total=False):
    """For whom the request is made: an opaque id, never a name."""

    user_id: str | None


SystemParam: TypeAlias = str | Sequence[TextBlockParam | Mapping[str, Any]]
"""What the model should know before the conversation."""


class BatchRequestParam(TypedDict):
    """One request of a batch: a name of your own choice, and the parameters of a chat."""

    custom_id: str
    params: "ChatParams | Mapping[str, Any]"


class WorkOptions(TypedDict, total=False):
    """What may be said to every call, by name.

    `beta` is added to the client's; a None among `extra_headers` removes one; `timeout` is a `Timeout`, or seconds in
    all; `max_retries` is in place of the client's; `workspace_id` is for credentials that may act in several.
    """

    beta: str | Iterable[str] | None
    extra_headers: Mapping[str, str | None] | None
    timeout: "Timeout | float | None"
    max_retries: int | None
    workspace_id: str | None


class CallOptions(WorkOptions, total=False):
    """What may be said to every call that waits, by name. `cancel` lets another thread end it."""

    cancel: "CancelToken | None"


class ProfileOptions(CallOptions, total=False):
    """The same for calls that may be made on behalf of somebody else: `user_profile_id` says of whom."""

    user_profile_id: str | None


class ChatParams(TypedDict, total=False):
    """The parameters of `Client.chat`, but for `stream`. `model` and `messages` are required."""

    model: Required[str]
    messages: Required[Sequence[MessageParam | Mapping[str, Any]]]
    max_tokens: int
    system: SystemParam | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop_sequences: Sequence[str] | None
    tools: Sequence[ToolParam | Mapping[str, Any]] | None
    tool_choice: ToolChoiceParam | None
    thinking: ThinkingParam | Mapping[str, Any] | None
    output_config: OutputConfigParam | Mapping[str, Any] | None
    output_format: Mapping[str, Any] | None
    cache_control: CacheControlParam | Mapping[str, Any] | None
    container: str | Mapping[str, Any] | None
    context_management: Mapping[str, Any] | None
    diagnostics: Mapping[str, Any] | None
    inference_geo: str | None
    mcp_servers: Sequence[Mapping[str, Any]] | None
    metadata: MetadataParam | Mapping[str, Any] | None
    service_tier: str | None
    speed: str | None
    billing_policy: Mapping[str, Any] | None
    compaction: Mapping[str, Any] | None
    fallback_credit_token: str | Mapping[str, Any] | None
    fallbacks: str | Sequence[Mapping[str, Any]] | None
    thread: Mapping[str, Any] | None
    extra_headers: Mapping[str, str | None] | None
    extra_body: Mapping[str, Any] | None
    timeout: "Timeout | float | None"
    max_retries: int | None
    user_profile_id: str | None
    workspace_id: str | None
    beta: str | Iterable[str] | None
    cancel: "CancelToken | None"
    tag: str | None
    resume: bool | None


class RequestParams(TypedDict, total=False):
    """What may be said to `Client.request`, by name."""

    path_params: Mapping[str, str | int] | None
    params: Mapping[str, Any] | None
    json: Any
    files: Mapping[str, Any] | None
    headers: Mapping[str, str | None] | None
    beta: str | Iterable[str] | None
    timeout: "Timeout | float | None"
    max_retries: int | None
    cancel: "CancelToken | None"
