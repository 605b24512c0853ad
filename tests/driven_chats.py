"""The chat windows of the examples, driven; `python driven_chats.py Tk` plays all scenarios with that toolkit."""

from __future__ import annotations

import json
import os
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
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63d8dae80c0002ad0128c4c3ae1c0000000049454e44ae426082"
)
LONG = Pace("On actors: " + "word " * 500, tokens_per_second=20)

Steps: TypeAlias = "Iterator[Callable[[], object]]"


class TkChat(toolkits.Tk):
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


class QtChat(toolkits.PySide6):
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
        return "\n".join(map(self.shown, self.chat.page.findChildren(self.widgets.QLabel)))

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


def an_answer_is_drawn_and_kept(chat: Any, emulator: Emulator) -> Steps:
    emulator.queue("# Actors\n\nThey **own** their `state`:\n\n```python\nx = 1\n```\n\n- one\n- two\n", "Yes.")
    chat.ask("What are actors?")
    yield chat.is_idle
    page = chat.page()
    assert "What are actors?" in page
    assert all(word in page for word in ("Actors", "own their state:", "x = 1", "one", "two")), page
    assert not any(mark in page for mark in ("# Actors", "**", "`")), page
    assert "written" in chat.status()
    chat.ask("Really?")
    yield chat.is_idle
    assert "Yes." in chat.page()
    said = emulator.requests[-1].body["messages"]
    assert [each["role"] for each in said] == ["user", "assistant", "user"]
    assert said[1]["content"][0]["text"].startswith("# Actors")


def what_a_stopped_answer_said_is_kept(chat: Any, emulator: Emulator) -> Steps:
    emulator.queue(LONG, "Yes.")
    chat.ask("Go on?")
    yield lambda: "On actors: word" in chat.page()
    assert not chat.is_idle()
    chat.press()
    yield chat.is_idle
    assert "Stop was pressed" in chat.page()
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
    assert "overloaded_error" in chat.page()
    assert "req_" in chat.page()
    chat.ask("And now?")
    yield chat.is_idle
    assert [each["role"] for each in emulator.requests[-1].body["messages"]] == ["user"]
    assert "Yes." in chat.page()


def a_window_closed_in_mid_answer_ends_the_chat(chat: Any, emulator: Emulator) -> Steps:
    emulator.queue(LONG)
    chat.ask("Go on?")
    yield lambda: "On actors: word" in chat.page()
    chat.close()
    yield lambda: emulator.hangups


def an_image_goes_with_the_question(chat: Any, emulator: Emulator) -> Steps:
    good, bad = chat.folder / "cat.png", chat.folder / "text.png"
    good.write_bytes(PNG)
    bad.write_text("no image")
    chat.attach(bad)
    chat.ask("What is this?")
    yield chat.is_idle
    assert "image" in chat.page()
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

CHATS: dict[str, Any] = {"Tk": TkChat, "PySide6": QtChat}


def steps(driver: Any, scenario: Any, folder: Path) -> Iterator[Callable[[], bool]]:
    """Play a scenario with a new window; yield what it waits for, which comes to an end."""
    with Emulator() as emulator, Client("any-key", base_url=emulator.url, proxy="", max_retries=0) as claude:
        driver.folder = folder
        driver.open_chat(claude)
        for wanted in scenario(driver, emulator):
            yield partial(is_over, wanted, time.monotonic() + DEADLINE)
            assert wanted(), f"what {scenario} waits for did not happen; the window shows {driver.page()}"
        driver.close()


def is_over(wanted: Callable[[], object], deadline: float) -> bool:
    return bool(wanted()) or time.monotonic() > deadline


def play(driver: Any, scenario: Any, folder: Path) -> None:
    for step in steps(driver, scenario, folder):
        driver.run(step)
    assert not driver.errors, driver.errors
    until(lambda: threading.enumerate() == [threading.main_thread()])


def main(name: str) -> None:
    """Play all scenarios with a toolkit; print a line of JSON with the name and the traceback, if any, of each."""
    driver = CHATS[name]()
    for scenario in SCENARIOS:
        error = ""
        try:
            with tempfile.TemporaryDirectory() as folder:
                play(driver, scenario, Path(folder))
        except Exception:  # noqa: BLE001 - the test shows it
            error = traceback.format_exc()
        print(json.dumps([scenario.__name__, error]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
