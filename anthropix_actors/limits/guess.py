"""A first guess at the input tokens of a request, before anything is learned. Pure.

It reads the caller's own objects, unasked. So it never raises, and is fast for any of them: nested, cyclic, or large.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HOLDING = ("content", "source")
"""The keys that hold blocks and their sources."""

_SOURCES = ("base64", "url", "file")  # not a set: the value of `type` may be any object, even one without a hash
_LETTERS_PER_TOKEN = 4.0
_TOKENS_PER_MEDIUM = 1500.0
"""The guess for an image or a document, whatever its size: its tokens do not depend on its bytes."""

_MOST_PARTS = 100_000
"""The most parts of a body to look at: their sum is a guess as well."""


def input_guess(body: Mapping[str, Any]) -> float:
    """Guess the input tokens of a request's body, before anything is learned.

    Never raises an `Exception`, whatever `body` contains, and looks at a hundred thousand of its parts at most.

    Example:
        >>> input_guess({"messages": [{"role": "user", "content": "Four letters a token."}], "max_tokens": 9})
        6.25
    """
    tokens = 0.0
    try:
        for amount in _amounts(body):
            tokens += amount
    except Exception:  # noqa: BLE001 - perhaps the caller's own mapping class: the sum so far is a guess as well
        return tokens
    return tokens


def _amounts(body: Mapping[str, Any]) -> Iterator[float]:
    """Yield the guesses for the parts of a body.

    Sources of media are looked for only where the API has them: in a block, in the content of a block, and so on. The
    same keys have other meanings in a tool's schema and in its input.
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
