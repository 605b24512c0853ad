"""A first guess at the input tokens of a request, before anything is learned. Pure.

It looks into a caller's own objects without being asked to. So it never raises, and is quick whatever they are: nested,
in circles, or large.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HOLDING = ("content", "source")
"""The keys under which blocks and their sources are."""

_SOURCES = ("base64", "url", "file")  # no set: what is under `type` may be anything, also what has no hash
_LETTERS_PER_TOKEN = 4.0
_TOKENS_PER_MEDIUM = 1500.0
"""What an image or a document is taken for, whatever its size: its bytes say nothing."""

_MOST_PARTS = 100_000
"""How many parts of a body are looked at: what so many come to is a guess, too."""


def input_guess(body: Mapping[str, Any]) -> float:
    """Guess the input tokens of a request's body, before anything is learned.

    Never raises an `Exception`, whatever is in it, and looks at a hundred thousand of its parts at most.

    Example:
        >>> input_guess({"messages": [{"role": "user", "content": "Four letters a token."}], "max_tokens": 9})
        6.25
    """
    tokens = 0.0
    try:
        for amount in _amounts(body):
            tokens += amount
    except Exception:  # noqa: BLE001 - a caller's own kind of mapping, perhaps: what it held until then is a guess, too
        return tokens
    return tokens


def _amounts(body: Mapping[str, Any]) -> Iterator[float]:
    """Get what the parts of a body come to.

    A medium's source is looked for where the API has one: in a block, in the content of a block, and so on. The same
    keys mean other things in a tool's schema and in its input.
    """
    todo = [(body.get(part), part == "messages") for part in ("system", "messages", "tools")]
    room = _MOST_PARTS
    while todo:
        value, blocks = todo.pop()
        before = len(todo)
        if isinstance(value, str):
            yield len(value) / _LETTERS_PER_TOKEN
        elif isinstance(value, dict):
            if blocks and value.get("type") in _SOURCES:
                yield _TOKENS_PER_MEDIUM
            else:
                items = itertools.islice(value.items(), room)
                todo.extend((item, blocks and key in _HOLDING) for key, item in items)
        elif isinstance(value, (list, tuple)):
            todo.extend((item, blocks) for item in itertools.islice(value, room))
        room -= max(0, len(todo) - before)
