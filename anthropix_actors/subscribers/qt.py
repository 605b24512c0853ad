"""A subscriber for Qt, by PySide6 or PyQt6: whichever the parent is of."""

from __future__ import annotations

import collections
import contextlib
import functools
import weakref
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.log import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.unheard import log_unheard
from anthropix_actors.batches.messages import BatchFailed
from anthropix_actors.chat.growth import TEXT, grown
from anthropix_actors.chat.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed
from anthropix_actors.conversation.messages import (
    ApprovalNeeded,
    ToolDone,
    ToolProgress,
    ToolStarted,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnSuspended,
)
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.sessions.messages import SessionFailed
from anthropix_actors.subscribers.gui import GuiSubscriber
from anthropix_actors.subscribers.told import ref_of
from anthropix_actors.subscribers.toolkit import GuiLoop, close_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from anthropix_actors.subscribers.gui import GuiOptions, Handler

_BINDINGS = ("PySide6", "PyQt6")


class QtSubscriber(GuiSubscriber):
    """A subscriber with signals, for slots in place of a handler. `to_qt(parent)` makes one.

    An exception in a slot is Qt's own matter: `on_error` is for handlers.

    Attributes:
        text: A signal with each piece of the answer's text, a `str`.
        event: A signal with each `ChatEvent`.
        tool: A signal with each `ToolStarted`, `ToolProgress` and `ToolDone` of a turn.
        approval: A signal with each `ApprovalNeeded` of a turn.
        done: A signal with the `ChatDone` or `TurnDone`.
        failed: A signal with the `ChatFailed` or `TurnFailed`. Without a slot, the failure is logged as a WARNING,
            unless a caller waits for the result; so is one of a batch or a session.
        cancelled: A signal with the `ChatCancelled` or `TurnCancelled`.
        suspended: A signal with the `TurnSuspended`.
    """

    def __init__(self, parent: Any, **options: Unpack[GuiOptions]) -> None:
        """Use `to_qt(parent)` to make one."""
        binding = _binding_of(parent)
        loop = _QtLoop(binding, parent)
        signals = _kind(binding, "text", *dict.fromkeys(_SIGNALS.values()))(parent)
        super().__init__(loop, partial(_emit, signals), **options)
        self.text, self.event, self.tool, self.approval = signals.text, signals.event, signals.tool, signals.approval
        self.done, self.failed, self.cancelled = signals.done, signals.failed, signals.cancelled
        self.suspended = signals.suspended
        # Whichever thread drops this, the signals belong to Qt's.
        weakref.finalize(self, _delete, signals).atexit = False


@overload
def to_qt(parent: Any, handler: None = None, **options: Unpack[GuiOptions]) -> QtSubscriber: ...
@overload
def to_qt(parent: Any, handler: Handler, **options: Unpack[GuiOptions]) -> GuiSubscriber: ...
def to_qt(parent: Any, handler: Handler | None = None, **options: Unpack[GuiOptions]) -> GuiSubscriber:
    """Have Qt call a handler, or emit signals, with what a chat tells, in Qt's own thread.

    Call it in that thread, once there is a `QApplication`; then the chat may be started in any. When the parent is
    destroyed, the chat is cancelled, or goes on, as `on_close` says. Qt only hides a window that the user closes,
    unless it has `WA_DeleteOnClose`: else call `close()` of the subscriber in its `closeEvent`. What the handler raises
    goes to `sys.excepthook`.

    Args:
        parent: A `QObject` of PySide6 or PyQt6, such as the window: the handler is called until it is destroyed.
        handler: A function that takes one message, or an object of a subclass of `Handlers`. None
            makes a subscriber with signals.
        options: `interval`, `on_error`, `on_close`; see `GuiOptions`.

    Raises:
        ParameterError: one of the parameters has a wrong value, the parent is deleted, there is no `QApplication`, or
            this is not its thread.

    Example:
        >>> subscriber = to_qt(window)  # doctest: +SKIP
        >>> subscriber.text.connect(window.edit.insertPlainText)  # doctest: +SKIP
        >>> client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)  # doctest: +SKIP
    """
    if handler is None:
        subscriber: GuiSubscriber = QtSubscriber(parent, **options)
    else:
        subscriber = GuiSubscriber(_QtLoop(_binding_of(parent), parent), handler, **options)
    close_with(parent, subscriber, parent.destroyed.connect)
    return subscriber


