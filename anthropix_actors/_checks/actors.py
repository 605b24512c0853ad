"""Whether a thing may be told messages. Imported by each chat, so it is small."""

from __future__ import annotations

import inspect


def is_of_actors(thing: object) -> bool:
    """Return whether a thing is a dict of actors: each of its values has a `tell`. Runs none of their code.

    Example:
        >>> is_of_actors({"ask_user": subscriber}), is_of_actors({"name": "search"})
        (True, False)
    """
    return type(thing) is dict and bool(thing) and all(map(can_be_told, thing.values()))


def is_tool_server(thing: object) -> bool:
    """Return whether a thing stands for the tools of a server. Runs none of its code.

    Example:
        >>> is_tool_server({"name": "search"})
        False
    """
    return inspect.getattr_static(type(thing), "offered", None) is not None


def can_be_told(thing: object) -> bool:
    """Return whether a thing has a `tell`. Runs none of its code."""
    return inspect.getattr_static(thing, "tell", None) is not None
