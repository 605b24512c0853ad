"""What an entry of a chat has to have, so that it can be understood. Pure.

Another program, or version, may have written it. A kind that is not known here is passed over. One that is known, but
has another form, is told as an error by who reads it: an end that was passed over would be waited for in vain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = dict[str, Any]


class _Request(msgspec.Struct):
    request_id: str | None = None
    attempts: int = 0


class _Begin(msgspec.Struct):
    attempt: int = 1
    tag: str | None = None


class _Typed(msgspec.Struct):
    type: str


class _Event(_Request, kw_only=True):
    event: _Typed


class _Retrying(msgspec.Struct):
    attempt: int
    delay: float
    error: JSON


class _Resumed(msgspec.Struct):
    attempt: int
    kept: int


class _End(_Request, kw_only=True):
    usage: JSON | None = None
    lost: list[JSON] = []


class _Done(_End, kw_only=True):
    message: JSON
    resumed: bool


class _Failed(_End, kw_only=True):
    error: JSON


class _Cancelled(_End, kw_only=True):
    reason: str
    partial: JSON | None


_FORMS: dict[str, type] = {
    "begin": _Begin,
    "event": _Event,
    "retrying": _Retrying,
    "resumed": _Resumed,
    "done": _Done,
    "failed": _Failed,
    "cancelled": _Cancelled,
}


def kind_of(entry: Mapping[str, Any]) -> str:
    """Return the kind of an entry; an empty text if it has none.

    Example:
        >>> kind_of({"kind": "done"}), kind_of({"kind": ["done"]})
        ('done', '')
    """
    kind = entry.get("kind")
    return kind if isinstance(kind, str) else ""


def wrong_in(entry: Mapping[str, Any]) -> str | None:
    """Return what is wrong in an entry of a kind that is known here; None for all others.

    Example:
        >>> wrong_in({"kind": "cancelled", "reason": "enough"})
        "its kind is 'cancelled': Object missing required field `partial`"
        >>> wrong_in({"kind": "from the future"})
    """
    kind = kind_of(entry)
    if kind not in _FORMS:
        return None
    try:
        msgspec.convert(entry, _FORMS[kind])
    except msgspec.ValidationError as exc:
        return f"its kind is {kind!r}: {exc}"
    return None
