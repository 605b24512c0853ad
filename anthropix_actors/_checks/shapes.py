"""Declarations of JSON shapes, which find all problems of a value at once. Pure.

A `Kind` is a declaration with two parts. Its `type` is a msgspec type, so that msgspec can accept a whole conversation
in one pass: the common case, and fast. msgspec stops at the first problem, with a text of its own; then `problems`
walks the value, names each place, and decides. So the rule between the two: `type` may refuse a value in which
`problems` finds nothing (a block of an unknown type), never the other way round.

The shapes themselves are in `chat.parameters`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import reduce
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec

from anthropix_actors._checks.resolving import accepts, fits
from anthropix_actors._foreign.on_first_use import MadeOnce
from anthropix_actors._foreign.raised import kind_of
from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 60
_LONGEST = 10_000

SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""The range of the integers that msgspec writes."""


class Kind(Protocol):
    """A declaration of valid values."""

    @property
    def expected(self) -> str:
        """The kind in words: "a string"."""
        ...

    @property
    def type(self) -> Any:
        """A msgspec type that accepts only values without problems, though perhaps not all of them."""
        ...

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Yield all problems of a value."""
        ...


def problems_of(kind: Kind, value: Any, place: str) -> Iterator[Problem]:
    """Yield all problems of a value. Nearly always there are none, which msgspec finds fast."""
    if not fits(value, kind.type):
        yield from kind.problems(value, place)


class Leaf(msgspec.Struct, frozen=True, dict=True):
    """A value that msgspec can check against a type, perhaps an `Annotated` one.

    Example:
        >>> [str(problem) for problem in Leaf("an integer", int).problems("7", "top_k")]
        ["top_k: expected an integer, got '7'"]
    """

    expected: str
    type: Any

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Yield the problem of a value of another type."""
        if not accepts(value, self.type):
            yield mismatch(self, value, place)


class Shape(msgspec.Struct, frozen=True, dict=True):
    """A mapping with known keys. Unknown keys are allowed, as the API adds some.

    An optional key may be None, which means the same as leaving it out.

    Example:
        >>> image = Shape({"url": Leaf("a string", str)}, {"width": Leaf("an integer", int)})
        >>> [str(problem) for problem in image.problems({"width": "12"}, "image")]
        ['image.url: required, and missing: expected a string', "image.width: expected an integer, got '12'"]
    """

    required: Mapping[str, Kind] = msgspec.field(default_factory=dict)
    optional: Mapping[str, Kind] = msgspec.field(default_factory=dict)
    expected: str = "a mapping"

    @MadeOnce
    def type(self) -> Any:
        """A Struct with these fields."""
        return self.struct("Shape")

    def struct(self, name: str, *first: tuple[str, Any], **config: Any) -> Any:
        """Return a new Struct, with fields in front or other options."""
        required = [(key, kind.type) for key, kind in self.required.items()]
        optional = [(key, kind.type | None, None) for key, kind in self.optional.items()]
        return msgspec.defstruct(name, [*first, *required, *optional], frozen=True, gc=False, **config)

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Yield a problem for each missing key, and the problems of the values."""
        if not isinstance(value, Mapping):
            yield mismatch(self, value, place)
            return
        for key, kind in self.required.items():
            if key in value:
                yield from problems_of(kind, value[key], within(place, key))
            else:
                yield Problem(within(place, key), f"required, and missing: expected {kind.expected}")
        for key, kind in self.optional.items():
            if value.get(key) is not None:
                yield from problems_of(kind, value[key], within(place, key))


class ListOf(msgspec.Struct, frozen=True, dict=True):
    """A list whose items are all of one kind."""

    item: Kind
    expected: str
    at_least: int = 0
    at_most: int | None = None

    @MadeOnce
    def type(self) -> Any:
        """A list with these limits."""
        items: Any = GenericAlias(list, self.item.type)
        return Annotated[items, msgspec.Meta(min_length=self.at_least, max_length=self.at_most)]

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Yield a problem for a wrong length, and the problems of each item."""
        if not isinstance(value, (list, tuple)):
            yield mismatch(self, value, place)
            return
        if len(value) < self.at_least or (self.at_most is not None and len(value) > self.at_most):
            limit = f", at most {self.at_most:,}" if self.at_most is not None else ""
            yield Problem(place, f"expected at least {self.at_least}{limit}, got {len(value):,}")
        for index, item in enumerate(value):
            yield from problems_of(self.item, item, f"{place}[{index}]")


