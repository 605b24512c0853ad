"""An estimate of tokens: a word or a punctuation mark, with the space before it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._json import is_array, is_object

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(r"\s*\w{1,12}|\s*[^\w\s]|\s+\Z")

_UNREAD = frozenset({"type", "role", "data", "signature", "cache_control", "media_type"})
"""Keys whose text no model reads as words."""

_PICTURE = 1500
"""What an image or a document costs, whatever is in it."""

_PER_MESSAGE = 4


def tokens(text: str) -> list[str]:
    """Cut a text into tokens; joined, they are the text again.

    Example:
        >>> tokens("Hello, you two.")
        ['Hello', ',', ' you', ' two', '.']
    """
    return _TOKEN.findall(text)


def count(value: Any) -> int:
    """Estimate the tokens of anything JSON: its texts and its numbers.

    Example:
        >>> count([{"role": "user", "content": "Hello, you two."}])
        9
    """
    if isinstance(value, str):
        total = len(tokens(value))
    elif is_array(value):
        total = sum(map(count, value))
    elif is_object(value):
        if value.get("type") in {"image", "document"}:
            return _PICTURE
        total = sum(count(item) for key, item in value.items() if key not in _UNREAD)
        total += _PER_MESSAGE if "role" in value else 0
    else:
        total = 0 if value is None else 1
    return total


def count_input(body: Mapping[str, Any]) -> int:
    """Estimate the input tokens of a request: its messages, its system prompt, its tools.

    Example:
        >>> count_input({"model": "claude-sonnet-5", "messages": [{"role": "user", "content": "Hi"}]})
        5
    """
    return sum(count(body.get(key)) for key in ("system", "messages", "tools"))
