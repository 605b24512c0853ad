"""Make the pictures of the windows in docs/ again: `python tests/screenshots.py Tk PySide6 Textual clerk`.

Needs Pillow, the toolkits, and for Tk a display, such as that of Xvfb.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator import Pace, Reply

from driven_chats import CHATS, steps
from driven_clerk import TkClerk, until_the_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator import Emulator

DOCS = Path(__file__).parents[1] / "docs"

FIRST = """It shows **two actors** that share no memory:

- *Ada* puts a message into the mailbox of *Bob*, and goes on at once
- *Bob* handles one message at a time, in the order in which they came
"""

SECOND = """## An actor that counts

Only the actor touches `count`, so there is **nothing to lock**:

```python
class Counter(pykka.ThreadingActor):
    def __init__(self):
        super().__init__()
        self.count = 0

    def on_receive(self, message):
        self.count += message
        return self.count
```

Whoever wants to know tells it `0` with an `ask`. Nobody waits"""


def drawing(path: Path) -> None:
    """Draw two actors and a mailbox."""
    picture = import_module("PIL.Image").new("RGB", (640, 240), "#f7f4ec")
    pen = import_module("PIL.ImageDraw").Draw(picture)
    font = import_module("PIL.ImageFont").load_default(size=34)
    for left, name, fill in ((40, "Ada", "#7aa2f7"), (450, "Bob", "#9ece6a")):
        pen.rounded_rectangle((left, 60, left + 150, 180), 24, fill=fill, outline="#24283b", width=4)
        pen.text((left + 75, 120), name, fill="#1a1b26", font=font, anchor="mm")
    pen.line((200, 120, 425, 120), fill="#24283b", width=6)
    pen.polygon(((446, 120), (420, 104), (420, 136)), fill="#24283b")
    pen.rectangle((288, 92, 352, 136), fill="#e0af68", outline="#24283b", width=4)
    pen.line(((288, 92), (320, 118), (352, 92)), fill="#24283b", width=4)
    picture.save(path)


def a_conversation(driver: Any, emulator: Emulator, target: Path) -> Iterator[Callable[[], object]]:
    emulator.queue(Reply([FIRST], usage={"input_tokens": 412, "output_tokens": 61}))
    emulator.queue(Pace(SECOND + ", and" * 500, tokens_per_second=60))
    drawing(driver.folder / "actors.png")
    driver.attach(driver.folder / "actors.png")
    driver.ask("What does this picture show?")
    yield driver.is_idle
    driver.ask("Write me one that counts, with pykka.")
    yield lambda: "Nobody waits" in driver.page()
    driver.picture(target)


def a_letter(driver: Any, _: Emulator, target: Path) -> Iterator[Callable[[], object]]:
    yield from until_the_letter(driver)
    driver.picture(target)


def main(*names: str) -> None:
    for name in names:
        driver, scenario = (TkClerk(), a_letter) if name == "clerk" else (CHATS[name](), a_conversation)
        target = DOCS / f"{driver.example}.{'svg' if name == 'Textual' else 'png'}"
        with tempfile.TemporaryDirectory() as folder:
            driver.run_steps(steps(driver, partial(scenario, target=target), Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
