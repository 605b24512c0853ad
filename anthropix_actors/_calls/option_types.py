"""The parameters of calls as types, by name; `anthropix_actors.types` has them. Imported for type checkers alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, Required, TypedDict

from anthropix_actors._calls.cancel_token import CancelToken
from anthropix_actors._http.request import Timeout
from anthropix_actors._wire.params import (
    CacheControlParam,
    MessageParam,
    MetadataParam,
    OutputConfigParam,
    SystemParam,
    ThinkingParam,
    ToolChoiceParam,
    ToolParam,
)


class ToolServer(Protocol):
    """What stands for the tools of a server: an `Mcp`."""

    def tools(self) -> Sequence[Any]:
        """Return its tools."""
        ...

    def offered(self) -> Sequence[Any] | None:
        """Return its tools as they were listed last."""
        ...


class BatchRequestParam(TypedDict):
    """One request of a batch: an id of your choice, and the parameters of a chat."""

    custom_id: str
    params: "ChatParams | Mapping[str, Any]"


class WorkOptions(TypedDict, total=False):
    """The options of every call and task.

    `beta` is added to the client's; a None among `extra_headers` removes a header; `timeout` is a `Timeout`, or seconds
    in all; `max_retries` replaces the client's; `workspace_id` is for credentials that may act in several workspaces.
    """

    beta: str | Iterable[str] | None
    extra_headers: Mapping[str, str | None] | None
    timeout: Timeout | float | None
    max_retries: int | None
    workspace_id: str | None


class CallOptions(WorkOptions, total=False):
    """The options of every blocking call. `cancel` lets another thread end it."""

    cancel: CancelToken | None


class ProfileOptions(CallOptions, total=False):
    """The options of calls that may be made on behalf of another user: `user_profile_id` names the user."""

    user_profile_id: str | None


class ChatParams(TypedDict, total=False):
    """The parameters of `Client.chat` except `stream`, `coalesce` and `output`. `model`, `messages` are required."""

    model: Required[str]
    messages: Required[Sequence[MessageParam | Mapping[str, Any]]]
    max_tokens: int
    system: SystemParam | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop_sequences: Sequence[str] | None
    tools: Iterable[ToolParam | Mapping[str, Any] | Callable[..., Any] | ToolServer] | None
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
    timeout: Timeout | float | None
    max_retries: int | None
    user_profile_id: str | None
    workspace_id: str | None
    beta: str | Iterable[str] | None
    cancel: CancelToken | None
    tag: str | None
    resume: bool | None


class RequestParams(TypedDict, total=False):
    """The options of `Client.request`."""

    path_params: Mapping[str, str | int] | None
    params: Mapping[str, Any] | None
    json: Any
    files: Mapping[str, Any] | None
    headers: Mapping[str, str | None] | None
    beta: str | Iterable[str] | None
    timeout: Timeout | float | None
    max_retries: int | None
    cancel: CancelToken | None
