"""A subscriber for Tk, which has no call that is safe in every thread: a pipe wakes it."""

from __future__ import annotations

import collections
import os
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.subscribers.gui import GuiSubscriber
from anthropix_actors.subscribers.toolkit import GuiLoop, close_with, require

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from anthropix_actors.subscribers.gui import GuiOptions, Handler

_READABLE = 2  # tkinter.READABLE: a number of Tcl's

_WORK = 0.01
"""Seconds of work for all windows of a root, after which Tk gets to redraw."""


def to_tk(widget: Any, handler: Handler, **options: Unpack[GuiOptions]) -> GuiSubscriber:
    """Have Tk call a handler with what a chat tells, in Tk's own thread.

    Call it in that thread; then the chat may be started in any. Nothing is polled: an idle window has no timer. When
    the widget is destroyed, the chat is cancelled, or goes on, as `on_close` says. What the handler raises goes to
    `report_callback_exception`.

    Args:
        widget: A widget, such as the window: the handler is called until it is destroyed.
        handler: A function that takes one message, or an object of a subclass of `Handlers`.
        options: `interval`, `on_error`, `on_close`; see `GuiOptions`.

    Raises:
        ParameterError: one of the parameters has a wrong value, the widget is destroyed, or this is not Tk's thread.

    Example:
        >>> root = tkinter.Tk()  # doctest: +SKIP
        >>> client.chat(model="claude-sonnet-5", messages=hello, stream=to_tk(root, show))  # doctest: +SKIP
    """
    require(widget, "nametowidget", "widget", "a widget of Tk, such as the window")
    _check(widget)
    subscriber = GuiSubscriber(_TkLoop(widget), handler, **options)
    close_with(widget, subscriber, partial(_on_destroyed, widget))
    return subscriber


def _check(widget: Any) -> None:
    """Refuse a widget of another thread, or that is destroyed."""
    try:
        exists = widget.tk.exprboolean(f"[winfo exists {{{widget}}}]")  # most calls would wait for the other thread
    except RuntimeError as exc:
        raise ParameterError([Problem("widget", "expected a widget of this thread: call to_tk in Tk's")]) from exc
    except Exception:  # noqa: BLE001 - a TclError: the root is destroyed
        exists = False
    if not exists:
        raise ParameterError([Problem("widget", "expected a widget that exists, got one that is destroyed")])


def _on_destroyed(widget: Any, call: Callable[[], object]) -> None:
    def destroyed(event: Any) -> None:
        if event.widget is widget:  # a window also hears of its children's ends
            call()

    widget.bind("<Destroy>", destroyed, add="+")


class _TkLoop(GuiLoop):
    def __init__(self, widget: Any) -> None:
        super().__init__()
        self._pipe = _Pipe.of(widget.nametowidget("."))

    def call_soon(self, function: Callable[[], object], /) -> None:
        self._pipe.call(function)

    def call_later(self, seconds: float, function: Callable[[], object], /) -> None:
        self._pipe.call_later(seconds, function)

    def show(self, error: Exception, /) -> None:
        self._pipe.show(error)


class _Pipe:
    """Wakes one interpreter of Tcl: what is written in any thread is an event for it. There is one for each root.

    The documented `event_generate` makes its caller wait for Tk's thread, for ever if that waits for the caller; and a
    queue that `after` polls keeps an idle window busy.

    Tk redraws only when it is idle: when there is no event and no timer is due. So whatever the number of subscribers,
    after some work nothing is called before Tk has been idle; then the others get their turn, in order.
    """

    _all: ClassVar[weakref.WeakKeyDictionary[Any, _Pipe]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, root: Any) -> _Pipe:
        """Return the pipe of a root. In Tk's thread."""
        pipe = cls._all.get(root)
        if pipe is None:
            pipe = cls._all[root] = cls(root)
            _on_destroyed(root, partial(pipe.close, root))
        return pipe

    def __init__(self, root: Any) -> None:
        self._root = weakref.ref(root)  # an interpreter of Tcl that ends in another thread ends the process
        self._due: collections.deque[Callable[[], object]] = collections.deque()
        self._timers: dict[object, str] = {}
        self._lock = threading.RLock()  # else a byte could be written to a file that was opened after this was closed
        self._open = True
        self._listens, self._worked = False, 0.0  # seconds since Tk was idle
        self._ours, self._theirs = os.pipe()
        os.set_blocking(self._theirs, False)
        self._listen(root)

    def call(self, function: Callable[[], object]) -> None:
        """Have Tk call a function. Any thread; never waits."""
        with self._lock:
            if self._open:
                self._due.append(function)
                os.write(self._theirs, b"\0")

    def _run(self, *_: object) -> None:
        """Call one function for each byte: what it raises keeps no other from being called."""
        os.read(self._ours, 1)
        began = time.monotonic()
        try:
            self._due.popleft()()
        finally:
            self._worked += time.monotonic() - began
            if self._listens and self._worked >= _WORK:
                self._rest()

    def _listen(self, root: Any) -> None:
        """Call what is due, and what will be."""
        root.tk.createfilehandler(self._ours, _READABLE, self._run)
        self._listens, self._worked = True, 0.0

    def _rest(self) -> None:
        """Call nothing more before Tk has been idle."""
        root: Any = self._root()  # it is there: it runs this
        root.tk.deletefilehandler(self._ours)
        self._listens = False
        self._after("idle", partial(self._listen, root))

    def call_later(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function some seconds after Tk has been idle, in its turn. In Tk's thread."""
        self._after("idle", partial(self._after, round(seconds * 1000), partial(self.call, function)))

    def _after(self, ms: int | str, function: Callable[[], object]) -> None:
        """Call a function after some milliseconds, or when Tk is "idle", unless the root is destroyed before."""
        mine = object()

        def due() -> None:
            del self._timers[mine]
            function()

        if (root := self._root()) is not None:
            self._timers[mine] = root.after(ms, due)

    def show(self, error: Exception) -> None:
        """Show an error as Tk does. In Tk's thread."""
        if (root := self._root()) is not None:
            root.report_callback_exception(type(error), error, error.__traceback__)

    def close(self, root: Any) -> None:
        """Close it when the root is destroyed. In Tk's thread."""
        root.tk.deletefilehandler(self._ours)
        self._listens = False
        for timer in self._timers.values():  # else Tcl would look for functions that are gone
            root.after_cancel(timer)
        with self._lock:
            self._open = False
            os.close(self._ours)
            os.close(self._theirs)
        self._due.clear()  # nothing calls them any more, and they may keep the window alive


publish("anthropix_actors.subscribers", (to_tk,))
