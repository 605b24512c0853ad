"""Whether to retry, and after how long. Pure: the time and the random number are passed in.

The rules, in this order:

1. Only a request that failed before its first content was delivered is sent again, and at most `max_retries` times.
2. Some errors are never retried, whatever their status and headers: see `NEVER_AGAIN`.
3. The header `x-should-retry` decides, if the API sends it.
4. Statuses 408, 409, 429 and from 500 are retried; so are the same errors inside a stream, and a connection that
   failed, but not a certificate that is not trusted.
5. The API's own wait (`retry-after-ms`, else `retry-after`, in seconds or as a date) is obeyed up to a cap. Above the
   cap the request fails at once, instead of keeping a thread asleep for an hour.
6. Else exponential back-off: from half a second up to eight, less up to a quarter as jitter, so that clients do not
   retry in step.

Source: https://docs.claude.com/en/api/errors and the official SDK's behaviour, read 2026-11-23.
"""

from __future__ import annotations

import json
import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from anthropix_actors.errors import APIError, APIStatusError, status_error_class

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_DELAY = 0.5
LONGEST_DELAY = 8.0
JITTER = 0.25
"""The largest share of a delay that jitter takes off."""

_RETRYABLE_STATUSES = frozenset({408, 409, 429})
_RETRYABLE_TYPES = frozenset({"rate_limit_error", "api_error", "overloaded_error", "timeout_error"})

NEVER_AGAIN: Mapping[str, str] = {
    "contract_spend_limit_reached": "the limit outlasts any wait",
    "enforced_spend_limit_reached": "the limit outlasts any wait",
    "workspace_created_incomplete": "the workspace exists, incomplete: a retry would create another one",
}
"""Codes of errors (`error_code`) that are never retried, and why.

Other codes go by their status: after a 503 `change_outcome_unknown`, the API expects a retry.
"""

LONGEST_WAIT = 30 * 24 * 3600.0
"""The longest wait, in seconds, taken from a response; longer ones count as this. Some systems cannot wait 50 days."""

_SERVER_ERRORS = 500
_GOOD, _REDIRECT = 2, 3
_LONGEST = 500
_LONGEST_PLACE = 200
_MOST_SENTENCES = 10
_FRAME = frozenset({"type", "request_id", "status", "code"})
"""Keys of an error's body that are not its text."""

_FOREVER = 1 << 30
_MOST_DOUBLINGS = 32  # more than LONGEST_DELAY needs; without this, attempt 1026 would overflow


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often to send a failed request again, and how long to wait if the API asks for it.

    Attributes:
        max_retries: How many times after the first attempt; 0 for never.
        max_retry_after: The longest wait, in seconds, that the API may ask for.
    """

    max_retries: int = 2
    max_retry_after: float = 60.0

    def delay(self, error: APIError, *, attempts: int, dice: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up.

        Args:
            error: The error that ended the attempt.
            attempts: How many attempts there were, including this one.
            dice: A random number from 0 to 1, for the jitter.

        Example:
            >>> RetryPolicy().delay(APIError("reset", retryable=True), attempts=2, dice=0.0)
            1.0
        """
        if attempts > self.max_retries or not error.retryable:
            return None
        asked = _sane(error.retry_after)
        if asked is None:
            doublings = min(attempts - 1, _MOST_DOUBLINGS)
            return min(FIRST_DELAY * 2.0**doublings, LONGEST_DELAY) * (1 - JITTER * dice)
        return asked if asked <= self.max_retry_after else None


