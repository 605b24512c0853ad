"""The chat windows of the examples, driven; `python driven_chats.py Tk` plays all scenarios with that toolkit."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import tempfile
import threading
import time
import traceback
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from anthropix_actors import Client
from anthropix_actors.emulator import Emulator, Pace, Status

import toolkits
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LONG = Pace("On actors: " + "word " * 500, tokens_per_second=20)

Steps: TypeAlias = "Iterator[Callable[[], object]]"


class Scripted:
    """What a window's model does, where no answer is queued."""

    def script(self, emulator: Emulator) -> None:
        """Tell the emulator; here, it has answers of its own."""


class Windows(Scripted):
    """What runs step by step in a loop that can be entered again."""

    run: Callable[[Callable[[], bool]], None]

    def run_steps(self, steps: Iterator[Callable[[], bool]]) -> None:
        for is_over in steps:
            self.run(is_over)


class TkChat(Windows, toolkits.Tk):
    example = "chat_tk"

    def open_chat(self, claude: Client) -> None:
        self.open()
        self.root.withdraw()
        import_module("tkinter.ttk").Style().theme_use("clam")
        self.chat = import_module(self.example).Chat(self.window, claude)
        self.chat.pack(fill="both", expand=True)

    def ask(self, question: str) -> None:
        self.chat.entry.insert(0, question)
        self.chat.ask()

    def press(self) -> None:
        self.chat.button.invoke()

    def attach(self, path: Path) -> None:
        self.chat.attach(path)

    def close(self) -> None:
        self.window.destroy()

    def page(self) -> str:
        return str(self.chat.page.get("1.0", "end"))

    def status(self) -> str:
        return str(self.chat.status["text"])

    def is_idle(self) -> bool:
        return bool(self.chat.button["text"] == "Ask")

    def picture(self, path: Path) -> None:
        """Keep what is on the screen."""
        self.window.geometry("760x690+0+0")
        self.window.update()
        grab = import_module("PIL.ImageGrab")
        x, y = self.window.winfo_rootx(), self.window.winfo_rooty()
        box = (x, y, x + self.window.winfo_width(), y + self.window.winfo_height())
        grab.grab(box, xdisplay=os.environ["DISPLAY"]).quantize(128).save(path, optimize=True)


class QtChat(Windows, toolkits.PySide6):
    example = "chat_qt"

    def open_chat(self, claude: Client) -> None:
        self.chat = import_module(self.example).Chat(claude)
        self.chat.resize(760, 690)
        self.chat.show()

    def ask(self, question: str) -> None:
        self.chat.entry.setText(question)
        self.chat.ask()

    def press(self) -> None:
        self.chat.button.click()

    def attach(self, path: Path) -> None:
        self.chat.attach(path)

    def close(self) -> None:
        self.chat.close()

    def page(self) -> str:
        labels = [self.shown(label) for label in self.chat.page.findChildren(self.widgets.QLabel)]
        return "\n".join(
            [*labels, *(code.toPlainText() for code in self.chat.page.findChildren(self.widgets.QPlainTextEdit))]
        )

    def shown(self, label: Any) -> str:
        document = import_module("PySide6.QtGui").QTextDocument()
        if label.textFormat() == self.core.Qt.TextFormat.MarkdownText:
            document.setMarkdown(label.text())
        else:
            document.setPlainText(label.text())
        return str(document.toPlainText())

    def status(self) -> str:
        return str(self.chat.status.text())

    def is_idle(self) -> bool:
        return bool(self.chat.button.text() == "Ask")

    def picture(self, path: Path) -> None:
        """Keep what is drawn."""
        self.chat.grab().save(str(path))


class TextualChat(Scripted, toolkits.Textual):
    example = "chat_textual"

    def open_chat(self, claude: Client) -> None:
        self.chat = import_module(self.example).Chat(claude)
        self.calls = 0

    def ask(self, question: str) -> None:
        self.chat.entry.value = question
        self.call(self.chat.ask)

    def call(self, function: Callable[[], Any]) -> None:
        """Have the app call a function after what waits for it; until then it is not idle."""

        async def called() -> None:
            await function()
            self.calls -= 1

        self.calls += 1
        self.chat.call_later(called)

    def press(self) -> None:
        self.chat.button.press()

    def attach(self, path: Path) -> None:
        self.chat.attach(path)

    def close(self) -> None:
        self.chat.exit()

    def page(self) -> str:
        return "\n".join(strip.text for strip in self.chat.screen._compositor.render_strips())

    def status(self) -> str:
        return str(self.chat.status.content)

    def is_idle(self) -> bool:
        return not self.calls and str(self.chat.button.label) == "Ask"

    def picture(self, path: Path) -> None:
        """Keep what is on the screen."""
        picture = re.sub(
            r"@font-face \{.*?\}\n", "", self.chat.export_screenshot(), flags=re.DOTALL
        )  # they are on the web
        path.write_text(picture.replace("Fira Code", "DejaVu Sans Mono"))

    def run_steps(self, steps: Iterator[Callable[[], bool]]) -> None:
        asyncio.run(self._run_steps(steps))

    async def _run_steps(self, steps: Iterator[Callable[[], bool]]) -> None:
        next(steps)  # it is open
        async with self.chat.run_test(size=(92, 42)):
            for is_over in steps:
                while not is_over():  # noqa: ASYNC110 - it may be of any thread
                    await asyncio.sleep(toolkits.TICK_MS / 1000)


