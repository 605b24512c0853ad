"""Types of a request: its blocks, messages and tools."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, Required, TypeAlias, TypedDict

from anthropix_actors._wire.message import ContentBlock


class CacheControlParam(TypedDict):
    """Caches the request up to here."""

    type: Literal["ephemeral"]
    ttl: NotRequired[Literal["5m", "1h"]]


class TextBlockParam(TypedDict):
    """Text."""

    type: Literal["text"]
    text: str
    citations: NotRequired[Sequence[Mapping[str, Any]] | None]
    cache_control: NotRequired[CacheControlParam | None]


class Base64SourceParam(TypedDict):
    """Data in the request: base64, or bytes or a path, which are encoded when they are sent."""

    type: Literal["base64"]
    media_type: str
    data: str | bytes | os.PathLike[str]


class URLSourceParam(TypedDict):
    """Data that the API fetches."""

    type: Literal["url"]
    url: str


class FileSourceParam(TypedDict):
    """Data that were uploaded earlier."""

    type: Literal["file"]
    file_id: str


class ImageBlockParam(TypedDict):
    """An image."""

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
    """The result of a tool."""

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
    """One of your tools, whose input is described by a JSON schema."""

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
    """Whether the model calls tools: as it decides, at least one, the one with this name, or none. A closed list."""

    type: Literal["auto", "any", "tool", "none"]
    name: NotRequired[str]
    disable_parallel_tool_use: NotRequired[bool]


class ThinkingParam(TypedDict):
    """Whether the model thinks before it answers; `budget_tokens`, 1024 at least, goes with `enabled`."""

    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: NotRequired[int]
    display: NotRequired[Literal["summarized", "omitted"] | None]


class OutputConfigParam(TypedDict, total=False):
    """The effort of the answer, such as "high", and its form, `{"type": "json_schema", "schema": ...}`."""

    effort: str | None
    format: Mapping[str, Any] | None


class MetadataParam(TypedDict, total=False):
    """The end user of the request: an opaque id, never a name."""

    user_id: str | None


SystemParam: TypeAlias = str | Sequence[TextBlockParam | Mapping[str, Any]]
"""The system prompt."""