def _binding_of(parent: object) -> str:
    """Return the package that an object's class comes from: a program may have imported both."""
    packages = [base.__module__.partition(".")[0] for base in type(parent).__mro__]
    for binding in _BINDINGS:
        if binding in packages and hasattr(type(parent), "destroyed"):
            return binding
    what = f"expected a QObject of {' or '.join(_BINDINGS)}, such as the window, got {shown(parent)}"
    raise ParameterError([Problem("parent", what)])


def _thread_of(parent: Any) -> object:
    try:
        return parent.thread()
    except RuntimeError as exc:
        raise ParameterError([Problem("parent", "expected a QObject that exists, got one that is deleted")]) from exc


class _QtLoop(GuiLoop):
    def __init__(self, binding: str, parent: Any) -> None:
        super().__init__()
        core = _core(binding)
        app = core.QCoreApplication.instance()
        if app is None or not _thread_of(parent) == app.thread() == core.QThread.currentThread():
            what = "expected an object of the QApplication's thread: make that first, and call to_qt in its thread"
            raise ParameterError([Problem("parent", what)])
        self._post = _poster(binding)
        self._single_shot = core.QTimer.singleShot

    def call_soon(self, function: Callable[[], object], /) -> None:
        self._post(function)

    def call_later(self, seconds: float, function: Callable[[], object], /) -> object:
        return self._single_shot(round(seconds * 1000), lambda: function())  # noqa: PLW0108 - PySide6 keeps no method alive


@functools.cache
def _poster(binding: str) -> Callable[[Callable[[], object]], None]:
    """Return what has Qt call a function. Its object lives on: other threads may post an event at any time."""
    core = _core(binding)
    due: collections.deque[Callable[[], object]] = collections.deque()

    def custom_event(_: Any, __: Any) -> None:
        with contextlib.suppress(IndexError):  # nothing more is due
            while True:
                due.popleft()()

    caller = type(core.QObject)("Caller", (core.QObject,), {"customEvent": custom_event})()

    def post(function: Callable[[], object]) -> None:
        due.append(function)
        core.QCoreApplication.postEvent(caller, core.QEvent(core.QEvent.Type.User))

    return post


@functools.cache
def _kind(binding: str, *signals: str) -> Any:
    """Return a class of QObjects with these signals."""
    core = _core(binding)
    signal = core.Signal if binding == "PySide6" else core.pyqtSignal
    kinds = {"text": str}
    names = {name: signal(kinds.get(name, object)) for name in signals}
    return type(core.QObject)("Signals", (core.QObject,), names)


def _core(binding: str) -> Any:
    with late_import():
        return import_module(f"{binding}.QtCore")


_SIGNALS: dict[type, str] = {
    ChatEvent: "event",
    **dict.fromkeys((ToolStarted, ToolProgress, ToolDone), "tool"),
    ApprovalNeeded: "approval",
    **dict.fromkeys((ChatDone, TurnDone), "done"),
    **dict.fromkeys((ChatFailed, TurnFailed), "failed"),
    **dict.fromkeys((ChatCancelled, TurnCancelled), "cancelled"),
    TurnSuspended: "suspended",
}
"""Type of a message → its signal."""

_FAILURES = frozenset({ChatFailed, TurnFailed, BatchFailed, SessionFailed})


def _emit(signals: Any, message: Any) -> None:
    name = _SIGNALS.get(type(message))
    if type(message) in _FAILURES and not _is_connected(signals, name):
        why = "nothing is connected to `failed`" if name else "QtSubscriber has no signal for that"
        log_unheard(ref_of(message), message.error, why)
    if name is not None:
        getattr(signals, name).emit(message)
    if name == "event" and (found := grown(message.data)) is not None and found[0] == TEXT:
        signals.text.emit(found[1])


def _is_connected(signals: Any, name: str | None) -> bool:
    """Return whether there is a signal of that name, and a slot for it. As both bindings can say it."""
    kind = signals.metaObject()
    methods = [kind.method(number) for number in range(kind.methodCount())] if name else ()
    return any(method.name().data().decode() == name and signals.isSignalConnected(method) for method in methods)


def _delete(signals: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the parent was destroyed, and these with it
        signals.deleteLater()


publish("anthropix_actors.subscribers", (QtSubscriber, to_qt))
