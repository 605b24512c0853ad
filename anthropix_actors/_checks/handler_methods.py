"""Whether the methods of a class are handlers that can be called, and no others of the same name. Pure."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.subscriber_hints import A_GENERATOR, only_made_by

if TYPE_CHECKING:
    from collections.abc import Callable

_ADVICE = "make a class of Handlers alone, and pass an object of it, as in to_textual(app, handlers)"


def check_methods(cls: type, handlers: type, names: frozenset[str]) -> None:
    """Check a subclass of handlers.

    Args:
        cls: The class.
        handlers: Its base class, with an empty method of each name.
        names: The names.

    Raises:
        TypeError: a method would have to be awaited or looped over, or has other arguments; or a base class has one of
            such a name that is no handler, or is hidden.
    """
    for base in cls.__mro__:
        for name in () if issubclass(base, handlers) else sorted(names.intersection(vars(base))):
            _check_base(cls, base, getattr(handlers, name))
    for name in names:  # those of a class beside it, too
        _check_method(cls, inspect.getattr_static(cls, name), getattr(handlers, name))


def _check_base(cls: type, base: type, empty: Callable[..., Any]) -> None:
    """Refuse a base class that uses the name of a handler for something else."""
    name = empty.__name__
    why: object = "that of Handlers hides it" if getattr(cls, name) is empty else None
    try:
        _check_method(cls, vars(base)[name], empty)
    except TypeError as exc:
        why = exc
    if why is not None:
        what = f"its base class {base.__qualname__} has a method {name} of its own"
        raise TypeError(f"{cls.__name__}: {what} ({why}); {_ADVICE}")


def _check_method(cls: type, method: object, empty: Callable[..., Any]) -> None:
    name = f"{cls.__name__}.{empty.__name__}"
    _check_kind(name, getattr(method, "__func__", method))  # behind a staticmethod, too
    if inspect.isfunction(method):
        _check_arguments(name, method, empty)


def _check_kind(name: str, method: object) -> None:
    """Refuse a method whose call would only make something that nobody would await, or loop over."""
    made = only_made_by(method)
    if made is not None:
        instead = "" if made == A_GENERATOR else "; in asyncio, use aio of anthropix_actors.subscribers"
        raise TypeError(f"{name}: expected a function, got {made}{instead}")


def _check_arguments(name: str, method: Callable[..., Any], empty: Callable[..., Any]) -> None:
    """Refuse a method that does not take the arguments of the empty one."""
    expected, got = inspect.signature(empty).parameters, inspect.signature(method)
    try:
        got.bind(*expected)
    except TypeError as exc:
        raise TypeError(f"{name}: expected ({', '.join(expected)}), got ({', '.join(got.parameters)})") from exc
