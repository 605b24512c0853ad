"""Removes credentials from errors. Pure.

A gateway may repeat a request's headers in its response. An error's text, and the parts of the response that it keeps,
may end up in a log; so the credentials that were sent are replaced there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anthropix_actors.errors import APIError

HIDDEN = "[redacted]"

SHORTEST = 8
"""Characters: a shorter value may be a plain word, such as the "ollama" that is sent to servers without keys."""

_SENSITIVE = r"(?i)key|token|secret|auth|cookie|credential|signature|password"
_KEY = "sk-"


def secrets_in(headers: Mapping[str, str]) -> set[str]:
    """Return the credentials in a request's headers, with and without their scheme.

    Example:
        >>> sorted(secrets_in({"authorization": "Bearer 0123456789", "accept": "application/json"}))
        ['0123456789', 'Bearer 0123456789']
    """
    found: set[str] = set()
    for name, value in headers.items():
        if re.search(_SENSITIVE, name):
            found |= {value, value.partition(" ")[2]}
    return {value for value in found if len(value) >= SHORTEST or value.startswith(_KEY)}


def hide(error: APIError, secrets: Iterable[str]) -> None:
    """Replace secrets in an error's text and attributes; drop its `__cause__` if that contains one.

    Example:
        >>> from anthropix_actors.errors import APIError
        >>> error = APIError("no such key: sk-ant-1")
        >>> hide(error, ["sk-ant-1"])
        >>> error
        APIError('no such key: [redacted]')
    """
    longest_first = sorted(secrets, key=len, reverse=True)
    if not longest_first:
        return
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    error.message = pattern.sub(HIDDEN, error.message)
    error.args = (error.message, *error.args[1:])
    error.request_id = _without(error.request_id, pattern)
    error.response_headers = _without(error.response_headers, pattern)
    try:
        error.body = _without(error.body, pattern)
    except RecursionError:  # nested deeper than any error of the API
        error.body = None
    if error.__cause__ is not None and _tells(error.__cause__, pattern):  # its text is printed in tracebacks
        error.__cause__ = error.__context__ = None


def _tells(cause: BaseException, pattern: re.Pattern[str]) -> bool:
    try:
        return pattern.search(f"{cause} {cause!r} {vars(cause)!r}") is not None
    except Exception:  # noqa: BLE001 - its text is unknown: assume the worst
        return True


def _without(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(HIDDEN, value)
    if isinstance(value, dict):
        return {_without(key, pattern): _without(item, pattern) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(item, pattern) for item in value]
    return value
