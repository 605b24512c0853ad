"""Deep-copies a caller's input into plain JSON types; reads the files that are in it, to send them as base64."""

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
"""The place of a value. Its text is built only if there is a problem."""


def copy_json(value: Any, place: str, problems: list[Problem]) -> Any:
    """Return a deep copy of JSON, made of exactly dict, list, str, int, float, bool and None.

    The `data` of a source of type `base64` may be bytes or a path; they are encoded here.

    Args:
        value: Any mapping, list, tuple, string or number, with such contents.
        place: The place of the value, for problems.
        problems: Each value that is not JSON adds a problem to it, and is not copied.

    Example:
        >>> found = []
        >>> copy_json({"a": (1, {2})}, "extra", found)
        {'a': [1, {2}]}
        >>> [str(problem) for problem in found]
        ['extra.a[1]: expected JSON, got set']
    """
    return _Copier(problems).copy(value, place)


class _Copier:
    """The state of one copy."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._around: set[int] = set()
        """The ids of the containers around the value."""

    def copy(self, value: Any, path: _Path) -> Any:
        if type(value) is str and value.isascii():  # the most common case
            return value
        try:
            if isinstance(value, (dict, list, tuple, Mapping)):
                return self._copy_container(value, path)
            return _scalar(value)
        except ValueError as wrong:
            self._problems.append(Problem(_text(path), str(wrong)))
        except Exception as exc:  # noqa: BLE001 - a mapping or a list may be of the caller's own class
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
                        item = self._encoded(item, (path, key))  # noqa: PLW2901 - it is sent instead
                    copied[str.__str__(key)] = self.copy(item, (path, key))
                else:
                    text = f"expected strings that UTF-8 can encode as keys, got {shown(key)}"
                    self._problems.append(Problem(_text(path), text))
        self._around.discard(here)
        return copied

    def _encoded(self, data: Any, path: _Path) -> Any:
        """Return bytes, or the content of a path, as base64; other values unchanged, which then are not JSON."""
        try:
            if isinstance(data, os.PathLike):
                data = Path(data).read_bytes()
        except Exception as exc:  # noqa: BLE001 - a path may be of the caller's own class
            self._problems.append(Problem(_text(path), f"it cannot be read: {described(exc)}"))
            return ""
        if isinstance(data, (bytes, bytearray, memoryview)):
            return binascii.b2a_base64(data, newline=False).decode("ascii")
        return data


def _scalar(value: Any) -> Any:
    """Return a value as the exact type that msgspec writes: it refuses subclasses, such as NumPy's floats.

    Raises:
        ValueError: it is not JSON; the text says what was expected.
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
