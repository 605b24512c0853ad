"""The API's errors: the status and the JSON of a response, or an error event → our exception. Pure.

The class goes by status and type, and `retryable` by the rules of `retry`. The text is looked for where the API,
gateways and web frameworks write it; where there is none, it is the docstring of the class.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from anthropix_actors._http.retry import is_retryable, retry_after
from anthropix_actors.errors import APIStatusError, status_error_class

if TYPE_CHECKING:
    from collections.abc import Mapping

_GOOD, _REDIRECT = 2, 3
_LONGEST = 500
_LONGEST_PLACE = 200
_MOST_SENTENCES = 10
_TITLE = r"(?is)\s*<.*?<title>(.*?)</title>"
"""The title of a page of HTML, as proxies and web servers send it: the rest says no more."""

_FRAME = frozenset({"type", "request_id", "status", "code"})
"""Keys of an error's body that are not its text."""


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
    error.retryable = is_retryable(error, headers)
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
        title = re.match(_TITLE, body)
        return " ".join((title[1] if title else "").split()) or body.strip()
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
