"""JSON values, for people and type checkers."""

from __future__ import annotations

from typing import Any, TypeGuard

import msgspec

encode = msgspec.json.encode
decode = msgspec.json.decode

NotJSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `decode` raises."""


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether a JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Tell whether a JSON value is an array."""
    return isinstance(value, list)
