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

import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.errors import APIError, APIStatusError

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
_GOOD = 2

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
            >>> from anthropix_actors import APIError
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


def is_retryable(error: APIStatusError, headers: Mapping[str, str]) -> bool:
    """Return whether a retry of a request that got this error may help, by rules 2 to 4."""
    if error.error_code in NEVER_AGAIN:
        return False
    if error.in_stream or (error.status or 0) // 100 == _GOOD:  # neither status nor headers know anything of it
        return error.type in _RETRYABLE_TYPES
    asked = headers.get("x-should-retry")
    if asked in {"true", "false"}:
        return asked == "true"
    status = error.status or 0
    return status in _RETRYABLE_STATUSES or status >= _SERVER_ERRORS
