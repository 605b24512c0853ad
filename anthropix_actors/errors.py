"""Every exception this library raises, as one tree.

    AnthropixError                       partial, request_id, attempts, retryable
    ├── ConfigurationError (ValueError)  the client cannot be made: no key, a bad base URL
    ├── ParameterError (ValueError)      a call's parameters are wrong; nothing was sent; all `problems`
    ├── CancelledError                   the chat was cancelled; `reason`
    ├── DeadlockError (RuntimeError)     a wait that could never end was refused
    ├── OutputError                      the answer is complete, but does not fit the type asked for; `text`
    └── APIError                         method, url, status, type, message, body, in_stream, retry_after …
        ├── APIStatusError               the API refused, by a status or by an `error` event in a stream
        │   ├── BadRequestError                400 invalid_request_error
        │   ├── AuthenticationError            401 authentication_error
        │   ├── PaymentRequiredError           402 billing_error
        │   ├── PermissionDeniedError          403 permission_error
        │   ├── NotFoundError                  404 not_found_error
        │   ├── RequestTimeoutError            408
        │   ├── ConflictError                  409 conflict_error
        │   ├── PreconditionFailedError        412
        │   ├── RequestTooLargeError           413 request_too_large
        │   ├── UnprocessableEntityError       422
        │   ├── RateLimitError                 429 rate_limit_error
        │   └── InternalServerError            500 api_error, and any other status from 500
        │       ├── ServiceUnavailableError    503
        │       ├── GatewayTimeoutError        504 timeout_error
        │       └── OverloadedError            529 overloaded_error
        ├── APIConnectionError           no response, or not all of it: refused, reset, TLS, proxy
        │   ├── APITimeoutError          connect, read or total timeout
        │   │   └── StalledError         the connection lives, but no event came within the idle timeout
        │   └── TruncatedError           the answer ended without `message_stop`
        └── ProtocolError                the response does not follow the API's protocol: not SSE, not JSON, too large

Names are the official SDK's where it has one, so that `except` clauses move over. Exceptions of the libraries below
(requests, urllib3, ssl) are never raised: they are the `__cause__`, stripped of all that holds a key or a connection.

Source: https://docs.claude.com/en/api/errors, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anthropix_actors._wire.message import Message

Made = TypeVar("Made", bound="AnthropixError")


class AnthropixError(Exception):
    """The base class of all errors of this library: catch it to catch all.

    Attributes:
        partial: The Message as far as it had arrived, or None if nothing had.
        request_id: The API's id of the request (its `request-id` header), or None if it never responded.
        attempts: How many times the request was sent.
        retryable: True when sending the same request again may help; only an `APIError` can be retryable.
    """

    partial: Message | None = None
    request_id: str | None = None
    attempts: int = 0
    retryable: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy what the error is, whatever its `__init__` takes."""
        return made_again, (type(self), self.args), self.__dict__


def made_again(kind: type[Made], args: tuple[Any, ...]) -> Made:
    """Return an error of a class and its `args`, without `__init__`: each class's takes something else."""
    error = kind.__new__(kind)
    error.args = args
    return error


class ConfigurationError(AnthropixError, ValueError):
    """The client cannot be made with these settings; the text says what to do."""


class Problem(NamedTuple):
    """One problem with the parameters of a call.

    Attributes:
        place: The place, written as in Python: `messages[2].content[0].source.data`.
        text: The value expected there, and the value found.
    """

    place: str
    text: str

    def __str__(self) -> str:
        """Return `place: text`."""
        return f"{self.place}: {self.text}"


class ParameterError(AnthropixError, ValueError):
    """The parameters of a call are wrong; nothing was sent.

    Attributes:
        problems: Every problem found, in the order of the parameters.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep the problems; the text of the error lists them all, one per line."""
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class CancelledError(AnthropixError):
    """The chat was cancelled before its answer was complete.

    Attributes:
        reason: The reason given to `cancel()`, or the library's own.
    """

    def __init__(self, reason: str) -> None:
        """Keep the reason, which is the error's text."""
        super().__init__(reason)
        self.reason = reason


class DeadlockError(AnthropixError, RuntimeError):
    """This thread was about to wait for itself, forever. The text says where to wait instead."""


class OutputError(AnthropixError):
    """The answer is complete, but does not fit the type of `output`; `partial` is the Message.

    Attributes:
        text: The text of the answer.
    """

    def __init__(self, message: str, *, text: str = "") -> None:
        """Keep the message and the text."""
        super().__init__(message)
        self.text = text


