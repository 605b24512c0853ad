"""JSON encoding and decoding, and type guards for JSON values."""

from __future__ import annotations

from typing import Any, TypeGuard

import msgspec

encode = msgspec.json.encode
decode = msgspec.json.decode

NotJSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The exceptions that `decode` raises."""


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Return whether a JSON value is an array."""
    return isinstance(value, list)
