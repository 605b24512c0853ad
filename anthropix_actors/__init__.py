"""Claude for threaded Python: each chat request is an actor, and its answer can be streamed to any actor.

>>> from anthropix_actors import Client
>>> message = client.chat(model="claude-sonnet-5", messages=[{"role": "user", "content": "Hello"}])

`Client.chat` has three ways to give an answer: it returns the Message, a `Stream` to loop over, or tells a subscriber.
"""

from anthropix_actors._chat import ChatActor, ChatRef
from anthropix_actors._request import Timeout, __version__
from anthropix_actors.client import Client
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
    GatewayTimeoutError,
    InternalServerError,
    NotFoundError,
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
from anthropix_actors.messages import (
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatMessage,
    ChatRetrying,
    Subscriber,
    Terminal,
)
from anthropix_actors.stream import Stream

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "AnthropixError",
    "AuthenticationError",
    "BadRequestError",
    "CancelledError",
    "ChatActor",
    "ChatCancelled",
    "ChatDone",
    "ChatEvent",
    "ChatFailed",
    "ChatMessage",
    "ChatRef",
    "ChatRetrying",
    "Client",
    "ConfigurationError",
    "ConflictError",
    "GatewayTimeoutError",
    "InternalServerError",
    "NotFoundError",
    "OverloadedError",
    "ParameterError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "Problem",
    "ProtocolError",
    "RateLimitError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "ServiceUnavailableError",
    "StalledError",
    "Stream",
    "Subscriber",
    "Terminal",
    "Timeout",
    "TruncatedError",
    "UnprocessableEntityError",
    "__version__",
]
