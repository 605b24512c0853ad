"""A subscriber for Textual's apps in a terminal."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.subscribers.gui import GuiSubscriber
from anthropix_actors.subscribers.toolkit import GuiLoop, raise_again, require

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from anthropix_actors.subscribers.gui import GuiOptions, Handler


def to_textual(app: Any, handler: Handler, **options: Unpack[GuiOptions]) -> GuiSubscriber:
    """Have a Textual app call a handler with what a chat tells, in the app's own thread.

    Call it in that thread while the app runs: in `on_mount` or later; then the chat may be started in any. When the app
    ends, or the widget is removed, the chat is cancelled, or goes on, as `on_close` says. What the handler raises ends
    the app with a traceback, as in any handler of Textual.

    Args:
        app: The app; or a screen or widget: the handler is called until it is removed.
        handler: A function that takes one message, or an object of a subclass of `Handlers`. Not a coroutine function.
        options: `interval`, `on_error`, `on_close`; see `GuiOptions`.

    Raises:
        ParameterError: one of the parameters has a wrong value, the app is not running yet, or no longer, the widget is
            removed, or this is not the app's thread.

    Example:
        >>> class Chat(App):  # doctest: +SKIP
        ...     def on_mount(self):
        ...         client.chat(model="claude-sonnet-5", messages=hello, stream=to_textual(self, self.show))
    """
    require(app, "call_later", "app", "an app or a widget of Textual")
    if not app.is_running:
        what = "expected an app or a widget that is running: call to_textual in on_mount or later, before it ends"
        raise ParameterError([Problem("app", what)])
    try:
        asyncio.get_running_loop()
    except RuntimeError as exc:
        raise ParameterError([Problem("app", "expected an app of this thread: call to_textual in the app's")]) from exc
    return GuiSubscriber(_TextualLoop(app), handler, **options)


class _TextualLoop(GuiLoop):
    def __init__(self, app: Any) -> None:
        super().__init__()
        self._app = app

    def call_soon(self, function: Callable[[], object], /) -> object:
        # False if it is closing: then the sweeper finds out.
        return self._app.call_later(function)

    def call_later(self, seconds: float, function: Callable[[], object], /) -> object:
        return self._app.set_timer(max(seconds, 0.001), function)  # it refuses 0

    def show(self, error: Exception, /) -> object:
        return self._app.call_later(partial(raise_again, error))

    def is_open(self) -> bool:
        is_running: bool = self._app.is_running
        return is_running


publish("anthropix_actors.subscribers", (to_textual,))