def missing(chat: Any, *words: str) -> list[str]:
    """Return which of these words the window does not show."""
    page = chat.page()
    return [word for word in words if word not in page]


def an_answer_is_drawn_and_kept(chat: Any, emulator: Emulator) -> Steps:
    emulator.queue("# Actors\n\nThey **own** their `state`:\n\n```python\nx = 1\n```\n\n- one\n- two\n", "Yes.")
    chat.ask("What are actors?")
    yield chat.is_idle
    yield lambda: not missing(chat, "What are actors?", "Actors", "own their state:", "x = 1", "one", "two")
    assert not any(mark in chat.page() for mark in ("# Actors", "**", "`")), chat.page()
    assert "written" in chat.status()
    chat.ask("Really?")
    yield chat.is_idle
    yield lambda: not missing(chat, "Yes.")
    said = emulator.requests[-1].body["messages"]
    assert [each["role"] for each in said] == ["user", "assistant", "user"]
    assert said[1]["content"][0]["text"].startswith("# Actors")


def what_a_stopped_answer_said_is_kept(chat: Any, emulator: Emulator) -> Steps:
    emulator.queue(LONG, "Yes.")
    chat.ask("Go on?")
    yield lambda: not missing(chat, "On actors: word")
    assert not chat.is_idle()
    chat.press()
    yield chat.is_idle
    yield lambda: not missing(chat, "Stop was pressed")
    emulator.wait_for_hangups(1)
    chat.ask("And?")
    yield chat.is_idle
    said = emulator.requests[-1].body["messages"]
    assert [each["role"] for each in said] == ["user", "assistant", "user"]
    assert said[1]["content"].startswith("On actors: word")


def an_error_is_shown_with_its_request(chat: Any, emulator: Emulator) -> Steps:
    emulator.queue(Status(529), "Yes.")
    chat.ask("Are you there?")
    yield chat.is_idle
    yield lambda: not missing(chat, "overloaded_error", "req_")
    chat.ask("And now?")
    yield chat.is_idle
    assert [each["role"] for each in emulator.requests[-1].body["messages"]] == ["user"]
    yield lambda: not missing(chat, "Yes.")


def a_window_closed_in_mid_answer_ends_the_chat(chat: Any, emulator: Emulator) -> Steps:
    emulator.queue(LONG)
    chat.ask("Go on?")
    yield lambda: not missing(chat, "On actors: word")
    chat.close()
    yield lambda: emulator.hangups


def an_image_goes_with_the_question(chat: Any, emulator: Emulator) -> Steps:
    good, bad = chat.folder / "cat.png", chat.folder / "text.png"
    good.write_bytes(PNG)
    bad.write_text("no image")
    chat.attach(bad)
    chat.ask("What is this?")
    yield chat.is_idle
    yield lambda: not missing(chat, "expected a PNG")
    assert not emulator.requests
    chat.attach(good)
    chat.ask("What is this?")
    yield chat.is_idle
    yield lambda: emulator.requests
    yield chat.is_idle
    (said,) = emulator.requests[-1].body["messages"]
    assert [block["type"] for block in said["content"]] == ["image", "text"]


SCENARIOS = (
    an_answer_is_drawn_and_kept,
    what_a_stopped_answer_said_is_kept,
    an_error_is_shown_with_its_request,
    a_window_closed_in_mid_answer_ends_the_chat,
    an_image_goes_with_the_question,
)

CHATS: dict[str, Any] = {"Tk": TkChat, "PySide6": QtChat, "Textual": TextualChat}


def steps(driver: Any, scenario: Any, folder: Path) -> Iterator[Callable[[], bool]]:
    """Play a scenario with a new window; yield what it waits for, which comes to an end."""
    with (
        Emulator() as emulator,
        Client("any-key", base_url=emulator.url, proxy="", max_retries=0) as claude,
    ):
        driver.folder = folder
        driver.open_chat(claude)
        driver.script(emulator)
        yield lambda: True
        for wanted in scenario(driver, emulator):
            yield partial(is_over, wanted, time.monotonic() + DEADLINE)
            assert wanted(), f"what {scenario} waits for did not happen; the window shows {driver.page()}"
        driver.close()


def is_over(wanted: Callable[[], object], deadline: float) -> bool:
    return bool(wanted()) or time.monotonic() > deadline


def play(driver: Any, scenario: Any, folder: Path) -> None:
    driver.run_steps(steps(driver, scenario, folder))
    assert not driver.errors, driver.errors
    until(lambda: threading.enumerate() == [threading.main_thread()])


def play_all(driver: Any, scenarios: Iterable[Any]) -> None:
    """Play scenarios; print a line of JSON with the name and the traceback, if any, of each."""
    for scenario in scenarios:
        error = ""
        try:
            with tempfile.TemporaryDirectory() as folder:
                play(driver, scenario, Path(folder))
        except Exception:  # noqa: BLE001 - the test shows it
            error = traceback.format_exc()
        print(json.dumps([scenario.__name__, error]), flush=True)  # noqa: T201


if __name__ == "__main__":
    play_all(CHATS[sys.argv[1]](), SCENARIOS)
