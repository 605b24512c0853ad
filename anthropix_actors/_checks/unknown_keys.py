"""Finds keys that a declared shape does not have. Pure.

Mostly unknown keys pass, as the API adds some. Not in what would be sent again and again: one key that the API does
not know has each request refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.shapes import ListOf, Shape, StringOr, Tagged, within
from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors._checks.shapes import Kind


def unknown_keys(kind: Kind, value: Any, place: str) -> Iterator[Problem]:
    """Yield a problem for each key of a value, at any depth, that its shape does not have. Its problems are known.

    A shape without keys is open: it has any.

    Example:
        >>> from anthropix_actors._checks.block_shapes import TOOL_RESULT_CONTENT
        >>> scored = {"type": "text", "text": "Hi", "score": 1}
        >>> [str(problem) for problem in unknown_keys(TOOL_RESULT_CONTENT, scored, "result[0]")]
        ['result[0].score: the API takes no such key here, but type, text, cache_control, citations']
    """
    match kind:
        case ListOf(item=item) if isinstance(value, list):
            for index, each in enumerate(value):
                yield from unknown_keys(item, each, f"{place}[{index}]")
        case StringOr(other=other):
            yield from unknown_keys(other, value, place)
        case Tagged(shapes=shapes) if isinstance(value, Mapping) and value.get("type") in shapes:
            yield from _of_shape(shapes[value["type"]], value, place, ["type"])
        case Shape() if isinstance(value, Mapping):
            yield from _of_shape(kind, value, place, [])
        case _:
            pass


def _of_shape(shape: Shape, value: Mapping[str, Any], place: str, also: list[str]) -> Iterator[Problem]:
    kinds = {**shape.required, **shape.optional}
    known = [*also, *kinds]
    for key, item in value.items():
        if key in kinds:
            yield from unknown_keys(kinds[key], item, within(place, key))
        elif kinds and key not in also:
            yield Problem(within(place, key), f"the API takes no such key here, but {', '.join(known)}")
