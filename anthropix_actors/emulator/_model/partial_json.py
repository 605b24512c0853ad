"""Parses truncated JSON: pure."""

from __future__ import annotations

import json
from typing import Any

_DECODER = json.JSONDecoder()


def complete_members(text: str) -> dict[str, Any]:
    """Return the complete members of a truncated object, at its top level.

    Args:
        text: The beginning, or all, of an object's JSON, without spaces between its tokens.

    Example:
        >>> complete_members('{"path":"a.txt","lines":[1,2],"text":"A lo')
        {'path': 'a.txt', 'lines': [1, 2]}
    """
    members: dict[str, Any] = {}
    place = 1
    try:
        while place < len(text):
            name, place = _DECODER.raw_decode(text, place)
            value, place = _DECODER.raw_decode(text, place + 1)
            if not text[place:]:  # a number may have had more digits
                break
            members[name] = value
            place += 1
    except ValueError:
        pass
    return members
