"""An estimate of tokens: a word or a punctuation mark, with the space before it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model.json import is_array, is_object

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(r"\s*\w{1,12}|\s*[^\w\s]|\s+\Z")

_NOT_COUNTED = ("type", "role", "data", "signature", "cache_control", "media_type")
"""Keys of messages, blocks and tools whose text is not counted."""

_FREE_FORM = ("input", "input_schema")
"""Keys below which those keys are the user's own, and all text is counted."""

_IMAGE_TOKENS = 1500
"""The tokens of an image or a document, whatever its content."""

_MESSAGE_TOKENS = 4


def tokens(text: str) -> list[str]:
    """Split a text into tokens; joined, they are the text again.

    Example:
        >>> tokens("Hello, you two.")
        ['Hello', ',', ' you', ' two', '.']
    """
    return _TOKEN.findall(text)


def count(value: Any) -> int:
    """Estimate the tokens of a JSON value: its texts and its numbers.

    Example:
        >>> count([{"type": "text", "text": "Hello, you two."}])
        6
    """
    return _count(value, blocks=False)


def count_input(body: Mapping[str, Any]) -> int:
    """Estimate the input tokens of a request: its messages, its system prompt, its tools.

    Example:
        >>> count_input({"model": "claude-sonnet-5", "messages": [{"role": "user", "content": "Hi"}]})
        5
    """
    return sum(_count(body.get(key), blocks=True) for key in ("system", "messages", "tools"))


def _count(value: Any, *, blocks: bool) -> int:
    """Estimate the tokens of a part of a request.

    Args:
        value: The part.
        blocks: Whether it holds messages or content blocks. Elsewhere, a key such as `type` may be the user's own.
    """
    total, todo = 0, [(value, blocks)]  # no recursion: JSON may be nested more deeply than Python's stack
    while todo:
        value, blocks = todo.pop()
        if isinstance(value, str):
            total += len(tokens(value))
        elif is_array(value):
            todo.extend((item, blocks) for item in value)
        elif is_object(value):
            if blocks and value.get("type") in ("image", "document"):
                total += _IMAGE_TOKENS
                continue
            total += _MESSAGE_TOKENS if blocks and "role" in value else 0
            parts = ((key, item) for key, item in value.items() if not (blocks and key in _NOT_COUNTED))
            todo.extend((item, blocks and key not in _FREE_FORM) for key, item in parts)
        else:
            total += value is not None
    return total
