"""The API's errors: their types, statuses and texts.

Source: https://docs.claude.com/en/api/errors, read 2026-11-23.
"""

from __future__ import annotations

from typing import Any

from anthropix_actors.emulator.answers import Status

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    412: "memory_precondition_failed_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_STATUSES = {error_type: status for status, error_type in _TYPES.items()}

_MESSAGES = {
    "invalid_request_error": "Invalid request",
    "authentication_error": "invalid x-api-key",
    "billing_error": "Your credit balance is too low to access the Anthropic API.",
    "permission_error": "Permission denied",
    "not_found_error": "Not found",
    "conflict_error": "Conflict",
    "memory_precondition_failed_error": "Precondition failed",
    "request_too_large": "Request exceeds the maximum size",
    "rate_limit_error": "This request would exceed your organization's rate limit.",
    "api_error": "Internal server error",
    "timeout_error": "Request timed out",
    "overloaded_error": "Overloaded",
}

_SERVER_ERRORS = 500


class RefusedError(Exception):
    """The API refuses a request.

    Args:
        status: The HTTP status.
        message: What is wrong, in the API's words.
        error_code: The `error_code` in the error's details; None for none.

    Attributes:
        status: The answer to the client.
    """

    def __init__(self, status: int, message: str, error_code: str | None = None) -> None:
        """Make the answer."""
        super().__init__(message)
        self.status = Status(status, message, error_code=error_code)


def error_body(error_type: str, message: str | None, request_id: str, error_code: str | None = None) -> dict[str, Any]:
    """Return the body of an error, the same for a status and an `error` event."""
    words = message or _MESSAGES.get(error_type, error_type)
    details = None if error_code is None else {"error_code": error_code}
    return {
        "type": "error",
        "error": {"details": details, "type": error_type, "message": words},
        "request_id": request_id,
    }


def status_body(status: Status, request_id: str) -> dict[str, Any]:
    """Return the body of a `Status`.

    Example:
        >>> status_body(Status(529), "req_1")["error"]["type"]
        'overloaded_error'
    """
    return error_body(status.type or _error_type(status.status), status.message, request_id, status.error_code)


def status_headers(status: Status) -> dict[str, str]:
    """Return the headers of a `Status`: its own, and `retry-after`."""
    wait = {} if status.retry_after is None else {"retry-after": f"{status.retry_after:g}"}
    return {"content-type": "application/json", **wait, **status.headers}


def as_status(error_type: str, message: str | None) -> Status:
    """Return the status that a request without a stream gets in place of an `error` event.

    Example:
        >>> as_status("overloaded_error", None).status
        529
    """
    return Status(_STATUSES.get(error_type, _SERVER_ERRORS), message=message, type=error_type)


def _error_type(status: int) -> str:
    other = "api_error" if status >= _SERVER_ERRORS else "invalid_request_error"
    return _TYPES.get(status, other)
