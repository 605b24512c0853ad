"""Decodes any server's JSON to values that can be sent back. Pure.

msgspec is fast and strict: for half a surrogate pair, a number too large for a double or a control character, it
refuses the whole document. So a refused document is decoded once more, by Python's own decoder and these rules; an odd
value then affects only itself:

- half a surrogate pair becomes U+FFFD, as UTF-8 cannot encode it; so does a byte that is not UTF-8;
- an integer may have up to `MOST_DIGITS` digits, and keeps its value;
- a number that JSON does not have (`NaN`) or that is too large (`1e999`, a longer integer) becomes null, as JavaScript
  would write it;
- a control character may stand unescaped in a string.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

MOST_DIGITS = 4300
"""The most digits of an integer: Python's default limit for converting integers to text and back."""

DEEPEST = 190
"""The deepest nesting of a value that is sent back; with the request around it, it has to stay below 200."""

_TOO_LONG = 10**MOST_DIGITS
_HALF = "[\ud800-\udfff]"  # a string, as compiling it takes a millisecond, and it is seldom needed


def decoded(document: str | bytes) -> Any:
    r"""Return the value of a JSON document.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.

    Example:
        >>> decoded(b'{"a": 1}'), decoded('{"a": "\\ud83d!", "b": 1e999}')
        ({'a': 1}, {'a': '\ufffd!', 'b': None})
    """
    try:
        return msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeError):
        return whole(lenient(document))


def lenient(document: str | bytes) -> Any:
    r"""Return the value of a JSON document that msgspec refused; strings may have half surrogate pairs.

    Raises:
        ValueError, RecursionError: as from `decoded`.
    """
    return _lenient(document.decode(errors="replace") if isinstance(document, bytes) else document)


def whole(value: Any) -> Any:
    r"""Replace each half of a surrogate pair by U+FFFD. Changes lists and dicts in place.

    Example:
        >>> whole({"a\ud800": ["\udfff", 1]})
        {'a\ufffd': ['\ufffd', 1]}
    """
    if isinstance(value, str):
        return re.sub(_HALF, "\ufffd", value)
    todo: list[Any] = [value]
    while todo:
        part: Any = todo.pop()
        if isinstance(part, dict):
            if any(re.search(_HALF, key) for key in part):
                renamed = [(re.sub(_HALF, "\ufffd", key), item) for key, item in part.items()]
                part.clear()
                part.update(renamed)
            items: Any = part.items()
        else:
            items = enumerate(part) if isinstance(part, list) else ()
        for key, item in items:
            if isinstance(item, str):
                part[key] = re.sub(_HALF, "\ufffd", item)
            else:
                todo.append(item)
    return value


def joined(text: str) -> str:
    r"""Join adjacent halves of surrogate pairs; the other halves become U+FFFD.

    Example:
        >>> joined("\ud83d" + "\ude00" + "\ud83d") == "\U0001f600\ufffd"
        True
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def too_deep(value: Any) -> bool:
    """Return whether a value is nested too deeply to be sent back.

    Example:
        >>> too_deep([[1]])
        False
    """
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for part in level
            if isinstance(part, (dict, list))
            for item in (part.values() if isinstance(part, dict) else part)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return False
    return True


def copied(value: Any) -> Any:
    """Return a deep copy of JSON: faster than `copy.deepcopy`, which handles any object, and not limited in depth."""
    if not isinstance(value, (dict, list)):
        return value
    whole = value.copy()
    todo: list[Any] = [whole]
    while todo:
        part = todo.pop()
        for key, item in part.items() if isinstance(part, dict) else enumerate(part):
            if isinstance(item, (dict, list)):
                part[key] = inner = item.copy()
                todo.append(inner)
    return whole


def writable(number: int) -> bool:
    """Return whether an integer can be written as text.

    Example:
        >>> writable(10**40), writable(10**5000)
        (True, False)
    """
    try:
        return -_TOO_LONG < number < _TOO_LONG and bool(str(number))
    except ValueError:  # the program has set a lower limit
        return False


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _integer(text: str) -> int | None:
    try:
        return int(text) if len(text.lstrip("-")) <= MOST_DIGITS else None
    except ValueError:  # the program has set a lower limit
        return None


def _nothing(_: str) -> None:
    return None


_lenient = json.JSONDecoder(strict=False, parse_constant=_nothing, parse_float=_finite, parse_int=_integer).decode