def without_limit(policy: RetryPolicy) -> RetryPolicy:
    """Return a policy with unlimited retries, for long-running tasks; unchanged if retries are off.

    Example:
        >>> without_limit(RetryPolicy(max_retries=0))
        RetryPolicy(max_retries=0, max_retry_after=60.0)
    """
    return RetryPolicy(_FOREVER, math.inf) if policy.max_retries else policy


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds that the API asks to wait, `LONGEST_WAIT` at most; None without a valid header.

    Args:
        headers: The response's headers, names in lower case.
        now: The time, in seconds since 1970.

    Example:
        >>> retry_after({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, now=1795435200.0)
        30.0
    """
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = _sane(float(headers.get(header, "")) * unit)
        except ValueError:
            continue
        if seconds is not None:
            return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        # HTTP's dates are in GMT, even those that do not say so; Python takes these for local time.
        return _sane((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _sane(seconds: float | None) -> float | None:
    """Return a wait, `LONGEST_WAIT` at most, or None if it is not a positive finite number."""
    return min(seconds, LONGEST_WAIT) if seconds is not None and 0 < seconds < math.inf else None


def error_from_response(
    status: int, body: object, headers: Mapping[str, str], *, now: float, in_stream: bool = False
) -> APIStatusError:
    """Return the error for an error response, or for an error event.

    Args:
        status: The HTTP status; 200 for an error inside a stream.
        body: The parsed JSON, or the text if it is not JSON.
        headers: The response's headers, names in lower case.
        now: The time, in seconds since 1970.
        in_stream: Whether it came as an event.

    Example:
        >>> body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        >>> error_from_response(529, body, {}, now=0.0)
        OverloadedError('Overloaded')
    """
    kind = _kind(body)
    cls = status_error_class(status, kind)
    message = _said(body)[:_LONGEST] or _said_nothing(status, cls, headers)
    error = cls(
        message,
        status=status,
        type=kind,
        body=body,
        in_stream=in_stream,
        retry_after=retry_after(headers, now=now),
        response_headers=headers,
    )
    error.retryable = _retryable(error, headers)
    return error


def _kind(body: object) -> str | None:
    """Return the type of an error: from the API's `error` object, or from a body that is that object itself."""
    if not isinstance(body, dict):
        return None
    told = body.get("error")
    kind = told.get("type") if isinstance(told, dict) else body.get("type")
    return kind if isinstance(kind, str) and (isinstance(told, dict) or kind.endswith("_error")) else None


def _said(body: object) -> str:
    """Return the text of an error's body, in the forms of the API, gateways and frameworks, or else all of it."""
    if isinstance(body, str):
        return body.strip()
    if not isinstance(body, dict):
        return _written(body) if body else ""
    for key in ("error", "errors", "message", "detail", "msg"):
        if text := _sentence(body.get(key)):
            return text
    rest = {key: value for key, value in body.items() if key not in _FRAME}
    return _written(rest) if any(rest.values()) else ""


def _sentence(told: object) -> str:
    """Return the text in a part of an error's body: a string, a mapping that has one, or a list of these."""
    if isinstance(told, str):
        return told.strip()
    if isinstance(told, list):
        return "; ".join(filter(None, map(_sentence_of_item, told[:_MOST_SENTENCES])))
    if isinstance(told, dict):
        texts = (told.get(key) for key in ("message", "msg", "detail", "title"))
        text = next((text for text in texts if isinstance(text, str) and text.strip()), "").strip()
        place = told.get("loc")  # FastAPI's name for the place
        return f"{'.'.join(map(str, place))}: {text}" if text and isinstance(place, list) else text
    return ""


def _sentence_of_item(told: object) -> str:
    return "" if isinstance(told, list) else _sentence(told)


def _written(body: object) -> str:
    try:
        return json.dumps(body, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def _said_nothing(status: int, cls: type[APIStatusError], headers: Mapping[str, str]) -> str:
    """Return the text of an error whose body has none."""
    if status // 100 == _REDIRECT and (place := _without_secrets(headers.get("location", ""))):
        return f"it redirects to {place}, which is not followed: set base_url to the address of the API"
    if meaning := (cls.__doc__ or "").partition(": ")[2]:
        return meaning
    if status // 100 == _GOOD:
        return "an error without any text"
    try:
        return f"{HTTPStatus(status).phrase}, without any further text"
    except ValueError:
        return f"status {status}, without any text"


def _without_secrets(place: str) -> str:
    """Return an address without user, query and fragment, which may contain keys."""
    shown = place.partition("?")[0].partition("#")[0]
    scheme, slashes, rest = shown.rpartition("//")
    host, slash, path = rest.partition("/")
    return (
        f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"[:_LONGEST_PLACE]
        if slashes
        else shown[:_LONGEST_PLACE]
    )


def _retryable(error: APIStatusError, headers: Mapping[str, str]) -> bool:
    if error.error_code in NEVER_AGAIN:
        return False
    if error.in_stream or (error.status or 0) // 100 == _GOOD:  # neither status nor headers know anything of it
        return error.type in _RETRYABLE_TYPES
    asked = headers.get("x-should-retry")
    if asked in {"true", "false"}:
        return asked == "true"
    status = error.status or 0
    return status in _RETRYABLE_STATUSES or status >= _SERVER_ERRORS
