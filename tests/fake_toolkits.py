"""Modules of the shape of the toolkits, on one plain loop: so their subscribers are tested where they are missing, too.

`tests/subscribers/test_windows.py` plays the same scenarios with the real ones.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import queue
import select
import threading
import time
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from anthropix_actors.subscribers import to_gtk, to_loop, to_qt, to_textual, to_tk, to_wx

from toolkits import Toolkit

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.subscribers import GuiSubscriber

TICK = 0.001


class Loop:
    """A loop that calls functions: soon, later, and when a file can be read."""

    def __init__(self, errors: list[BaseException]) -> None:
        self.errors = errors
        self.soon: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.timers: list[tuple[float, int, Callable[[], object]]] = []
        self.idle: dict[int, Callable[[], object]] = {}
        self.files: dict[int, Callable[..., object]] = {}
        self.calls = 0
        self._numbers = itertools.count()

    def call_soon(self, function: Callable[[], object], /) -> bool:
        self.soon.put(function)
        return True

    def call_later(self, seconds: float, function: Callable[[], object], /) -> int:
        number = next(self._numbers)
        heapq.heappush(self.timers, (time.monotonic() + seconds, number, function))
        return number

    def when_idle(self, function: Callable[[], object], /) -> int:
        number = next(self._numbers)
        self.idle[number] = function
        return number

    def cancel(self, number: int) -> None:
        self.idle.pop(number, None)
        self.timers = [timer for timer in self.timers if timer[1] != number]

    def run(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            before = self.calls
            for file in select.select([*self.files], [], [], TICK)[0]:
                self.call(self.files[file], file, 2)
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                self.call(heapq.heappop(self.timers)[2])
            while not self.soon.empty():
                self.call(self.soon.get())
            if self.calls == before:
                idle, self.idle = self.idle, {}
                for function in idle.values():
                    self.call(function)

    def call(self, function: Callable[..., object], *given: object) -> None:
        self.calls += 1
        try:
            function(*given)
        except Exception as exc:  # noqa: BLE001 - as any loop does
            self.errors.append(exc)


class Fake(Toolkit):
    """The plain loop itself: one that has no function of its own."""

    has_one_thread = False

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.loop = Loop(self.errors)

    def open(self) -> None:
        self.made: list[GuiSubscriber] = []

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        self.made.append(to_loop(self.loop.call_soon, self.loop.call_later, handler, **options))
        return self.made[-1]

    def destroy(self) -> None:
        for subscriber in self.made:
            subscriber.close()

    def run(self, is_over: Callable[[], bool]) -> None:
        self.loop.run(is_over)

    def modules(self) -> dict[str, ModuleType]:
        """Return the modules that the toolkit consists of."""
        return {}


class FakeTk(Fake):
    has_one_thread = True
    most_between_draws = 2

    def open(self) -> None:
        self.window = FakeTkWidget(self)

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        return to_tk(self.window, handler, **options)

    def maker(self) -> Callable[[], object]:
        return partial(to_tk, self.window, print)

    def destroy(self) -> None:
        self.window.destroy()

    def on_drawn(self, function: Callable[[], object]) -> bool:
        def drawn() -> None:
            function()
            self.loop.call_later(TICK, lambda: self.loop.when_idle(drawn))

        drawn()
        return True


class FakeTkWidget:
    """A widget that is its own root, and its interpreter."""

    def __init__(self, kit: Fake) -> None:
        self.kit, self.tk = kit, self
        self.thread = threading.get_ident()
        self.bound: list[Callable[[Any], object]] = []
        self.destroyed = False

    def nametowidget(self, name: str) -> FakeTkWidget:
        assert name == "."
        return self

    def exprboolean(self, expression: str) -> bool:
        assert expression == f"[winfo exists {{{self}}}]"
        if threading.get_ident() != self.thread:
            raise RuntimeError("Calling Tcl from different apartment")
        if self.destroyed:  # it is the root
            raise ValueError("application has been destroyed")
        return True

    def createfilehandler(self, file: int, mask: int, function: Callable[..., object]) -> None:
        assert mask == 2
        self.kit.loop.files[file] = function

    def deletefilehandler(self, file: int) -> None:
        self.kit.loop.files.pop(file, None)

    def after(self, ms: int | str, function: Callable[[], object]) -> int:
        loop = self.kit.loop
        return loop.when_idle(function) if isinstance(ms, str) else loop.call_later(ms / 1000, function)

    def after_cancel(self, timer: int) -> None:
        self.kit.loop.cancel(timer)

    def bind(self, event: str, function: Callable[[Any], object], add: str) -> None:
        assert (event, add) == ("<Destroy>", "+")
        self.bound.append(function)

    def destroy(self) -> None:
        self.destroyed = True
        bound, self.bound = self.bound, []
        for function in bound:
            function(SimpleNamespace(widget="a child"))
            function(SimpleNamespace(widget=self))

    def report_callback_exception(self, kind: type[BaseException], error: BaseException, _: object) -> None:
        assert kind is type(error)
        self.kit.errors.append(error)


class FakeGtk(Fake):
    has_one_thread = True

    def open(self) -> None:
        self.destroyed: list[Callable[..., object]] = []
        self.window = SimpleWidget(connect=self._connect)

    def _connect(self, signal: str, function: Callable[..., object]) -> None:
        assert signal == "destroy"
        self.destroyed.append(function)

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        return to_gtk(self.window, handler, **options)

    def destroy(self) -> None:
        for function in self.destroyed:
            function(self.window)

    def modules(self) -> dict[str, ModuleType]:
        def again(ms: int, function: Callable[..., bool], *given: object, priority: int = 200) -> None:
            assert priority > 120, "before all redrawing"

            def call() -> None:
                assert function(*given) is False

            self.loop.call_later(ms / 1000, call) if ms else self.loop.call_soon(call)

        made = threading.get_ident()
        context = SimpleNamespace(acquire=lambda: threading.get_ident() == made, release=lambda: None)
        glib = module(
            "gi.repository.GLib",
            idle_add=partial(again, 0),
            timeout_add=again,
            PRIORITY_DEFAULT_IDLE=200,
            MainContext=SimpleNamespace(default=lambda: context),
        )
        return {"gi": module("gi"), "gi.repository": module("gi.repository"), "gi.repository.GLib": glib}


class FakeWx(Fake):
    has_one_thread = True

    def open(self) -> None:
        self.destroyed: list[Callable[..., object]] = []
        self.window = SimpleWidget(GetId=lambda: 7, Bind=self._bind)

    def _bind(self, event: int, function: Callable[..., object]) -> None:
        assert event == 1
        self.destroyed.append(function)

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        return to_wx(self.window, handler, **options)

    def maker(self) -> Callable[[], object]:
        return partial(to_wx, self.window, print)

    def destroy(self) -> None:
        for ident in (8, 7):  # a child, then the window
            event = SimpleNamespace(Skip=list, GetEventObject=lambda ident=ident: SimpleNamespace(GetId=lambda: ident))
            for function in self.destroyed:
                function(event)
        self.window.exists = False

    def modules(self) -> dict[str, ModuleType]:
        soon = self.loop.call_soon

        def later(ms: int, function: Callable[..., object], *given: Callable[[], object]) -> None:
            assert ms > 0
            assert function is soon, "before all redrawing"
            self.loop.call_later(ms / 1000, partial(soon, *given))

        made = threading.get_ident()
        is_main = lambda: threading.get_ident() == made  # noqa: E731
        return {
            "wx": module("wx", CallAfter=soon, CallLater=later, EVT_WINDOW_DESTROY=1, IsMainThread=is_main),
        }


class FakeTextual(Fake):
    has_one_thread = True

    def open(self) -> None:
        self.thread = threading.get_ident()
        self.app: Any = SimpleWidget(call_later=self.loop.call_soon, set_timer=self._set_timer, is_running=True)

    def _set_timer(self, seconds: float, function: Callable[[], object]) -> None:
        assert seconds > 0
        self.loop.call_later(seconds, function)

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        async def make() -> GuiSubscriber:
            return to_textual(self.app, handler, **options)

        has_loop = threading.get_ident() == self.thread
        return asyncio.run(make()) if has_loop else to_textual(self.app, handler, **options)

    def maker(self) -> Callable[[], object]:
        return partial(to_textual, self.app, print)

    def destroy(self) -> None:
        self.app.is_running = False


class FakeQEvent:
    """An event of Qt."""

    Type = SimpleNamespace(User=1000)

    def __init__(self, kind: int) -> None:
        assert kind == 1000


class Bound:
    """A signal of one object of Qt."""

    def __init__(self) -> None:
        self.slots: list[Callable[..., object]] = []

    def connect(self, slot: Callable[..., object]) -> None:
        self.slots.append(slot)

    def emit(self, *given: Any) -> None:
        for slot in self.slots:
            slot(*given)


class Signal:
    """A signal of a class of Qt."""

    def __init__(self, kind: type) -> None:
        assert kind in {str, object}

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        bound: Bound = owner.__dict__.setdefault(f"_{self.name}", Bound())
        return bound


class MetaMethod:
    """What Qt knows of a signal."""

    def __init__(self, name: str) -> None:
        self.of = name

    def name(self) -> SimpleNamespace:
        return SimpleNamespace(data=self.of.encode)


class MetaObject:
    """What Qt knows of a class."""

    def __init__(self, kind: type) -> None:
        self._names = [name for name, found in vars(kind).items() if isinstance(found, Signal)]
        self.methodCount = partial(len, self._names)

    def method(self, number: int) -> MetaMethod:
        return MetaMethod(self._names[number])


class FakePySide6(Fake):
    has_one_thread = True
    binding, signal = "PySide6", "Signal"
    has_signals = True

    def __init__(self) -> None:
        super().__init__()
        made_in = threading.get_ident()
        loop, self.app = self.loop, SimpleNamespace(thread=lambda: made_in)

        def post_event(receiver: Any, event: object) -> None:
            loop.call_soon(partial(receiver.customEvent, event))

        def single_shot(ms: int, function: Callable[[], object]) -> None:
            assert not hasattr(function, "__self__"), "PySide6 keeps no method alive"
            loop.call_later(ms / 1000, function)

        class QObject:
            destroyed = Signal(object)

            def __init__(self, parent: Any = None) -> None:
                self.parent, self.deleted = parent, False

            def thread(self) -> object:
                if self.deleted:
                    raise RuntimeError("Internal C++ object already deleted.")
                return made_in

            def metaObject(self) -> MetaObject:  # noqa: N802 - Qt's name
                return MetaObject(type(self))

            def isSignalConnected(self, method: MetaMethod) -> bool:  # noqa: N802 - Qt's name
                return bool(getattr(self, method.of).slots)

            def deleteLater(self) -> None:  # noqa: N802 - Qt's name
                if self.deleted or getattr(self.parent, "deleted", False):
                    raise RuntimeError("Internal C++ object already deleted.")
                self.deleted = True
                self.destroyed.emit(self)

        QObject.__module__ = f"{self.binding}.QtCore"
        self.core = module(
            QObject.__module__,
            QObject=QObject,
            QTimer=SimpleNamespace(singleShot=single_shot),
            QThread=SimpleNamespace(currentThread=threading.get_ident),
            QCoreApplication=SimpleNamespace(instance=lambda: self.app, postEvent=post_event),
            QEvent=FakeQEvent,
            **{self.signal: Signal},
        )

    def open(self) -> None:
        self.window = self.core.QObject()

    def subscriber(self, handler: Callable[[Any], object] | None, **options: Any) -> GuiSubscriber:
        return to_qt(self.window, handler, **options)

    def maker(self) -> Callable[[], object]:
        return partial(to_qt, self.window, print)

    def destroy(self) -> None:
        if not self.window.deleted:
            self.window.deleteLater()

    def modules(self) -> dict[str, ModuleType]:
        return {self.binding: module(self.binding), self.core.__name__: self.core}


class FakePyQt6(FakePySide6):
    binding, signal = "PyQt6", "pyqtSignal"


class SimpleWidget:
    """A widget that has what it is given."""

    def __init__(self, **names: Any) -> None:
        vars(self).update(names)
        self.exists = True

    def __bool__(self) -> bool:
        return self.exists


def module(name: str, **names: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(names)
    return made


FAKES: list[type[Fake]] = [Fake, FakeTk, FakePySide6, FakePyQt6, FakeGtk, FakeWx, FakeTextual]
