"""The public names of classes and functions: in tracebacks, docs and pickles, including pickles of older releases."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def publish(module: str, things: Iterable[Any]) -> None:
    """Set `__module__` of classes and functions to a public module, unless it is one already.

    So files can be moved: pickles and texts do not name a file. The hints of a Struct are resolved first: `msgspec`
    looks them up in the module that it names, also for `help()` and `inspect.signature()`.

    Args:
        module: The module's name.
        things: Its public names' values; those that are not classes or functions are skipped.
    """
    for thing in things:
        if callable(thing) and not _is_public(thing.__module__):
            if hasattr(thing, "__struct_fields__"):
                thing.__annotations__ = {
                    field: _resolved(hint, thing.__module__) if isinstance(hint, str) else hint
                    for field, hint in thing.__annotations__.items()
                }
            thing.__module__ = module


@cache  # the messages of a task have much in common, and to compile a hint takes longer than to make a field
def _resolved(hint: str, module: str) -> Any:
    """Return a hint of a Struct; Any if it needs a name which is imported for type checkers only."""
    try:
        return eval(hint, vars(sys.modules[module]))  # noqa: S307 - our own source
    except NameError:
        return Any


def _is_public(module: str) -> bool:
    """Return whether users import a module: it lies in the package, or in its emulator, and is not private."""
    ours, _, below = module.removeprefix("anthropix_actors.emulator").removeprefix("anthropix_actors").rpartition(".")
    return not ours and not below.startswith("_")
