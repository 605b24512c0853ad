"""A subscriber for GTK, 3 or 4, by PyGObject."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.subscribers.gui import GuiSubscriber
from anthropix_actors.subscribers.toolkit import GuiLoop, close_with, require

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from anthropix_actors.subscribers.gui import GuiOptions, Handler


def to_gtk(widget: Any, handler: Handler, **options: Unpack[GuiOptions]) -> GuiSubscriber:
    """Have GTK call a handler with what a chat tells, in GTK's own thread.

    Call it in that thread; then the chat may be started in any. When the widget is destroyed, the chat is cancelled, or
    goes on, as `on_close` says. What the handler raises goes to `sys.excepthook`.

    Args:
        widget: A widget, such as the window: the handler is called until it is destroyed.
        handler: A function that takes one message, or an object of a subclass of `Handlers`.
        options: `interval`, `on_error`, `on_close`; see `GuiOptions`.

    Raises:
        ParameterError: one of the parameters has a wrong value, or GTK runs in another thread. GTK does not say whether
            a widget is destroyed: one that is never closes the subscriber.

    Example:
        >>> client.chat(model="claude-sonnet-5", messages=hello, stream=to_gtk(window, show))  # doctest: +SKIP
    """
    require(widget, "connect", "widget", "a widget of GTK, such as the window")
    subscriber = GuiSubscriber(_GtkLoop(), handler, **options)
    close_with(widget, subscriber, partial(_on_destroyed, widget))
    return subscriber


def _on_destroyed(widget: Any, call: Callable[..., object]) -> None:
    def destroyed(*_: object) -> None:
        call()

    widget.connect("destroy", destroyed)


class _GtkLoop(GuiLoop):
    def __init__(self) -> None:
        super().__init__()
        with late_import():
            self._glib = import_module("gi.repository.GLib")
        context = self._glib.MainContext.default()
        if not context.acquire():  # the thread has it that runs it
            raise ParameterError([Problem("widget", "expected a widget of this thread: call to_gtk in GTK's")])
        context.release()

    def call_soon(self, function: Callable[[], object], /) -> object:
        return self._glib.idle_add(_once, function)

    def call_later(self, seconds: float, function: Callable[[], object], /) -> object:
        # A timer comes before all redrawing by default, so several busy windows would keep GTK from it.
        priority = self._glib.PRIORITY_DEFAULT_IDLE
        return self._glib.timeout_add(round(seconds * 1000), _once, function, priority=priority)


def _once(function: Callable[[], object]) -> bool:
    """Call a function, and return that it is not to be called again."""
    function()
    return False


publish("anthropix_actors.subscribers", (to_gtk,))
