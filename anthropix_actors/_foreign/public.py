"""The names that others know our things by: in tracebacks, documentation and pickles, those of older releases too."""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def publish(module: str, things: Iterable[Any]) -> None:
    """Have classes and functions say that they are of a public module, unless they are of one already.

    So files can be moved: pickles and texts name no file. Hints are resolved before that, where they can be: `msgspec`
    looks for them in the module that a class names.

    Args:
        module: The module's name.
        things: What is public in it; what is no class or function is passed over.
    """
    for thing in things:
        if callable(thing) and not _is_public(thing.__module__):
            with contextlib.suppress(NameError):  # imported for type checkers alone
                thing.__annotations__ = get_type_hints(thing, include_extras=True)
            thing.__module__ = module


def alias(package: str, moved: Mapping[str, Iterable[str]]) -> None:
    """Let things be found where an older release had them, for its pickles.

    Args:
        package: Where they are now.
        moved: By the modules that were below it: the names.
    """
    for module, names in moved.items():
        old = ModuleType(f"{package}.{module}", "Where something was in an older release.")
        vars(old).update({name: getattr(sys.modules[package], name) for name in names})
        sys.modules[old.__name__] = old


def _is_public(module: str) -> bool:
    """Whether users import a module: it lies in the package, or in its emulator, and has a name of its own there."""
    ours, _, below = module.removeprefix("anthropix_actors.emulator").removeprefix("anthropix_actors").rpartition(".")
    return not ours and not below.startswith("_")