class APIError(AnthropixError):
    """A request got an error, or no complete response.

    Attributes:
        message: The cause, in the API's words if it sent any.
        status: The HTTP status, or None if there was no response. An error inside a stream has status 200.
        type: The API's name of the error (`overloaded_error`), or None.
        body: The error body as sent: the parsed JSON, else the text, else None.
        in_stream: True if the error came as an event of an answer that had begun.
        retry_after: Seconds the API asked to wait, or None.
        response_headers: The response's headers, names in lower case; empty if there was no response.
        retryable: True when sending the same request again may help.
        method: The HTTP method of the request.
        url: The request's URL without its query, or None before it is known.
    """

    method: str | None = None
    url: str | None = None

    def __init__(  # noqa: PLR0913 - the facts of a failure, all optional
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,  # noqa: A002 - the API's own word
        body: Any = None,
        in_stream: bool = False,
        retry_after: float | None = None,
        response_headers: Mapping[str, str] | None = None,
        retryable: bool = False,
    ) -> None:
        """Keep the arguments; the chat or call that fails adds `partial`, `request_id` and `attempts`."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.body = body
        self.in_stream = in_stream
        self.retry_after = retry_after
        self.response_headers: Mapping[str, str] = response_headers or {}
        self.retryable = retryable

    def __str__(self) -> str:
        """Return the message, followed in brackets by the details that support asks for."""
        notes = [
            f"{name} {value}"
            for name, value in (("status", self.status), ("request", self.request_id), ("attempts", self.attempts))
            if value
        ]
        if self.url:
            notes.append(f"{self.method} {self.url}")
        head = f"{self.type}: {self.message}" if self.type else self.message
        return f"{head} ({', '.join(notes)})" if notes else head


# The docstrings of the following classes are texts that users see: where the body of an error response has no text,
# the error's message is the part of its class's docstring after the first ": ", or the name of the status if there is
# none. `_http.api_errors` reads them.


class APIStatusError(APIError):
    """The API responded with an error. The subclass is chosen by `type`, or by `status` if `type` is not known."""

    @property
    def error_code(self) -> str | None:
        """The API's more specific code, such as `enforced_spend_limit_reached`; None if it sent none."""
        value: Any = self.body
        for key in ("error", "details", "error_code"):
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, str) else None


class BadRequestError(APIStatusError):
    """400 `invalid_request_error`: the API does not accept this request as it is."""


class AuthenticationError(APIStatusError):
    """401 `authentication_error`: the key is missing, wrong or revoked."""


class PaymentRequiredError(APIStatusError):
    """402 `billing_error`: a problem with the organisation's payment details or credit."""


class PermissionDeniedError(APIStatusError):
    """403 `permission_error`: the key does not have permission for this request."""


class NotFoundError(APIStatusError):
    """404 `not_found_error`: no such model, batch or path."""


class RequestTimeoutError(APIStatusError):
    """408: the API waited too long for the request."""


class ConflictError(APIStatusError):
    """409 `conflict_error`: the resource is not in the state that the request needs."""


class PreconditionFailedError(APIStatusError):
    """412: the resource has changed: it no longer has the version that the request names."""


class RequestTooLargeError(APIStatusError):
    """413 `request_too_large`: the body exceeds the API's limit (32 MB for messages)."""


class UnprocessableEntityError(APIStatusError):
    """422: the request is well formed, but cannot be processed."""


class RateLimitError(APIStatusError):
    """429 `rate_limit_error`: too many requests or tokens; `retry_after` is the time to wait, if the API names one."""


class InternalServerError(APIStatusError):
    """500 `api_error`, and every status from 500 on that has no class of its own."""


class ServiceUnavailableError(InternalServerError):
    """503: the service is temporarily unavailable."""


class GatewayTimeoutError(InternalServerError):
    """504 `timeout_error`: the API itself timed out while it waited for the model."""


class OverloadedError(InternalServerError):
    """529 `overloaded_error`: the API has more requests than it can handle."""


class APIConnectionError(APIError):
    """The connection failed: refused, reset, name not found, TLS, proxy.

    Attributes:
        unsent: True if the request certainly did not reach the API: there was no connection.
    """

    unsent = False


class APITimeoutError(APIConnectionError):
    """One of the timeouts ran out; the text names the field of `Timeout`."""


class StalledError(APITimeoutError):
    """The connection is alive, but no event other than a ping came within the idle timeout."""


class TruncatedError(APIConnectionError):
    """The answer ended before `message_stop`: `partial` is incomplete."""


class ProtocolError(APIError):
    """The response does not follow the API's protocol: not an event stream, not JSON, or larger than the limit."""


_BY_TYPE: dict[str, type[APIStatusError]] = {
    "invalid_request_error": BadRequestError,
    "authentication_error": AuthenticationError,
    "billing_error": PaymentRequiredError,
    "permission_error": PermissionDeniedError,
    "not_found_error": NotFoundError,
    "conflict_error": ConflictError,
    "memory_path_conflict_error": ConflictError,
    "memory_precondition_failed_error": PreconditionFailedError,
    "request_too_large": RequestTooLargeError,
    "rate_limit_error": RateLimitError,
    "api_error": InternalServerError,
    "timeout_error": GatewayTimeoutError,
    "overloaded_error": OverloadedError,
}

_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: RequestTimeoutError,
    409: ConflictError,
    412: PreconditionFailedError,
    413: RequestTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    503: ServiceUnavailableError,
    504: GatewayTimeoutError,
    529: OverloadedError,
}

_SERVER_ERRORS = 500


def status_error_class(status: int, error_type: str | None) -> type[APIStatusError]:
    """Return the class for an error of the API: by its type, else by its status.

    The type goes first because an error inside a stream has status 200, and a proxy may change a status but seldom
    rewrites a body.

    Example:
        >>> status_error_class(200, "overloaded_error").__name__
        'OverloadedError'
        >>> status_error_class(502, None).__name__
        'InternalServerError'
    """
    if error_type in _BY_TYPE:
        return _BY_TYPE[error_type]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return InternalServerError if status >= _SERVER_ERRORS else APIStatusError