class Tagged(msgspec.Struct, frozen=True, dict=True):
    """A mapping whose `type` says which shape it has.

    Attributes:
        shapes: The shape of each known type.
        expected: The kind in words.
        otherwise: The shape of unknown types, as the API adds some; None for a closed list.
        without_type: The shape of a mapping without a type; None if a type is required.
    """

    shapes: Mapping[str, Shape]
    expected: str
    otherwise: Shape | None = msgspec.field(default_factory=Shape)
    without_type: Shape | None = None

    @MadeOnce
    def type(self) -> Any:
        """A union of tagged Structs."""
        if len(self.shapes) == 1:  # msgspec does not require the tag of a single Struct
            ((name, shape),) = self.shapes.items()
            return shape.struct(name, ("type", Literal[name]))
        return reduce(
            operator.or_, (shape.struct(name, tag_field="type", tag=name) for name, shape in self.shapes.items())
        )

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Yield the problem of the type, or else those of the shape that it names."""
        if not isinstance(value, Mapping):
            yield mismatch(self, value, place)
            return
        name = value.get("type")
        if name is None and self.without_type is not None:
            yield from problems_of(self.without_type, value, place)
        elif "type" not in value:
            yield Problem(within(place, "type"), f"required, and missing: expected the type of {self.expected}")
        elif not isinstance(name, str):
            yield Problem(within(place, "type"), f"expected a string, got {shown(name)}")
        elif shape := self.shapes.get(name, self.otherwise):
            yield from problems_of(shape, value, place)
        else:
            known = ", ".join(f'"{known}"' for known in self.shapes)
            yield Problem(within(place, "type"), f"expected one of {known}, got {shown(name)}")


class StringOr(msgspec.Struct, frozen=True, dict=True):
    """A string, or a value of another kind."""

    other: Kind

    @property
    def expected(self) -> str:
        """Both in words."""
        return f"a string or {self.other.expected}"

    @MadeOnce
    def type(self) -> Any:
        """The union of both."""
        return str | self.other.type

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Yield the problems of the value, as the kind that it resembles."""
        if isinstance(value, (Mapping, list, tuple)):
            yield from self.other.problems(value, place)
        elif not isinstance(value, str):
            yield mismatch(self, value, place)


def mismatch(kind: Kind, value: Any, place: str) -> Problem:
    """Return the problem of a value of the wrong kind."""
    hint = "; put it in a list: [...]" if isinstance(kind, ListOf) and isinstance(value, Mapping) else ""
    return Problem(place, f"expected {kind.expected}, got {shown(value)}{hint}")


def shown(value: Any) -> str:
    """Return a value as errors show it: short strings, numbers, bools and None as they are, others by their type.

    Example:
        >>> shown(1.5), shown([1.5]), shown(10**5000)
        ('1.5', 'list', 'an integer of 16,610 bits')
    """
    if isinstance(value, str):
        text = repr(value[:_SHOWN])
        return text if len(value) <= _SHOWN else f"{text}... ({len(value):,} characters)"
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:  # Python refuses to print very long integers
        return f"an integer of {value.bit_length():,} bits"
    if value is None or type(value) in {bool, int, float}:
        return repr(value)
    return type(value).__name__


def described(exc: BaseException) -> str:
    """Return the text of an exception that the caller's own code may have raised: not too long, and as UTF-8 has it.

    Example:
        >>> described(KeyError()), described(ValueError("no number"))
        ('KeyError', 'no number')
    """
    try:
        text = str.__str__(str(exc))[:_LONGEST]
        return text.encode("utf-8", "backslashreplace").decode() or kind_of(exc)
    except BaseException:  # noqa: BLE001 - the caller's own class
        return kind_of(exc)


def within(place: str, key: str) -> str:
    """Return the place of a key within a mapping.

    Example:
        >>> within("messages[2]", "content"), within("", "model"), within("tools[0]", "max-size")
        ('messages[2].content', 'model', "tools[0]['max-size']")
    """
    if not place:
        return key
    return f"{place}.{key}" if key.isidentifier() else f"{place}[{key!r}]"
