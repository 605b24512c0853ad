"""The real toolkits, each behind the same face; as a program, `python toolkits.py Tk` plays all scenarios with one.

Only what the library itself needs is imported: the Python of the system, which has GTK and wxPython, runs this too.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import traceback
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anthropix_actors.subscribers import to_gtk, to_loop, to_qt, to_textual, to_tk, to_wx

import scenarios
from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.subscribers import GuiSubscriber

    from scenarios import Scenario, Until

TICK_MS = 2


class Toolkit:
    """A toolkit with one window at a time. `errors` is what it has shown."""

    module = ""
    needs_display = True
    ends_with_an_error = False
    has_signals = False
    has_one_thread = True
    most_between_draws = 12
    """How many messages of 10 ms six subscribers handle before the window is drawn, at most."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        sys.excepthook = self.show

    def show(self, _: object, error: BaseException, __: object) -> None:
        self.errors.append(error)

    def open(self) -> None:
        """Make a window."""
        raise NotImplementedError

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        raise NotImplementedError

    def maker(self) -> Callable[[], object] | None:
        """Return what makes a subscriber for this window, destroyed or not; None if nobody can tell which it is."""
        return None

    def destroy(self) -> None:
        """Destroy the window."""
        raise NotImplementedError

    def on_drawn(self, function: Callable[[], object]) -> bool:  # noqa: ARG002
        """Have a function called when the window is drawn, as often as possible; return whether there is a window."""
        return False

    def run(self, is_over: Callable[[], bool]) -> None:
        """Run the toolkit's loop until something is the case."""
        raise NotImplementedError

    def play(self, scenario: Scenario) -> None:
        """Play a scenario in the toolkit's thread; while it waits, the loop runs."""
        self.errors.clear()
        self.open()
        for wanted in scenario(self):
            self.run(partial(over_or_late, wanted, time.monotonic() + DEADLINE))
            assert wanted.is_over(), f"what {scenario.__name__} waits for did not happen"
        self.destroy()


def over_or_late(wanted: Until, deadline: float) -> bool:
    return wanted.is_over() or time.monotonic() > deadline


class Tk(Toolkit):
    module = "tkinter"
    most_between_draws = 2

    def __init__(self) -> None:
        super().__init__()
        self.tk: Any = import_module("tkinter")
        self.root = self.tk.Tk()
        self.root.report_callback_exception = self.show

    def open(self) -> None:
        self.window = self.tk.Toplevel(self.root)
        self.child = self.tk.Frame(self.window)

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        return to_tk(self.window, handler, **options)

    def maker(self) -> Callable[[], object]:
        return partial(to_tk, self.window, print)

    def destroy(self) -> None:
        self.window.destroy()

    def on_drawn(self, function: Callable[[], object]) -> bool:
        def tick() -> None:
            if self.window.winfo_exists():
                self.window.after_idle(function)  # when it draws
                self.root.after(TICK_MS, tick)

        tick()
        return True

    def run(self, is_over: Callable[[], bool]) -> None:
        def look() -> None:
            if is_over():
                self.root.quit()
            else:
                self.root.after(TICK_MS, look)

        self.root.after(0, look)
        self.root.mainloop()


class PySide6(Toolkit):
    module = "PySide6.QtWidgets"
    has_signals = True
    needs_display = False

    def __init__(self) -> None:
        super().__init__()
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        self.core: Any = import_module(self.module.replace("Widgets", "Core"))
        self.widgets: Any = import_module(self.module)
        self.app = self.widgets.QApplication([])

    def open(self) -> None:
        self.window = self.widgets.QWidget()
        self.window.setAttribute(self.core.Qt.WidgetAttribute.WA_DeleteOnClose)

    def subscriber(self, handler: Callable[[Any], object] | None, **options: Any) -> GuiSubscriber:
        return to_qt(self.window, handler, **options)

    def maker(self) -> Callable[[], object]:
        return partial(to_qt, self.window, print)

    def destroy(self) -> None:
        if self.window is not None:
            self.window.deleteLater()
            self.window = None

    def on_drawn(self, function: Callable[[], object]) -> bool:
        parent: Any = self.window
        paint, window = self.core.QEvent.Type.Paint, self.widgets.QWidget(parent)

        class Painted(self.core.QObject):  # type: ignore[name-defined,misc]
            def eventFilter(self, _: Any, event: Any) -> bool:  # noqa: N802 - Qt's name
                if event.type() == paint:
                    function()
                return False

        self._painted = Painted(window)
        window.installEventFilter(self._painted)
        timer = self.core.QTimer(window)
        timer.timeout.connect(window.update)
        timer.start(TICK_MS)
        parent.show()
        return True

    def run(self, is_over: Callable[[], bool]) -> None:
        timer = self.core.QTimer()
        timer.timeout.connect(lambda: self.app.exit() if is_over() else None)  # quit() would close the windows
        timer.start(TICK_MS)
        while not is_over():  # what quit one loop may end the next one
            self.app.exec()
        timer.stop()


