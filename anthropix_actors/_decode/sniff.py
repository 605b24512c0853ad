"""What kind of answer begins here: an event stream, or JSON from a server that does not stream. Pure.

The first bytes decide, not the content type: gateways send a stream as `application/json`, and an error's JSON as
`text/event-stream`. No line of an event stream begins with a brace, and no JSON with the name of a field.
"""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.json import decoded
from anthropix_actors._decode.repair import as_error
from anthropix_actors.errors import APIError, ProtocolError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterable

_BLANK = b" \t\r\n\xef\xbb\xbf"  # with the bytes of a byte order mark
_FIELDS = (b"event:", b"data:")
_ENOUGH = 6
_TOO_LONG_A_MARK = 64
_KEPT = 1 << 20


class Form(enum.Enum):
    """What an answer is written in."""

    STREAM = "an event stream"
    JSON = "JSON"
    OTHER = "something else"


def beginning(chunks: Iterable[bytes], content_type: str) -> tuple[bytes, Form]:
    r"""Take as many chunks as it needs to see what comes; get what was taken, without white space before it.

    Args:
        chunks: The body; what is not taken of it comes next.
        content_type: What the answer says of itself; empty where it says nothing.

    Example:
        >>> beginning(iter([b"\n", b'{"type"', b': "message"}']), "application/json")
        (b'{"type"', <Form.JSON: 'JSON'>)
    """
    head = seen = b""
    for chunk in chunks:
        head += chunk
        seen = head.lstrip(_BLANK)
        if not seen:
            head = head.strip()  # of white space, there may be any amount
        if len(seen) >= _ENOUGH or len(head) >= _TOO_LONG_A_MARK:
            break
    if seen.startswith(b"{"):
        return head, Form.JSON
    claimed = content_type.lower().lstrip()
    if not claimed or claimed.startswith("text/event-stream") or seen.startswith(_FIELDS):
        return head, Form.STREAM
    return head, Form.OTHER


def message_in(body: bytes, content_type: str) -> dict[str, Any]:
    """Get the Message that a body is, or the error: then its type is `error`.

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


def no_answer(head: bytes, chunks: Iterable[bytes], content_type: str) -> APIError:
    """Get the error for a body of any other kind, from its beginning and the rest."""
    body = head
    with contextlib.suppress(APIError):  # what came says more than the cut
        for chunk in chunks:
            body += chunk
            if len(body) >= _KEPT:
                break
    if not body:  # perhaps the head was cut, where it named the type
        return TruncatedError("the answer ended before its first event", retryable=True)
    return _unknown(body[:_KEPT], content_type)


def _unknown(body: bytes, content_type: str) -> ProtocolError:
    text = body.decode(errors="replace")
    return ProtocolError(f"expected an event stream, got {content_type or 'no content type'}: {text:.200}", body=text)
