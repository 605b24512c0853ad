"""What is wrong with the methods of a class of handlers. Said when the class is made, not when a chat calls them."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.subscriber_hints import A_GENERATOR, only_made_by
from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.log import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_WORDS = {
    **dict.fromkeys(("chunk", "content", "delta", "new_token", "text_delta", "token", "llm_new_token"), "on_text"),
    **dict.fromkeys(("reasoning", "thought"), "on_thinking"),
    **dict.fromkeys(("content_block", "tool_call", "tool_use"), "on_block"),
    **dict.fromkeys(("result", "llm_end"), "on_done"),
    "llm_error": "on_failed",
    "tool_result": "on_tool_done",
}
"""Other libraries' words for what happens, after `on_` → the method for it."""

_LAST_WORDS = {
    **dict.fromkeys(("complete", "completed", "end", "ended", "finish", "finished", "success"), "done"),
    **dict.fromkeys(("error", "exception", "fail", "failure"), "failed"),
    **dict.fromkeys(("abort", "aborted", "cancel", "canceled"), "cancelled"),
    "retry": "retrying",
    "resume": "resumed",
    "start": "started",
}
"""The same, for the last word of a name, such as that of `on_batch_error`."""

_ADVICE = "make a class of Handlers alone, and pass an object of it, as in to_textual(app, handlers)"

_OF_BUTTONS = {"on_abort", "on_cancel"}
"""What a window may well have for a button: these take one argument at most, the event."""


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
    if not callable(method) and not hasattr(type(method), "__get__"):  # what a property gives is known later
        raise TypeError(f"{name}: expected a function, got {shown(method)}; leave it out to do nothing")
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


def warn_of_misnamed(kind: type, known: Collection[str]) -> None:
    """Warn of the methods of a class that nothing calls, by names that are nearly those of a handler's methods.

    A class may have any `on_...` of its own, or of another class that it is of: there is no warning of those.

    Args:
        kind: The class.
        known: The names of a handler's methods.
    """
    for name, method in vars(kind).items():
        if not name.startswith("on_") or name in known or not inspect.isfunction(method):
            continue
        if any(name in vars(base) for base in kind.__mro__[1:]) or not _may_be_meant(name, method):
            continue
        if (meant := meant_by(name, known)) is not None:
            text = f"{kind.__name__}.{name}: nothing calls it; did you mean {meant}?"
            # The place of the method, and no stack level: a metaclass may have any number of calls of its own here.
            code = getattr(inspect.unwrap(method), "__code__", method.__code__)
            warnings.warn_explicit(text, UserWarning, code.co_filename, code.co_firstlineno, module=kind.__module__)


def _may_be_meant(name: str, method: Callable[..., Any]) -> bool:
    """Return whether a method takes as much as those of a handler do: what they are told of, at the least."""
    parameters = inspect.signature(method).parameters.values()
    least = 3 if name in _OF_BUTTONS else 2
    return len(parameters) >= least or any(each.kind is each.VAR_POSITIONAL for each in parameters)


def meant_by(name: str, known: Collection[str]) -> str | None:
    """Return the method of a handler that a name nearly is, or is another word for; None for any other name.

    Example:
        >>> known = ["on_text", "on_failed", "on_batch_failed"]
        >>> [meant_by(name, known) for name in ("on_txt", "on_token", "on_batch_error", "on_click")]
        ['on_text', 'on_text', 'on_batch_failed', None]
    """
    head, _, last = name.rpartition("_")
    meant = _WORDS.get(name.removeprefix("on_"), f"{head}_{_LAST_WORDS.get(last)}")
    if meant in known:
        return meant
    with late_import():
        from anthropix_actors._checks.suggest import slip
    return slip(name, known)
