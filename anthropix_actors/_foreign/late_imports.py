"""Imports that come late, as a part of the package is used first; another thread may fork meanwhile.

A forked child keeps the locks of Python's imports as they were: it would wait for ever for a module that another thread
of its parent was importing. So, once there is a client, a fork waits until the late imports of this package have ended.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock  # as `threading` calls it, which this package does not import before it is needed
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.locks import is_held
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

ENDING = "the interpreter is ending; nothing more is sent"
"""The text of the error for what comes too late to be imported or sent."""

IN_THE_MIDDLE = (
    "a signal handler came in the middle of an import of what it needs. Make the client, and have a first chat, before "
    "signals come; or let the handler only set a flag"
)
"""The text of the error for what is half imported."""

_HALF = "partially initialized module"
"""Of Python's errors for that."""

# Reentrant, as a module that is imported may import others late, and a signal handler may come in the middle of it.
_importing = RLock()


def late_import() -> AbstractContextManager[object]:
    """Return a context for an import that comes late: no fork comes in the middle of it.

    While the interpreter ends, threads stop wherever they are; so no lock is waited for then. What can no longer be
    imported is an `AnthropixError`; so is what a signal handler finds half imported.
    """
    if sys.is_finalizing():
        return _AtTheEnd()
    return _InTheMiddle() if is_held(_importing) else _importing


class _AtTheEnd:
    """The context of an import while the interpreter ends."""

    def __enter__(self) -> None:
        """Wait for nothing."""

    def __exit__(self, kind: object, exc: BaseException | None, tb: object) -> None:
        if isinstance(exc, ImportError):
            raise AnthropixError(ENDING) from exc


class _InTheMiddle:
    """The context of an import in the middle of another one, which a module or a signal handler makes."""

    def __enter__(self) -> None:
        """Do nothing: this thread holds the lock."""

    def __exit__(self, kind: object, exc: BaseException | None, tb: object) -> None:
        if isinstance(exc, ImportError | AttributeError) and _HALF in str(exc):
            raise AnthropixError(IN_THE_MIDDLE) from exc


def late_names(package: str, homes: Mapping[str, tuple[str, ...]], names: dict[str, Any]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package, which imports what is public when it is used first.

    Args:
        package: The package's name.
        homes: Its modules, with the public names that are in each.
        names: The package's own names, to which those are added that were imported.
    """
    modules = {name: module for module, there in homes.items() for name in there}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with late_import():
            thing = names[name] = getattr(import_module(f"{package}.{modules[name]}"), name)
        return thing

    return get


def hold_forks_up() -> None:
    """Let forks wait for late imports from now on.

    Called once, when all modules of a chat are imported: the last lock to be registered is the first that a fork takes.
    So a fork that waits here does not hold what the import may need, such as the lock of `logging`.
    """
    if hasattr(os, "register_at_fork"):  # pragma: no branch
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)


def _before_fork() -> None:
    _importing.acquire()


def _after_fork() -> None:
    _importing.release()


def _in_child() -> None:
    """Make a new lock: a thread of the parent may have held the old one, before forks waited for that."""
    global _importing  # noqa: PLW0603 - a lock of the process
    _importing = RLock()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_in_child)
