"""How shapes of JSON are declared, and how all problems with a value are found at once. Pure.

A `Kind` says what it expects and finds the problems with a value; `Leaf` leaves the judgement to msgspec, the others
look inside and name the place. The shapes themselves are in `_params`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 60


class Kind(Protocol):
    """What a value may be."""

    @property
    def expected(self) -> str:
        """The kind in words: "a string"."""
        ...

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find everything wrong with a value."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value that msgspec can judge by a type, perhaps an `Annotated` one.

    Example:
        >>> [str(problem) for problem in Leaf("an integer", int).problems("7", "top_k")]
        ["top_k: expected an integer, got '7'"]
    """

    expected: str
    type: Any

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find the one thing that can be wrong."""
        try:
            msgspec.convert(value, self.type)
        except msgspec.ValidationError:
            yield mismatch(self, value, place)


@dataclass(frozen=True, slots=True)
class Shape:
    """A mapping with known keys; others may be there, too, as the API adds some.

    An optional key may be None, which says the same as leaving it out.
    """

    required: Mapping[str, Kind] = field(default_factory=dict)
    optional: Mapping[str, Kind] = field(default_factory=dict)
    expected: str = "a mapping"

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find what is missing, and what is wrong with what is there."""
        if not isinstance(value, Mapping):
            yield mismatch(self, value, place)
            return
        for key, kind in self.required.items():
            if key in value:
                yield from kind.problems(value[key], within(place, key))
            else:
                yield Problem(within(place, key), f"required, and missing: expected {kind.expected}")
        for key, kind in self.optional.items():
            if value.get(key) is not None:
                yield from kind.problems(value[key], within(place, key))


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list or tuple, every item of one kind."""

    item: Kind
    expected: str
    at_least: int = 0
    at_most: int | None = None

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find a wrong length, and what is wrong with each item."""
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
            yield mismatch(self, value, place)
            return
        if len(value) < self.at_least or (self.at_most is not None and len(value) > self.at_most):
            limit = f", at most {self.at_most:,}" if self.at_most is not None else ""
            yield Problem(place, f"expected at least {self.at_least}{limit}, got {len(value):,}")
        for index, item in enumerate(value):
            yield from self.item.problems(item, f"{place}[{index}]")


@dataclass(frozen=True, slots=True)
class Tagged:
    """A mapping whose `type` says which shape it has.

    A type that is not known passes, as the API adds some, unless the table is `closed`.
    """

    shapes: Mapping[str, Kind]
    expected: str
    closed: bool = False
    without_type: Kind | None = None

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find what is wrong with the type, or else with the shape it names."""
        if not isinstance(value, Mapping):
            yield mismatch(self, value, place)
            return
        kind = value.get("type")
        if kind is None and self.without_type is not None:
            yield from self.without_type.problems(value, place)
        elif "type" not in value:
            yield Problem(within(place, "type"), f"required, and missing: expected the type of {self.expected}")
        elif not isinstance(kind, str):
            yield Problem(within(place, "type"), f"expected a string, got {shown(kind)}")
        elif kind in self.shapes:
            yield from self.shapes[kind].problems(value, place)
        elif self.closed:
            known = ", ".join(f'"{name}"' for name in self.shapes)
            yield Problem(within(place, "type"), f"expected one of {known}, got {shown(kind)}")


@dataclass(frozen=True, slots=True)
class StringOr:
    """A string, or else a value of another kind."""

    other: Kind
    string: Leaf = field(default_factory=lambda: Leaf("a string", str))

    @property
    def expected(self) -> str:
        """Both in words."""
        return f"{self.string.expected} or {self.other.expected}"

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find what is wrong with it as the one that it looks like."""
        if isinstance(value, str):
            yield from self.string.problems(value, place)
        elif isinstance(value, (Mapping, Sequence)):
            yield from self.other.problems(value, place)
        else:
            yield mismatch(self, value, place)


def mismatch(kind: Kind, value: Any, place: str) -> Problem:
    """Get the problem of a value that is of another kind altogether."""
    return Problem(place, f"expected {kind.expected}, got {shown(value)}")


def shown(value: Any) -> str:
    """Get a value as an error shows it: the plain and short ones themselves, of others the type."""
    if value is None or isinstance(value, (str, int, float)):
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({type(value).__name__})"
    return type(value).__name__


def within(place: str, key: str) -> str:
    """Get the place of a key.

    Example:
        >>> within("messages[2]", "content"), within("", "model")
        ('messages[2].content', 'model')
    """
    return f"{place}.{key}" if place else key
