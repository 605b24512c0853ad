"""Claude for threaded Python: each chat request is an actor, and its answer can be streamed to any actor.

>>> from anthropix_actors import Client, text_of
>>> message = client.chat(model="claude-sonnet-5", messages=[{"role": "user", "content": "Hello"}])
>>> text_of(message)
'Hello!'

`Client.chat` has three ways to give an answer: it returns the Message, or a `Stream` to loop over, or sends events to a
subscriber.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from anthropix_actors._foreign.late_imports import late_names
from anthropix_actors.errors import (
    AnthropixError,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    CancelledError,
    ConfigurationError,
    ConflictError,
    DeadlockError,
    GatewayTimeoutError,
    InternalServerError,
    NotFoundError,
    OutputError,
    OverloadedError,
    ParameterError,
    PaymentRequiredError,
    PermissionDeniedError,
    PreconditionFailedError,
    Problem,
    ProtocolError,
    RateLimitError,
    RequestTimeoutError,
    RequestTooLargeError,
    ServiceUnavailableError,
    StalledError,
    TruncatedError,
    UnprocessableEntityError,
)

if TYPE_CHECKING:
    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors._calls.item_stream import ItemStream
    from anthropix_actors._calls.pages import Pages
    from anthropix_actors._http.request import Timeout
    from anthropix_actors._http.version import __version__
    from anthropix_actors._tasks.waits import as_completed
    from anthropix_actors.batches.ref import BatchRef
    from anthropix_actors.batches.task import BatchState
    from anthropix_actors.chat.actor import ChatActor
    from anthropix_actors.chat.output import Parsed
    from anthropix_actors.chat.pieces import BlockPiece, Piece, TextPiece, ThinkingPiece, ToolInputPiece
    from anthropix_actors.chat.ref import ChatRef
    from anthropix_actors.chat.stream import Stream
    from anthropix_actors.client import Client
    from anthropix_actors.content import text_of
    from anthropix_actors.conversation.agent import Agent, Limits
    from anthropix_actors.conversation.conversations import Conversations
    from anthropix_actors.conversation.ref import ConversationRef
    from anthropix_actors.conversation.turn_ref import TurnRef
    from anthropix_actors.hub.hub import Hub
    from anthropix_actors.hub.worker import Worker
    from anthropix_actors.ledger import Cost, Ledger, Price
    from anthropix_actors.limits.governor import Governor, RateLimit
    from anthropix_actors.messages import (
        AnswerDone,
        Approval,
        ApprovalGiven,
        ApprovalNeeded,
        BatchCancelled,
        BatchDone,
        BatchFailed,
        BatchMessage,
        BatchProgress,
        BatchResult,
        BatchResults,
        BatchRetrying,
        BatchTerminal,
        ChatCancelled,
        ChatDone,
        ChatEvent,
        ChatFailed,
        ChatMessage,
        ChatResumed,
        ChatRetrying,
        Compacted,
        LimitReached,
        SessionApprovalGiven,
        SessionApprovalNeeded,
        SessionCancelled,
        SessionDone,
        SessionEvent,
        SessionFailed,
        SessionMessage,
        SessionRetrying,
        SessionTerminal,
        SessionToolDone,
        SessionToolMessage,
        SessionToolProgress,
        SessionToolStarted,
        Steered,
        Subscriber,
        Terminal,
        ToolDone,
        ToolProgress,
        ToolStarted,
        ToolUse,
        TurnCancelled,
        TurnDone,
        TurnFailed,
        TurnMessage,
        TurnSuspended,
        TurnTerminal,
    )
    from anthropix_actors.sessions.ref import SessionRef
    from anthropix_actors.tools import Call, Mcp, McpError, Tool, ToolError, run_tools, tool
    from anthropix_actors.usage import Usage

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "Agent",
    "AnswerDone",
    "AnthropixError",
    "Approval",
    "ApprovalGiven",
    "ApprovalNeeded",
    "AuthenticationError",
    "BadRequestError",
    "BatchCancelled",
    "BatchDone",
    "BatchFailed",
    "BatchMessage",
    "BatchProgress",
    "BatchRef",
    "BatchResult",
    "BatchResults",
    "BatchRetrying",
    "BatchState",
    "BatchTerminal",
    "BlockPiece",
    "Call",
    "CancelToken",
    "CancelledError",
    "ChatActor",
    "ChatCancelled",
    "ChatDone",
    "ChatEvent",
    "ChatFailed",
    "ChatMessage",
    "ChatRef",
    "ChatResumed",
    "ChatRetrying",
    "Client",
    "Compacted",
    "ConfigurationError",
    "ConflictError",
    "ConversationRef",
    "Conversations",
    "Cost",
    "DeadlockError",
    "GatewayTimeoutError",
    "Governor",
    "Hub",
    "InternalServerError",
    "ItemStream",
    "Ledger",
    "LimitReached",
    "Limits",
    "Mcp",
    "McpError",
    "NotFoundError",
    "OutputError",
    "OverloadedError",
    "Pages",
    "ParameterError",
    "Parsed",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "Piece",
    "PreconditionFailedError",
    "Price",
    "Problem",
    "ProtocolError",
    "RateLimit",
    "RateLimitError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "ServiceUnavailableError",
    "SessionApprovalGiven",
    "SessionApprovalNeeded",
    "SessionCancelled",
    "SessionDone",
    "SessionEvent",
    "SessionFailed",
    "SessionMessage",
    "SessionRef",
    "SessionRetrying",
    "SessionTerminal",
    "SessionToolDone",
    "SessionToolMessage",
    "SessionToolProgress",
    "SessionToolStarted",
    "StalledError",
    "Steered",
    "Stream",
    "Subscriber",
    "Terminal",
    "TextPiece",
    "ThinkingPiece",
    "Timeout",
    "Tool",
    "ToolDone",
    "ToolError",
    "ToolInputPiece",
    "ToolProgress",
    "ToolStarted",
    "ToolUse",
    "TruncatedError",
    "TurnCancelled",
    "TurnDone",
    "TurnFailed",
    "TurnMessage",
    "TurnRef",
    "TurnSuspended",
    "TurnTerminal",
    "UnprocessableEntityError",
    "Usage",
    "Worker",
    "__version__",
    "as_completed",
    "run_tools",
    "text_of",
    "tool",
]

_HOMES = {
    "_calls.cancel_token": ("CancelToken",),
    "_calls.item_stream": ("ItemStream",),
    "_calls.pages": ("Pages",),
    "_http.request": ("Timeout",),
    "_tasks.waits": ("as_completed",),
    "batches.ref": ("BatchRef",),
    "batches.task": ("BatchState",),
    "chat.actor": ("ChatActor",),
    "chat.output": ("Parsed",),
    "chat.pieces": ("BlockPiece", "Piece", "TextPiece", "ThinkingPiece", "ToolInputPiece"),
    "chat.ref": ("ChatRef",),
    "chat.stream": ("Stream",),
    "client": ("Client",),
    "content": ("text_of",),
    "conversation.agent": ("Agent", "Limits"),
    "conversation.conversations": ("Conversations",),
    "conversation.ref": ("ConversationRef",),
    "conversation.turn_ref": ("TurnRef",),
    "hub.hub": ("Hub",),
    "hub.worker": ("Worker",),
    "ledger": (
        "Cost",
        "Ledger",
        "Price",
    ),
    "limits.governor": (
        "Governor",
        "RateLimit",
    ),
    "messages": (
        "AnswerDone",
        "Approval",
        "ApprovalGiven",
        "ApprovalNeeded",
        "BatchCancelled",
        "BatchDone",
        "BatchFailed",
        "BatchMessage",
        "BatchProgress",
        "BatchResult",
        "BatchResults",
        "BatchRetrying",
        "BatchTerminal",
        "ChatCancelled",
        "ChatDone",
        "ChatEvent",
        "ChatFailed",
        "ChatMessage",
        "ChatResumed",
        "ChatRetrying",
        "Compacted",
        "LimitReached",
        "SessionApprovalGiven",
        "SessionApprovalNeeded",
        "SessionCancelled",
        "SessionDone",
        "SessionEvent",
        "SessionFailed",
        "SessionMessage",
        "SessionRetrying",
        "SessionTerminal",
        "SessionToolDone",
        "SessionToolMessage",
        "SessionToolProgress",
        "SessionToolStarted",
        "Steered",
        "Subscriber",
        "Terminal",
        "ToolDone",
        "ToolProgress",
        "ToolStarted",
        "ToolUse",
        "TurnCancelled",
        "TurnDone",
        "TurnFailed",
        "TurnMessage",
        "TurnSuspended",
        "TurnTerminal",
    ),
    "sessions.ref": ("SessionRef",),
    "tools": ("Call", "Mcp", "McpError", "Tool", "ToolError", "run_tools", "tool"),
    "usage": ("Usage",),
    "_http.version": ("__version__",),
}
"""The modules that public names are in. Each is imported when one of its names is used first.

Errors are imported at once: a program may name one first while the interpreter exits, when nothing can be imported.
"""

_MOVED = (
    *("_batch_record", "_batch_ref", "_call", "_chat", "_output", "_request", "_session", "_waits"),
    *("governor", "items", "pages", "stream"),
)
"""Modules of 0.4.0: pickles name them, and programs import some; they find there what is public now."""


__getattr__ = late_names(__name__, _HOMES, globals())


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet as well."""
    return sorted({*globals(), *__all__})


for _name in _MOVED:
    _old = ModuleType(f"{__name__}.{_name}", "Where something was in 0.4.0.")
    _old.__getattr__ = __getattr__  # type: ignore[method-assign]
    globals()[_name] = sys.modules[_old.__name__] = _old
