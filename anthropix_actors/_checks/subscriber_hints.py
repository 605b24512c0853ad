"""What was given as a subscriber, a queue or a function and is none, and how to make one of it. Pure.

The caller's objects are foreign code: whatever their attributes raise becomes a part of the hint.
"""

from __future__ import annotations

import inspect
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_FROM = "from anthropix_actors.subscribers"
_AIO = f"in asyncio, use aio(client.chat(..., stream=True)), {_FROM}"
_CALLED = {
    "aio": "aio(client.chat(..., stream=True))",
    "to_function": "to_function(function)",
    "to_queue": "to_queue(queue)",
    "to_loop": "to_loop(call_soon, call_later, handler)",
    **{name: f"{name}(widget, handler)" for name in ("to_gtk", "to_qt", "to_textual", "to_tk", "to_wx")},
}
_ASYNC = "an async def, which nobody would await"
A_GENERATOR = "a generator function, and a call would not run it"
_ANY = f"pass the ref of an actor, to_queue(queue) or to_function(function), {_FROM}"
_PICK = f"pass to_function(function), with a function that puts what you need of a message, {_FROM}"


def no_subscriber(given: object) -> str | None:
    """Return what a wrong subscriber is, and a hint; None if it has a `tell` that can be called.

    Example:
        >>> no_subscriber(print)
        'a function; pass to_function(function), from anthropix_actors.subscribers'
        >>> import queue
        >>> no_subscriber(queue.SimpleQueue())
        'a queue, SimpleQueue; pass to_queue(queue), from anthropix_actors.subscribers'
    """
    return _safely(_of_subscriber, given)


def no_queue(given: object) -> str | None:
    """Return what a wrong queue is, and a hint; None if messages can be put into it without waiting.

    Example:
        >>> import asyncio
        >>> no_queue(asyncio.Queue())
        "a queue of asyncio's; in asyncio, use aio(client.chat(..., stream=True)), from anthropix_actors.subscribers"
    """
    return _safely(_of_queue, given)


def no_function(given: object) -> str | None:
    """Return what a wrong function is, and a hint; None if it can be called with each message.

    Example:
        >>> no_function([1, 2])
        'list'
    """
    return _safely(_of_function, given)


def only_made_by(function: Any) -> str | None:
    """Return what a function is whose call runs nothing, and makes only what is to be awaited, or looped over.

    Example:
        >>> async def show(message): ...
        >>> only_made_by(show)
        'an async def, which nobody would await'
    """
    for each in (function, getattr(function, "__call__", None)):  # noqa: B004 - what it is, not whether
        if _is_async(each):
            return _ASYNC
        if inspect.isgeneratorfunction(each):
            return A_GENERATOR
    return None


def _safely(look: Callable[[Any], str | None], given: object) -> str | None:
    try:
        return look(given)
    except Exception as exc:  # noqa: BLE001 - its attributes are the caller's own code
        return f"{type(given).__name__}, whose attributes raise {type(exc).__name__}"


def _of_subscriber(given: Any) -> str | None:
    if isinstance(given, type):
        return _of_class(given)
    tell = getattr(given, "tell", None)
    if isinstance(given, io.IOBase):
        return f"a file, {type(given).__name__}; pass to_function(lambda message: print(message, file=file)), {_FROM}"
    if hasattr(given, "say_instead") and hasattr(given, "actor_urn"):
        return f"{type(given).__name__}, which is told nothing; its subscribers are"
    if callable(tell):
        return f"{type(given).__name__}, whose tell is {_ASYNC}; {_AIO}" if _is_async(tell) else None
    return _instead(given)


def _instead(given: Any) -> str:
    """Return what an object without a `tell` is, and what to pass instead."""
    what = type(given).__name__
    if hasattr(given, "actor_ref"):
        what = _of_actor(given)
    elif _is_handler(given):
        what = (
            f"{what}, a handler; pass to_tk(widget, handler), or the like, {_FROM}; or make it a Listener, and start it"
        )
    elif isinstance(given, (list, tuple, set)):
        what = f"a {what}; pass one subscriber, and the others to chat.subscribe"
    elif inspect.isgenerator(given):
        what = f"a generator; begin it with next(generator), and pass to_function(generator.send), {_FROM}"
    elif callable(getattr(given, "put", None)):
        what = _of_queue(given) or f"a queue, {what}; pass to_queue(queue), {_FROM}"
    elif callable(given):
        what = _of_function(given) or _of_uncalled(given) or f"a function; pass to_function(function), {_FROM}"
    else:
        what = f"{what}; {_ANY}"
    return what


def _of_uncalled(given: Any) -> str | None:
    """Return what a function of this library, or a method of a subscriber or a queue, is; None for another."""
    name, owner = getattr(given, "__name__", ""), getattr(given, "__self__", None)
    if getattr(given, "__module__", "") == "anthropix_actors.subscribers" and name in _CALLED:
        return f"the function {name}; pass what it returns: {_CALLED[name]}"
    if name == "tell" and owner is not None:
        return "a method tell; pass the object that has it"
    if name == "put" and owner is not None:
        return f"a method put; pass to_queue(queue), {_FROM}"
    return None


def _of_class(given: type) -> str:
    name = given.__name__
    if hasattr(given, "on_receive") and hasattr(given, "start"):
        return f"the class {name}; pass an actor of it: {name}.start()"
    if hasattr(given, "tell"):
        return f"the class {name}; pass an object of it: {name}()"
    if _is_handler(given):
        return f"the class {name}; pass to_tk(widget, {name}(...)), or the like, {_FROM}"
    return f"the class {name}; {_ANY}"


def _is_handler(given: Any) -> bool:
    return hasattr(given, "on_text") and hasattr(given, "handle")


def _of_actor(given: Any) -> str:
    name = type(given).__name__
    if name == "ActorProxy":
        return f"{name}; pass the ref behind it: proxy.actor_ref"
    return f"{name}, an actor itself; pass its ref: self.actor_ref, or what {name}.start() returns"


def _of_queue(given: Any) -> str | None:
    what = type(given).__name__
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(given).__mro__}
    if isinstance(given, type):
        what = f"the class {given.__name__}; pass an object of it: {given.__name__}()"
    elif not callable(getattr(given, "put", None)):
        pass
    elif _is_async(given.put):
        what = f"a queue of asyncio's; {_AIO}"
    elif any(kind.startswith("multiprocessing.") for kind in kinds):
        # It would pickle in a thread of its own; what fails there is printed, and lost.
        what = f"{what} of multiprocessing, but messages name their chat, and cannot be pickled; {_PICK}"
    elif "queue.PriorityQueue" in kinds:
        what = f"{what}, but messages have no order to sort them by; use queue.Queue()"
    elif not callable(getattr(given, "put_nowait", None)):
        what = f"{what}, which has no put_nowait; pass to_function(queue.put), {_FROM}"
    else:
        return None
    return what


def _of_function(given: Any) -> str | None:
    what = type(given).__name__
    if not isinstance(given, type) and callable(getattr(given, "tell", None)):
        return f"{what}, which is a subscriber already; pass it as it is"
    if not callable(given):
        return no_subscriber(given) if callable(getattr(given, "put", None)) else what
    made = only_made_by(given)
    if made == A_GENERATOR:
        return f"{made}; begin a generator of it with next(generator), and pass to_function(generator.send), {_FROM}"
    return made and f"{made}; {_AIO}"


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
