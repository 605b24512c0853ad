"""Claude for threaded Python: each chat request is an actor, and its answer can be streamed to any actor.

>>> from anthropix_actors import Client, text_of
>>> message = client.chat(model="claude-sonnet-5", messages=[{"role": "user", "content": "Hello"}])
>>> text_of(message)
'Hello!'

`Client.chat` has three ways to give an answer: it returns the Message, or a `Stream` to loop over, or sends events to a
subscriber.
"""

from anthropix_actors._calls.cancel_token import CancelToken
from anthropix_actors._calls.item_stream import ItemStream
from anthropix_actors._calls.pages import Pages
from anthropix_actors._foreign.public_names import alias, publish
from anthropix_actors._http.request import Timeout, __version__
from anthropix_actors._tasks.waits import as_completed
from anthropix_actors.batches.ref import BatchRef
from anthropix_actors.batches.task import BatchState
from anthropix_actors.chat.actor import ChatActor
from anthropix_actors.chat.output import Parsed
from anthropix_actors.chat.ref import ChatRef
from anthropix_actors.chat.stream import Stream
from anthropix_actors.client import Client
from anthropix_actors.content import text_of
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
from anthropix_actors.ledger import Cost, Ledger, Price
from anthropix_actors.limits.governor import Governor, RateLimit
from anthropix_actors.messages import (
    BatchCancelled,
    BatchDone,
    BatchFailed,
    BatchMessage,
    BatchProgress,
    BatchResult,
    BatchRetrying,
    BatchTerminal,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatMessage,
    ChatResumed,
    ChatRetrying,
    SessionCancelled,
    SessionDone,
    SessionEvent,
    SessionFailed,
    SessionMessage,
    SessionRetrying,
    SessionTerminal,
    Subscriber,
    Terminal,
)
from anthropix_actors.sessions.ref import SessionRef
from anthropix_actors.usage import Usage

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "AnthropixError",
    "AuthenticationError",
    "BadRequestError",
    "BatchCancelled",
    "BatchDone",
    "BatchFailed",
    "BatchMessage",
    "BatchProgress",
    "BatchRef",
    "BatchResult",
    "BatchRetrying",
    "BatchState",
    "BatchTerminal",
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
    "ConfigurationError",
    "ConflictError",
    "Cost",
    "DeadlockError",
    "GatewayTimeoutError",
    "Governor",
    "InternalServerError",
    "ItemStream",
    "Ledger",
    "NotFoundError",
    "OutputError",
    "OverloadedError",
    "Pages",
    "ParameterError",
    "Parsed",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "Price",
    "Problem",
    "ProtocolError",
    "RateLimit",
    "RateLimitError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "ServiceUnavailableError",
    "SessionCancelled",
    "SessionDone",
    "SessionEvent",
    "SessionFailed",
    "SessionMessage",
    "SessionRef",
    "SessionRetrying",
    "SessionTerminal",
    "StalledError",
    "Stream",
    "Subscriber",
    "Terminal",
    "Timeout",
    "TruncatedError",
    "UnprocessableEntityError",
    "Usage",
    "__version__",
    "as_completed",
    "text_of",
]

publish(__name__, map(globals().get, __all__))
alias(
    __name__,
    {  # in 0.4.0
        "_batch_record": ("BatchState",),
        "_batch_ref": ("BatchRef",),
        "_call": ("CancelToken",),
        "_chat": ("ChatActor", "ChatRef"),
        "_output": ("Parsed",),
        "_request": ("Timeout",),
        "_session": ("SessionRef",),
        "_waits": ("as_completed",),
        "governor": ("Governor", "RateLimit"),
        "items": ("ItemStream",),
        "pages": ("Pages",),
        "stream": ("Stream",),
    },
)
