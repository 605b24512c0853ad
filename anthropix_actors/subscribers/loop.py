"""A subscriber for any loop that can call functions: asyncio's, that of a toolkit without a function here, your own."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import TYPE_CHECKING

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.subscribers.gui import GuiSubscriber
from anthropix_actors.subscribers.toolkit import GuiLoop, raise_again, require

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from anthropix_actors.subscribers.gui import GuiOptions, Handler


def to_loop(
    call_soon: Callable[[Callable[[], object]], object],
    call_later: Callable[[float, Callable[[], object]], object],
    handler: Handler,
    **options: Unpack[GuiOptions],
) -> GuiSubscriber:
    """Have a loop call a handler with what a chat tells, in the loop's own thread. Any thread may call this.

    Nothing tells it when the loop's window is gone: call `close()` then. What the handler raises comes out of a call of
    its own in the loop, so that the loop shows it as it shows others.

    Args:
        call_soon: Has the loop call a function. Any thread calls it, so it must be safe for that. Where it raises, the
            loop is taken to be closed. Called once at once, to learn which thread is the loop's.
        call_later: Has the loop call a function after some seconds. Called in the loop's thread.
        handler: A function that takes one message, or an object of a subclass of `Handlers`.
        options: `interval`, `on_error`, `on_close`; see `GuiOptions`.

    Raises:
        ParameterError: one of the parameters has a wrong value.

    Example:
        >>> import asyncio
        >>> async def ask():
        ...     loop, ended = asyncio.get_running_loop(), asyncio.Event()
        ...     def show(message):
        ...         if isinstance(message, ChatDone):
        ...             print(text_of(message.message))
        ...             ended.set()
        ...     to_asyncio = to_loop(loop.call_soon_threadsafe, loop.call_later, show)
        ...     client.chat(model="claude-sonnet-5", messages=hello, stream=to_asyncio)
        ...     await ended.wait()
        >>> from anthropix_actors import ChatDone, text_of
        >>> asyncio.run(ask())
        Hello!
    """
    require(call_soon, "__call__", "call_soon", "a function that takes a function")
    require(call_later, "__call__", "call_later", "a function that takes seconds and a function")
    return GuiSubscriber(_AnyLoop(call_soon, call_later), handler, **options)


class _AnyLoop(GuiLoop):
    def __init__(self, call_soon: Callable[..., object], call_later: Callable[..., object]) -> None:
        super().__init__()
        if not _is_running_here(call_soon):
            self.thread = None  # it may be started in any
        self._call_soon, self._call_later = call_soon, call_later

    def call_soon(self, function: Callable[[], object], /) -> object:
        return self._call_soon(function)

    def call_later(self, seconds: float, function: Callable[[], object], /) -> object:
        return self._call_later(seconds, function)

    def show(self, error: Exception, /) -> object:
        return self._call_soon(partial(raise_again, error))


def _is_running_here(call_soon: object) -> bool:
    """Return whether a function is a method of the loop of asyncio that runs in this thread."""
    asyncio = sys.modules.get("asyncio")  # who has such a loop has imported it
    running = None
    if asyncio is not None:
        with contextlib.suppress(RuntimeError):  # none runs in this thread
            running = asyncio.get_running_loop()
    return running is not None and getattr(call_soon, "__self__", None) is running


publish("anthropix_actors.subscribers", (to_loop,))
