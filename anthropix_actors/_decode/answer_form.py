"""The form of an answer: an event stream, or JSON from a server that does not stream. Pure.

The first bytes decide, not the content type: gateways send a stream as `application/json`, and an error's JSON as
`text/event-stream`. No line of an event stream begins with a brace, and no JSON with the name of a field.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.event_repair import as_error
from anthropix_actors._decode.json import decoded
from anthropix_actors.errors import ProtocolError, TruncatedError

if TYPE_CHECKING:
    from anthropix_actors.errors import APIError

_BLANK = b" \t\r\n\xef\xbb\xbf"  # with the bytes of a byte order mark
_FIELDS = (b"event:", b"data:")
_ENOUGH = 6
_TOO_LONG_A_MARK = 64
KEPT = 1 << 20
"""How many bytes of a body in another form are kept, for the error."""


class Form(enum.Enum):
    """The form of an answer."""

    STREAM = "an event stream"
    JSON = "JSON"
    OTHER = "something else"


def form_of(head: bytes, content_type: str, *, ended: bool = False) -> Form | None:
    r"""Return the form of a body, given its beginning; None if more bytes are needed.

    Args:
        head: The body so far.
        content_type: The content type of the response; empty if it has none.
        ended: Whether this is the whole body.

    Example:
        >>> form_of(b"\n", "application/json"), form_of(b'\n{"type"', "application/json")
        (None, <Form.JSON: 'JSON'>)
    """
    seen = head.lstrip(_BLANK)
    if not ended and len(seen) < _ENOUGH and len(head) < _TOO_LONG_A_MARK:
        return None
    if seen.startswith(b"{"):
        return Form.JSON
    claimed = content_type.lower().lstrip()
    if not claimed or claimed.startswith("text/event-stream") or seen.startswith(_FIELDS):
        return Form.STREAM
    return Form.OTHER


def without_blanks(head: bytes) -> bytes:
    """Return the beginning of a body without the white space before it, of which there may be any amount."""
    return head if head.lstrip(_BLANK) else head.strip()


def message_in(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the Message or the error in a body; the type of an error is `error`.

    Raises:
        TruncatedError: it was cut.
        ProtocolError: it is neither.

    Example:
        >>> message_in(b'{"error": {"type": "overloaded_error"}}', "application/json")
        {'type': 'error', 'error': {'type': 'overloaded_error'}}
    """
    try:
        value = decoded(body.strip(_BLANK))
    except (ValueError, RecursionError) as exc:
        if not body.rstrip().endswith(b"}"):
            raise TruncatedError("the answer ended within its JSON", retryable=True) from exc
        raise _unknown(body, content_type) from exc
    if isinstance(value, dict):
        if value.get("type") == "message" and isinstance(value.get("content"), list):
            return value
        if value.get("type") == "error" or value.get("error"):
            return as_error(value)
    raise _unknown(body, content_type)


def no_answer(body: bytes, content_type: str) -> APIError:
    """Return the error for a body in any other form, or for an empty one."""
    if not body:  # perhaps the head was cut, where it named the type
        return TruncatedError("the answer ended before its first event", retryable=True)
    return _unknown(body[:KEPT], content_type)


def _unknown(body: bytes, content_type: str) -> ProtocolError:
    text = body.decode(errors="replace")
    return ProtocolError(f"expected an event stream, got {content_type or 'no content type'}: {text:.200}", body=text)
