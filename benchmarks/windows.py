"""How long a window is not repainted while an answer flows into a text widget of it, beside a call for each event.

With the real toolkits, as far as they are installed: PySide6 without a screen, and Tk on an Xvfb.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import math
import os
import shutil
import subprocess
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from _measure import Verdict, Worker, table, title
from _pipelines import ASK, our_client
from _server import let_go, running_server

from anthropix_actors import ChatEvent
from anthropix_actors.subscribers import to_qt, to_tk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONGEST, _USUAL = 0.1, 0.05
_TICK_MS = 16
_LIMIT = 40


class _Figures(NamedTuple):
    seconds: float
    longest: float  # seconds without a repaint
    usual: float  # of 99 in 100 such times
    cpu: float  # seconds of this process


def run(*, quick: bool) -> list[Verdict]:
    seconds = 2 if quick else 10
    title("windows: the longest time without a repaint, while text flows into a widget")
    rows, verdicts = [], []
    work = {f"5,000 events/s for {seconds} s": f"swift-{seconds}", "12,000 deltas at once": "packed-12000"}
    with _display():
        for (what, scenario), (name, make) in itertools.product(work.items(), _toolkits().items()):
            with running_server() as server, Worker(make, f"{server}/{scenario}") as worker:
                let_go(server)
                try:
                    worker(_LIMIT)
                    result = worker(_LIMIT)
                except (TimeoutError, EOFError) as exc:  # the process hangs, or has ended
                    rows.append([f"{name}: {what}", type(exc).__name__, "", "", ""])
                    continue
            longest, usual = f"{result.longest * 1000:.0f}", f"{result.usual * 1000:.0f}"
            share = f"{result.cpu / result.seconds:.0%}"
            rows.append([f"{name}: {what}", longest, usual, f"{result.seconds:.2f}", share])
            if name.startswith("to_"):
                met = result.longest <= _LONGEST and result.usual <= _USUAL
                verdicts.append(Verdict(f"{name}: {what}", "100 ms, p99 50 ms", f"{longest} ms, p99 {usual} ms", met))
    table(["", "longest ms", "p99 ms", "seconds", "CPU"], rows)
    return verdicts


@contextlib.contextmanager
def _display() -> Iterator[None]:
    """Run an Xvfb, if there is one and no display."""
    if shutil.which("Xvfb") is None or "DISPLAY" in os.environ:
        yield
        return
    command = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-noreset", "-screen", "0", "800x600x24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        os.environ["DISPLAY"] = f":{server.stdout.readline().strip()}"
        yield
        del os.environ["DISPLAY"]
        server.terminate()


def _toolkits() -> dict[str, Callable[[str], Callable[[], _Figures]]]:
    found: dict[str, Callable[[str], Callable[[], _Figures]]] = {}
    if importlib.util.find_spec("PySide6") is not None:
        found |= {"to_qt": _to_qt, "Qt, a signal per event": _signal_per_event}
    if importlib.util.find_spec("_tkinter") is not None and "DISPLAY" in os.environ:
        found |= {"to_tk": _to_tk, "Tk, an event per event": _event_per_event}
    return found


class _Repaints:
    """When the window was repainted, from the first text to the end."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._cpu = time.process_time()

    def note(self) -> None:
        self.times.append(time.monotonic())

    def figures(self) -> _Figures:
        self.note()
        gaps = sorted(later - earlier for earlier, later in itertools.pairwise(self.times))
        usual = gaps[min(len(gaps) - 1, math.ceil(len(gaps) * 0.99))]
        return _Figures(self.times[-1] - self.times[0], gaps[-1], usual, time.process_time() - self._cpu)


def _text_of(message: Any) -> str:
    match message:
        case ChatEvent(data={"delta": {"type": "text_delta", "text": text}}):
            return str(text).replace("9 ", "9\n")  # lines, as an answer has them: a widget is slow with one for all
    return ""


class _Qt:
    """A window with a `QPlainTextEdit`, which asks to be repainted all the time."""

    def __init__(self) -> None:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        core, widgets = import_module("PySide6.QtCore"), import_module("PySide6.QtWidgets")
        self.app = widgets.QApplication([])
        self.repaints = _Repaints()
        self.edit = widgets.QPlainTextEdit()
        self.edit.resize(600, 400)
        window = self

        class Painted(core.QObject):  # type: ignore[name-defined,misc]
            def eventFilter(self, _: Any, event: Any) -> bool:  # noqa: N802 - Qt's name
                if event.type() == core.QEvent.Type.Paint:
                    window.repaints.note()
                return False

        self._filter = Painted(self.edit)
        self.edit.viewport().installEventFilter(self._filter)
        self._timer = core.QTimer(self.edit)
        self._timer.timeout.connect(self.edit.viewport().update)

    def show(self, message: Any) -> None:
        if text := _text_of(message):
            self.edit.insertPlainText(text)
        elif not isinstance(message, ChatEvent):
            self.over = True
            self.app.quit()

    def measured(self, url: str, subscriber: Any) -> _Figures:
        self.over = False
        self.edit.clear()
        self.edit.show()  # what quit the last loop closed it
        self.repaints = _Repaints()
        self._timer.start(_TICK_MS)
        with our_client(url) as client:
            client.chat(**ASK, stream=subscriber)
            while not self.over:  # what quit one loop may end the next one
                self.app.exec()
        self._timer.stop()
        return self.repaints.figures()


def _to_qt(url: str) -> Callable[[], _Figures]:
    window = _Qt()
    return lambda: window.measured(url, to_qt(window.edit, window.show))


def _signal_per_event(url: str) -> Callable[[], _Figures]:
    window, core = _Qt(), import_module("PySide6.QtCore")

    class Told(core.QObject):  # type: ignore[name-defined,misc]
        told = core.Signal(object)

        def tell(self, message: Any) -> None:
            self.told.emit(message)

    subscriber = Told()
    subscriber.told.connect(window.show, core.Qt.ConnectionType.QueuedConnection)
    return lambda: window.measured(url, subscriber)


class _Tk:
    """A window with a `Text`."""

    def __init__(self) -> None:
        self.root = import_module("tkinter").Tk()
        self.text = import_module("tkinter").Text(self.root)
        self.text.pack()
        self.root.update()
        self.repaints = _Repaints()

    def show(self, message: Any) -> None:
        if text := _text_of(message):
            self.text.insert("end", text)
            self.text.see("end")
        elif not isinstance(message, ChatEvent):
            self.root.quit()

    def tick(self) -> None:
        """Note when it is idle: then Tk repaints."""
        self.root.after_idle(self.repaints.note)
        self.ticking = self.root.after(_TICK_MS, self.tick)

    def measured(self, url: str, subscriber: Any) -> _Figures:
        self.text.delete("1.0", "end")
        self.repaints = _Repaints()
        self.tick()
        with our_client(url) as client:
            client.chat(**ASK, stream=subscriber)
            self.root.mainloop()
        self.root.after_cancel(self.ticking)
        return self.repaints.figures()


def _to_tk(url: str) -> Callable[[], _Figures]:
    window = _Tk()
    return lambda: window.measured(url, to_tk(window.root, window.show))


def _event_per_event(url: str) -> Callable[[], _Figures]:
    window = _Tk()

    class Told:
        def __init__(self) -> None:
            self.messages: list[Any] = []
            window.root.bind("<<Told>>", lambda _: window.show(self.messages.pop(0)))

        def tell(self, message: Any) -> None:
            self.messages.append(message)
            window.root.event_generate("<<Told>>", when="tail")

    subscriber = Told()
    return lambda: window.measured(url, subscriber)
