"""What is wrong with the methods of a class of handlers. Said when the class is made, not when a chat calls them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.subscriber_hints import A_GENERATOR, only_made_by

if TYPE_CHECKING:
    from collections.abc import Callable


def check_kind(name: str, method: object) -> None:
    """Refuse a method whose call would only make something that nobody would await, or loop over.

    Raises:
        TypeError: it is such a one.
    """
    made = only_made_by(method)
    if made is not None:
        instead = "" if made == A_GENERATOR else "; in asyncio, use aio of anthropix_actors.subscribers"
        raise TypeError(f"{name}: expected a function, got {made}{instead}")


def check_arguments(name: str, method: Callable[..., Any], empty: Callable[..., Any]) -> None:
    """Refuse a method that does not take the arguments of the empty one.

    Raises:
        TypeError: it does not.
    """
    expected, got = inspect.signature(empty).parameters, inspect.signature(method)
    try:
        got.bind(*expected)
    except TypeError as exc:
        raise TypeError(f"{name}: expected ({', '.join(expected)}), got ({', '.join(got.parameters)})") from exc
