"""Subscribers for windows with the real toolkits, where those are installed.

Each toolkit has a process of its own, which plays all of `scenarios.py`; GTK and wxPython may belong to another Python,
such as the system's. Where a toolkit, its Python or Xvfb is missing, its tests are skipped; with REQUIRE_WINDOWS set,
they fail.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from anthropix_actors.emulator import Pace, Status

from installed import HERE, missing, path_for, python_with
from scenarios import SCENARIOS
from toolkits import TOOLKITS

if TYPE_CHECKING:
    from anthropix_actors.emulator import Emulator

    from toolkits import Toolkit

pytestmark = pytest.mark.untraced

LIMIT = 120
"""Seconds that all scenarios may take with one toolkit."""


@functools.cache
def played(name: str, python: str, display: str | None) -> dict[str, str]:
    """Play all scenarios with a toolkit; return the traceback, if any, of each."""
    environment = {**os.environ, "PYTHONPATH": path_for(python), "QT_QPA_PLATFORM": "offscreen"}
    if display is not None:
        environment["DISPLAY"] = display
    command = [python, "-X", "faulthandler", str(HERE / "toolkits.py"), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    errors = dict(map(json.loads, done.stdout.splitlines()))
    return {**{scenario.__name__: done.stderr for scenario in SCENARIOS}, **errors}


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
@pytest.mark.parametrize("kind", TOOLKITS.values(), ids=TOOLKITS)
def test_with_the_real_toolkit(kind: type[Toolkit], scenario: str, display: str | None) -> None:
    python = python_with(kind.module)
    if python is None:
        missing(kind.module)
    if kind.needs_display and display is None:
        missing("Xvfb")
    error = played(kind.__name__, python, display)[scenario]
    assert not error, error


USE = """
window = Window(Client())
window.question.insert(0, "Hello")
window.ask()

def look():
    shown = window.answer.get("1.0", "end")
    if shown.count("--") == 2:
        print(shown)
        window.destroy()
        return
    if "actors" in shown and shown.count("--") == 1:
        window.button.invoke()
    elif shown.count("--") == 1 and window.button["state"] == "disabled":
        window.ask()
    window.after(5, look)

look()
window.mainloop()
"""
EXAMPLE = (HERE.parent / "examples" / "window.py").read_text().partition("\n\nif __name__")[0]
(ON_THE_PAGE,) = re.findall(
    r"^```python\n(import tkinter as tk\n\n.*?)Window\(Client\(\)\)\.mainloop\(\)\n```",
    (HERE.parent / "docs" / "windows.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


USE_OF_QT = """
window.question.setText("Hello")
window.ask()

def look():
    shown = window.answer.toPlainText()
    if shown.count("--") == 3:
        print(shown)
        window.close()
        return
    if "actors" in shown and shown.count("--") == 1:
        window.answer.moveCursor(QTextCursor.MoveOperation.Start)   # as a click may
        window.button.click()
    elif shown.count("--") in (1, 2) and not window.button.isEnabled():
        window.ask()
    QTimer.singleShot(5, look)

look()
app.exec()
print(window.told)
"""
(QT_ON_THE_PAGE,) = re.findall(
    r"^```python\n(from PySide6.*?)app\.exec\(\)\n```",
    (HERE.parent / "docs" / "windows.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
USE_OF_EARLY = """
window = EarlyWindow()
window.update()
print("drawn", "requests" in sys.modules)
drawn.set()

def look():
    if window.answer.get("1.0", "end").count("--") == 1:
        print(window.answer.get("1.0", "end"))
        window.destroy()
        return
    if window.question["state"] == "normal" and not window.question.get():
        window.question.insert(0, "Hello")
        window.ask()
    window.after(5, look)

def raised(kind, error, trace):
    print(kind.__name__, error)
    window.destroy()

window.report_callback_exception = raised
look()
window.mainloop()
"""
HOLD = """
import sys, threading

class Hold:
    def find_spec(self, name, *_):
        if name.startswith("anthropix_actors"):
            drawn.wait(60)

drawn = threading.Event()
sys.meta_path.insert(0, Hold())
"""
"""Until the window is drawn, what imports the library waits."""
(EARLY_ON_THE_PAGE,) = re.findall(
    r"^```python\n(import tkinter as tk\nfrom concurrent.*?)EarlyWindow\(\)\.mainloop\(\)\n```",
    (HERE.parent / "docs" / "windows.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("key", ["sk-ant-test", ""])
def test_a_window_is_drawn_while_a_thread_imports_the_library(
    key: str, display: str | None, anthropix_emulator: Emulator
) -> None:
    if python_with("tkinter") != sys.executable or display is None:
        missing("tkinter and Xvfb")
    anthropix_emulator.queue("Hello!")
    environment = {
        **os.environ,
        "ANTHROPIC_API_KEY": key,
        "ANTHROPIC_BASE_URL": anthropix_emulator.url,
        "DISPLAY": display,
    }
    command = [sys.executable, "-W", "error", "-c", HOLD + EARLY_ON_THE_PAGE + USE_OF_EARLY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    first, *shown = done.stdout.splitlines()
    assert first == "drawn False"
    assert shown[:2] == ["Hello!", "-- done"] if key else shown[0].startswith("ConfigurationError ")


def test_the_programs_on_the_page_are_short() -> None:
    assert len(EARLY_ON_THE_PAGE.splitlines()) < 50
    assert len(ON_THE_PAGE.splitlines()) < 40
    assert len(QT_ON_THE_PAGE.splitlines()) < 50


@pytest.mark.parametrize("binding", ["PySide6", "PyQt6"])
def test_a_small_window_of_qt_shows_an_answer_stops_one_and_shows_an_error(
    binding: str, anthropix_emulator: Emulator
) -> None:
    if python_with(f"{binding}.QtWidgets") != sys.executable:
        missing(binding)
    anthropix_emulator.queue(
        "Hello!", Pace("On actors: " + "word " * 500, tokens_per_second=20), Status(404, "no model")
    )
    environment = {
        **os.environ,
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "ANTHROPIC_BASE_URL": anthropix_emulator.url,
        "QT_QPA_PLATFORM": "offscreen",
    }
    program = f"from {binding}.QtCore import QTimer\n{QT_ON_THE_PAGE.replace('PySide6', binding)}{USE_OF_QT}"
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    said = {"This plugin does not support propagateSizeHints()"}  # that of the screen that is none
    assert {*done.stderr.splitlines()} <= said
    assert done.stdout.startswith("Hello!\n-- done\n\nOn actors")
    assert "\n-- Stop was pressed\n\n\n-- not_found_error: no model" in done.stdout
    assert "closed, 0 waiting" in done.stdout


@pytest.mark.parametrize("program", [EXAMPLE, ON_THE_PAGE], ids=["the example", "the page"])
def test_a_small_window_shows_an_answer_and_stops_one(
    program: str, display: str | None, anthropix_emulator: Emulator
) -> None:
    if python_with("tkinter") != sys.executable or display is None:
        missing("tkinter and Xvfb")
    anthropix_emulator.queue("Hello!", Pace("On actors: " + "word " * 500, tokens_per_second=20))
    environment = {
        **os.environ,
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "ANTHROPIC_BASE_URL": anthropix_emulator.url,
        "DISPLAY": display,
    }
    command = [sys.executable, "-W", "error", "-c", program + USE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("Hello!\n-- done\n\nOn actors")
    assert done.stdout.strip().endswith("-- Stop was pressed")
