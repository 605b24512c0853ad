"""How shapes of JSON are declared, and how all problems with a value are found at once. Pure.

A `Kind` is a declaration, and does two things. Its `type` is a msgspec type, so that msgspec can pass a whole
conversation in one go: that is the common case, and fast. What msgspec stops at, it stops at once, in words of its own;
then `problems` walks the value, names each place, and decides. So the rule between the two: `type` may refuse what
`problems` finds nothing wrong with (a type of block that is not known), never the other way round.

The shapes themselves are in `chat.parameters`.
"""

from __future__ import annotations

import contextlib
import operator
import os
import threading
from collections.abc import Mapping
from functools import cached_property, reduce
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec

from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 60

RESOLVING = threading.RLock()
"""Held while msgspec looks at a type for the first time."""

if hasattr(os, "register_at_fork"):  # pragma: no branch
    # A child that was forked in the middle of it would go on with half a type, and wait for the lock for ever.
    os.register_at_fork(before=RESOLVING.acquire, after_in_parent=RESOLVING.release, after_in_child=RESOLVING.release)

SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""The integers that msgspec writes."""


class Kind(Protocol):
    """What a value may be."""

    @property
    def expected(self) -> str:
        """The kind in words: "a string"."""
        ...

    @property
    def type(self) -> Any:
        """A msgspec type that takes only values without problems, though perhaps not all of them."""
        ...

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find everything wrong with a value."""
        ...


def fits(value: Any, kind: Any) -> bool:
    """Whether msgspec takes a value for a type.

    Example:
        >>> fits({"text": "Hi"}, Shape({"text": Leaf("a string", str)}).type)
        True
    """
    if id(kind) not in _resolved:
        _resolve(kind)
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError):  # ValueError: half a surrogate pair, an integer of 5,000 digits
        return False
    return True


_resolved: dict[int, Any] = {}
"""The types that msgspec has seen, by their ids."""


def _resolve(kind: Any) -> None:
    """Let msgspec look at a type for the first time, alone.

    It notes what it finds on the classes of a type, piece by piece; another thread that meets such a class half done
    takes the interpreter down (msgspec 0.22).
    """
    with RESOLVING:
        with contextlib.suppress(msgspec.ValidationError):
            msgspec.convert(None, kind)
        _resolved[id(kind)] = kind


def problems_of(kind: Kind, value: Any, place: str) -> Iterator[Problem]:
    """Find everything wrong with a value: almost always nothing, which msgspec says at once."""
    if not fits(value, kind.type):
        yield from kind.problems(value, place)


class Leaf(msgspec.Struct, frozen=True, dict=True):
    """A value that msgspec can judge by a type, perhaps an `Annotated` one.

    Example:
        >>> [str(problem) for problem in Leaf("an integer", int).problems("7", "top_k")]
        ["top_k: expected an integer, got '7'"]
    """

    expected: str
    type: Any

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find the one thing that can be wrong."""
        if not fits(value, self.type):
            yield mismatch(self, value, place)


class Shape(msgspec.Struct, frozen=True, dict=True):
    """A mapping with known keys; others may be there, too, as the API adds some.

    An optional key may be None, which says the same as leaving it out.

    Example:
        >>> image = Shape({"url": Leaf("a string", str)}, {"width": Leaf("an integer", int)})
        >>> [str(problem) for problem in image.problems({"width": "12"}, "image")]
        ['image.url: required, and missing: expected a string', "image.width: expected an integer, got '12'"]
    """

    required: Mapping[str, Kind] = msgspec.field(default_factory=dict)
    optional: Mapping[str, Kind] = msgspec.field(default_factory=dict)
    expected: str = "a mapping"

    @cached_property
    def type(self) -> Any:
        """A Struct with these fields."""
        return self.struct("Shape")

    def struct(self, name: str, *first: tuple[str, Any], **config: Any) -> Any:
        """Make the Struct, with more fields in front or other options."""
        required = [(key, kind.type) for key, kind in self.required.items()]
        optional = [(key, kind.type | None, None) for key, kind in self.optional.items()]
        return msgspec.defstruct(name, [*first, *required, *optional], frozen=True, gc=False, **config)

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find what is missing, and what is wrong with what is there."""
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
    """A list, every item of one kind."""

    item: Kind
    expected: str
    at_least: int = 0
    at_most: int | None = None

    @cached_property
    def type(self) -> Any:
        """A list with these limits."""
        items: Any = GenericAlias(list, self.item.type)
        return Annotated[items, msgspec.Meta(min_length=self.at_least, max_length=self.at_most)]

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find a wrong length, and what is wrong with each item."""
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
        otherwise: The shape of every other type, as the API adds some; None if it does not, and the list is closed.
        without_type: The shape when there is no type; None if there must be one.
    """

    shapes: Mapping[str, Shape]
    expected: str
    otherwise: Shape | None = msgspec.field(default_factory=Shape)
    without_type: Shape | None = None

    @cached_property
    def type(self) -> Any:
        """A union of tagged Structs."""
        if len(self.shapes) == 1:  # a tag that stands alone may be missing, for msgspec
            ((name, shape),) = self.shapes.items()
            return shape.struct(name, ("type", Literal[name]))
        return reduce(
            operator.or_, (shape.struct(name, tag_field="type", tag=name) for name, shape in self.shapes.items())
        )

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find what is wrong with the type, or else with the shape it names."""
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
    """A string, or else a value of another kind."""

    other: Kind

    @property
    def expected(self) -> str:
        """Both in words."""
        return f"a string or {self.other.expected}"

    @cached_property
    def type(self) -> Any:
        """The union of both."""
        return str | self.other.type

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Find what is wrong with it as the one that it looks like."""
        if isinstance(value, (Mapping, list, tuple)):
            yield from self.other.problems(value, place)
        elif not isinstance(value, str):
            yield mismatch(self, value, place)


def mismatch(kind: Kind, value: Any, place: str) -> Problem:
    """Get the problem of a value that is of another kind altogether."""
    return Problem(place, f"expected {kind.expected}, got {shown(value)}")


def shown(value: Any) -> str:
    """Get a value as an error shows it: the plain and short ones themselves, of others the type.

    Example:
        >>> shown(1.5), shown([1.5]), shown(10**5000)
        ('1.5', 'list', 'an integer of 16,610 bits')
    """
    if isinstance(value, str):
        text = repr(value[:_SHOWN])
        return text if len(value) <= _SHOWN else f"{text}... ({len(value):,} characters)"
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:  # Python refuses to write very long ones out
        return f"an integer of {value.bit_length():,} bits"
    if value is None or type(value) in {bool, int, float}:
        return repr(value)
    return type(value).__name__


def described(exc: BaseException) -> str:
    """Get the text of an exception that a caller's own code may have raised.

    Example:
        >>> described(KeyError()), described(ValueError("no number"))
        ('KeyError', 'no number')
    """
    try:
        return str(exc) or type(exc).__name__
    except Exception:  # noqa: BLE001 - it is theirs
        return type(exc).__name__


def within(place: str, key: str) -> str:
    """Get the place of a key.

    Example:
        >>> within("messages[2]", "content"), within("", "model"), within("tools[0]", "max-size")
        ('messages[2].content', 'model', "tools[0]['max-size']")
    """
    if not place:
        return key
    return f"{place}.{key}" if key.isidentifier() else f"{place}[{key!r}]"
