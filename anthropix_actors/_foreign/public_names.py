"""The public names of classes and functions: in tracebacks, docs and pickles, including pickles of older releases."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Iterable


def publish(module: str, things: Iterable[Any]) -> None:
    """Set `__module__` of classes and functions to a public module, unless it is one already.

    So files can be moved: pickles and texts do not name a file. The hints of a Struct are resolved first, where
    possible: `msgspec` looks them up in the module that it names.

    Args:
        module: The module's name.
        things: Its public names' values; those that are not classes or functions are skipped.
    """
    for thing in things:
        if callable(thing) and not _is_public(thing.__module__):
            if hasattr(thing, "__struct_fields__"):
                with contextlib.suppress(NameError):  # a name that is imported for type checkers only
                    thing.__annotations__ = get_type_hints(thing, include_extras=True)
            thing.__module__ = module


def _is_public(module: str) -> bool:
    """Return whether users import a module: it lies in the package, or in its emulator, and is not private."""
    ours, _, below = module.removeprefix("anthropix_actors.emulator").removeprefix("anthropix_actors").rpartition(".")
    return not ours and not below.startswith("_")