class PyQt6(PySide6):
    module = "PyQt6.QtWidgets"


class Gtk(Toolkit):
    module = "gi.repository.Gtk"

    def open(self) -> None:
        import_module("gi").require_version("Gtk", "3.0")
        self.glib, self.gtk = import_module("gi.repository.GLib"), import_module("gi.repository.Gtk")
        self.window = self.gtk.Window()

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        return to_gtk(self.window, handler, **options)

    def destroy(self) -> None:
        self.window.destroy()

    def on_drawn(self, function: Callable[[], object]) -> bool:
        def drawn(*_: object) -> bool:
            function()
            return True

        self.window.add_tick_callback(drawn)  # with each frame
        self.window.show_all()
        return True

    def run(self, is_over: Callable[[], bool]) -> None:
        def look() -> bool:
            if is_over():
                self.gtk.main_quit()
                return False
            return True

        self.glib.timeout_add(TICK_MS, look)
        self.gtk.main()


class Wx(Toolkit):
    module = "wx"

    def __init__(self) -> None:
        super().__init__()
        self.wx = wx = import_module("wx")
        self.app = wx.App()
        self.app.SetExitOnFrameDelete(flag=False)
        self.keeper = wx.Frame(None)  # a loop without any window does not run

    def open(self) -> None:
        self.window = self.wx.Frame(None)
        self.child = self.wx.Panel(self.window)

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        return to_wx(self.window, handler, **options)

    def maker(self) -> Callable[[], object]:
        return partial(to_wx, self.window, print)

    def destroy(self) -> None:
        if self.window:
            self.window.Destroy()

    def on_drawn(self, function: Callable[[], object]) -> bool:
        panel = self.child

        def draw_again() -> None:
            if panel:
                panel.Refresh()
                self.wx.CallLater(TICK_MS, draw_again)

        def painted(event: Any) -> None:
            function()
            event.Skip()

        panel.Bind(self.wx.EVT_PAINT, painted)
        self.window.Show()
        draw_again()
        return True

    def run(self, is_over: Callable[[], bool]) -> None:
        def look() -> None:
            if is_over():
                self.app.ExitMainLoop()
            else:
                self.wx.CallLater(TICK_MS, look)

        self.wx.CallAfter(look)
        self.app.MainLoop()


class Asyncio(Toolkit):
    """The loop of asyncio, as one of those that have no function of their own."""

    module = "asyncio"
    needs_display = False
    has_one_thread = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context["exception"]))

    def open(self) -> None:
        self.subscribers: list[GuiSubscriber] = []

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        made = to_loop(self.loop.call_soon_threadsafe, self.loop.call_later, handler, **options)
        self.subscribers.append(made)
        return made

    def destroy(self) -> None:
        for subscriber in self.subscribers:
            subscriber.close()

    def run(self, is_over: Callable[[], bool]) -> None:
        async def look() -> None:
            while not is_over():  # noqa: ASYNC110 - it may be of any thread
                await asyncio.sleep(TICK_MS / 1000)

        self.loop.run_until_complete(look())


class Textual(Toolkit):
    """Textual's own test driver: an app without a terminal, for each scenario."""

    module = "textual"
    needs_display = False
    ends_with_an_error = True

    def subscriber(self, handler: Callable[[Any], object], **options: Any) -> GuiSubscriber:
        return to_textual(self.app, handler, **options)

    def maker(self) -> Callable[[], object]:
        return partial(to_textual, self.app, print)

    def destroy(self) -> None:
        self.app.exit()

    def play(self, scenario: Scenario) -> None:
        self.errors.clear()
        asyncio.run(self._play(scenario))

    async def _play(self, scenario: Scenario) -> None:
        self.app: Any = import_module("textual.app").App()
        try:
            async with self.app.run_test():
                for wanted in scenario(self):
                    deadline = time.monotonic() + DEADLINE
                    while not wanted.is_over():
                        assert time.monotonic() < deadline, f"what {scenario.__name__} waits for did not happen"
                        await asyncio.sleep(TICK_MS / 1000)
        except scenarios.OopsError:  # an app ends with what a handler raises
            if not self.errors:
                raise


TOOLKITS: dict[str, type[Toolkit]] = {kind.__name__: kind for kind in (Tk, PySide6, PyQt6, Gtk, Wx, Asyncio, Textual)}


def main(name: str, *only: str) -> None:
    """Play all scenarios with a toolkit; print a line of JSON with the name and the traceback, if any, of each."""
    toolkit = TOOLKITS[name]()
    for scenario in scenarios.SCENARIOS:
        if not only or scenario.__name__ in only:
            error = ""
            try:
                toolkit.play(scenario)
            except Exception:  # noqa: BLE001 - the test shows it
                error = traceback.format_exc()
            print(json.dumps([scenario.__name__, error]), flush=True)  # noqa: T201


if __name__ == "__main__":
    if "COVERAGE_PROCESS_CONFIG" in os.environ or "COVERAGE_PROCESS_START" in os.environ:
        import coverage

        coverage.process_startup()
    main(*sys.argv[1:])
