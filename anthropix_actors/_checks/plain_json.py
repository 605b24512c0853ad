"""Whatever a caller gives → JSON that is nobody else's to change. Pure."""

from __future__ import annotations

import binascii
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from anthropix_actors._checks.shapes import LARGEST, SMALLEST, described, shown, within
from anthropix_actors._decode.json import MOST_DIGITS, writable
from anthropix_actors.errors import Problem

_DEEPEST = 200

_Path: TypeAlias = "str | tuple[_Path, str | int]"
"""Where a value is. Its text is made only when something is wrong there."""


def copy_json(value: Any, place: str, problems: list[Problem]) -> Any:
    """Copy JSON to dicts, lists, strings and numbers that are exactly that, and nobody else's to change.

    The `data` of a source of type `base64` may be bytes or a path; they are encoded here.

    Args:
        value: Any mapping, list, tuple, string or number, and what is in them.
        place: Where it is.
        problems: Gets a problem for whatever is no JSON; that is not copied.

    Example:
        >>> found = []
        >>> copy_json({"a": (1, {2})}, "extra", found)
        {'a': [1, {2}]}
        >>> [str(problem) for problem in found]
        ['extra.a[1]: expected JSON, got set']
    """
    return _Copier(problems).copy(value, place)


class _Copier:
    """One copy in the making."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._around: set[int] = set()
        """The ids of what the value is in."""

    def copy(self, value: Any, path: _Path) -> Any:
        if type(value) is str and value.isascii():  # most of what there is
            return value
        try:
            if isinstance(value, (dict, list, tuple, Mapping)):
                return self._copy_container(value, path)
            return _scalar(value)
        except ValueError as wrong:
            self._problems.append(Problem(_text(path), str(wrong)))
        except Exception as exc:  # noqa: BLE001 - a mapping or a list may be of a caller's own class
            self._problems.append(Problem(_text(path), f"it cannot be read: {described(exc)}"))
        return value

    def _copy_container(self, value: Any, path: _Path) -> Any:
        here = id(value)
        if here in self._around:
            raise ValueError("expected JSON, got something that contains itself")
        if len(self._around) >= _DEEPEST:
            raise ValueError(f"expected JSON, got something nested more than {_DEEPEST} deep")
        self._around.add(here)
        copied: Any
        if isinstance(value, (list, tuple)):
            copied = [self.copy(item, (path, index)) for index, item in enumerate(value)]
        else:
            copied = {}
            for key, item in value.items():
                if isinstance(key, str) and _encodable(key):
                    if key == "data" and not isinstance(item, str) and value.get("type") == "base64":
                        item = self._encoded(item, (path, key))  # noqa: PLW2901 - what is sent in its place
                    copied[str.__str__(key)] = self.copy(item, (path, key))
                else:
                    text = f"expected strings that UTF-8 can encode as keys, got {shown(key)}"
                    self._problems.append(Problem(_text(path), text))
        self._around.discard(here)
        return copied

    def _encoded(self, data: Any, path: _Path) -> Any:
        """Get data as base64: bytes, or what a path leads to. What is neither stays as it is, and is no JSON."""
        try:
            if isinstance(data, os.PathLike):
                data = Path(data).read_bytes()
        except Exception as exc:  # noqa: BLE001 - a path may be of a caller's own class
            self._problems.append(Problem(_text(path), f"it cannot be read: {described(exc)}"))
            return ""
        if isinstance(data, (bytes, bytearray, memoryview)):
            return binascii.b2a_base64(data, newline=False).decode("ascii")
        return data


def _scalar(value: Any) -> Any:
    """Get a value as the very type that msgspec writes: it refuses a subclass, such as NumPy's floats.

    Raises:
        ValueError: it is no JSON; the text says what it is instead.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not _encodable(value):
            raise ValueError("expected text that UTF-8 can encode, got half of a surrogate pair")
        return str.__str__(value)
    if isinstance(value, int):
        if not SMALLEST <= value <= LARGEST and not writable(value):
            raise ValueError(f"expected an integer of at most {MOST_DIGITS:,} digits, got {shown(value)}")
        return int.__int__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"expected a finite number, got {shown(value)}")
        return float.__float__(value)
    raise ValueError(f"expected JSON, got {shown(value)}")


def _encodable(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _text(path: _Path) -> str:
    keys: list[str | int] = []
    while not isinstance(path, str):
        path, key = path
        keys.append(key)
    for key in reversed(keys):
        path = f"{path}[{key}]" if isinstance(key, int) else within(path, key)
    return path
