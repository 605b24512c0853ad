"""A subscriber for wxPython."""

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


def to_wx(window: Any, handler: Handler, **options: Unpack[GuiOptions]) -> GuiSubscriber:
    """Have wxPython call a handler with what a chat tells, in its own thread.

    Call it in that thread, once there is a `wx.App`; then the chat may be started in any. When the window is destroyed,
    the chat is cancelled, or goes on, as `on_close` says. What the handler raises goes to `sys.excepthook`.

    Args:
        window: A window or another widget: the handler is called until it is destroyed.
        handler: A function that takes one message, or an object of a subclass of `Handlers`.
        options: `interval`, `on_error`, `on_close`; see `GuiOptions`.

    Raises:
        ParameterError: one of the parameters has a wrong value, the window is destroyed, or this is not wxPython's
            thread.

    Example:
        >>> client.chat(model="claude-sonnet-5", messages=hello, stream=to_wx(frame, show))  # doctest: +SKIP
    """
    require(window, "Bind", "window", "a window of wxPython")
    with late_import():
        wx = import_module("wx")
    if not wx.IsMainThread():
        raise ParameterError([Problem("window", "expected a window of this thread: call to_wx in wxPython's")])
    if not window:
        raise ParameterError([Problem("window", "expected a window that exists, got one that is destroyed")])
    subscriber = GuiSubscriber(_WxLoop(wx), handler, **options)
    close_with(window, subscriber, partial(_on_destroyed, wx, window))
    return subscriber


def _on_destroyed(wx: Any, window: Any, call: Callable[[], object]) -> None:
    ident = window.GetId()

    def destroyed(event: Any) -> None:
        event.Skip()
        # It also hears of its children's ends; and what ends is another object by now, with the same id.
        if event.GetEventObject().GetId() == ident:
            call()

    window.Bind(wx.EVT_WINDOW_DESTROY, destroyed)


class _WxLoop(GuiLoop):
    def __init__(self, wx: Any) -> None:
        super().__init__()
        self._wx = wx

    def call_soon(self, function: Callable[[], object], /) -> object:
        return self._wx.CallAfter(function)

    def call_later(self, seconds: float, function: Callable[[], object], /) -> object:
        # A timer comes before all redrawing, so several busy windows would keep wxPython from it; a call of CallAfter
        # comes after.
        return self._wx.CallLater(max(1, round(seconds * 1000)), self._wx.CallAfter, function)  # it refuses 0


publish("anthropix_actors.subscribers", (to_wx,))
