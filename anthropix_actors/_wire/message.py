"""Types of an answer: a Message and its parts."""

from typing import Any, Literal, NotRequired, Required, TypeAlias, TypedDict


class MessageUsage(TypedDict, total=False):
    """The tokens of an answer. The numbers in a stream are totals so far, not increments.

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
    """The source of a text. Its `type` (`char_location`, ...) says which keys it has. Ends of ranges are exclusive."""

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
    """Text, perhaps with its sources."""

    type: Literal["text"]
    text: str
    citations: NotRequired[list[Citation] | None]


class ThinkingBlock(TypedDict):
    """The model's thinking. Send it back unchanged: the signature covers it."""

    type: Literal["thinking"]
    thinking: str
    signature: NotRequired[str]


class RedactedThinkingBlock(TypedDict):
    """The model's thinking, encrypted."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(TypedDict):
    """A call of one of your tools.

    `input_json` exists only if the input is not a JSON object, or not yet complete: it is the text received so far, and
    `input` is then empty. Do not run such a call; answer it with a `tool_result` that has `is_error`. `input_json` is
    this library's own addition: it is left out when the content is sent back.
    """

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    input_json: NotRequired[str]
    caller: NotRequired[dict[str, Any] | None]
    toolset_name: NotRequired[str | None]


class ServerToolUseBlock(TypedDict):
    """A call of a tool that the API or an MCP server runs. For `input_json`, see `ToolUseBlock`."""

    type: Literal["server_tool_use", "mcp_tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    input_json: NotRequired[str]
    caller: NotRequired[dict[str, Any] | None]
    server_name: NotRequired[str]


class ServerToolResultBlock(TypedDict):
    """The result of such a tool, or its error. The form of `content` depends on the tool."""

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
    """The model's answer. `stop_reason` is None if it is unfinished."""

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
