"""A chat window of Tk: answers in Markdown as they arrive, images, and a button that stops.

    python chat_tk.py

Return asks, Esc stops, and closing the window ends the request. Without ANTHROPIC_API_KEY, an emulator answers.
"""

import os
import re
import tkinter as tk
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tkinter import filedialog, ttk
from typing import Any

from anthropix_actors import AnthropixError, ChatRef, Client, content
from anthropix_actors.emulator import Emulator, Pace
from anthropix_actors.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatMessage, ChatRetrying
from anthropix_actors.subscribers import to_tk
from anthropix_actors.usage import Usage

MODEL = "claude-sonnet-5"
IMAGES = [("Images", "*.png *.jpg *.jpeg *.gif *.webp")]
GREY, PALE, BLUE, RED = "#57606a", "#f2f4f7", "#0b57d0", "#b3261e"
FONT, CODE = ("Helvetica", 11), ("Courier", 10)  # Tk has these two everywhere
TAGS: dict[str, Any] = {
    "question": {"background": "#e8f0fe", "spacing1": 6, "spacing3": 6, "lmargin1": 12, "lmargin2": 12},
    "note": {"foreground": RED, "spacing1": 6, "spacing3": 6},
    "heading": {"font": (FONT[0], 14, "bold"), "spacing1": 10, "spacing3": 4},
    "paragraph": {"spacing1": 4, "spacing3": 4},
    "item": {"lmargin1": 14, "lmargin2": 28, "spacing1": 2, "spacing3": 2},
    "quote": {"lmargin1": 18, "lmargin2": 18, "foreground": GREY},
    "table": {"font": CODE},
    "fence": {"font": CODE, "background": PALE, "lmargin1": 12, "lmargin2": 12, "spacing1": 1, "spacing3": 1},
    "edge": {"font": (FONT[0], 3), "background": PALE},
    "code": {"font": CODE, "foreground": RED},
    "bold": {"font": (*FONT, "bold")},
    "italic": {"font": (*FONT, "italic")},
    "link": {"foreground": BLUE, "underline": True},
}

# A block of Markdown: fenced code, or text up to where something else begins. Only the last one can still grow.
BLOCK = re.compile(r"```.*?(?:^```[ \t]*\n|\Z)|.+?(?:\n{2,}(?=[^\s\d*+-])|(?=^```)|\Z)", re.DOTALL | re.MULTILINE)
LINE = re.compile(r"(?P<heading>#{1,6} +)|(?P<item> *(?:[-*+]|\d+[.)]) +)|(?P<quote>> ?)|(?P<table>(?=\|))")
SPAN = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\*(?P<italic>[^*\s][^*]*)\*|\[(?P<link>[^]]+)\]\([^)]*\)")


def styled(block: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the pieces of a block of Markdown, each with its tags."""
    if block.startswith("```"):
        yield "\n", ("edge",)
        yield "".join(f"{line}\n" for line in block.rstrip("`\n").splitlines()[1:]), ("fence",)
        yield "\n", ("edge",)
        return
    for line in filter(str.strip, block.splitlines()):
        mark, end = LINE.match(line), 0
        kind = (mark and mark.lastgroup) or "paragraph"
        if mark:
            end = mark.end()
            yield re.sub(r"[-*+]", "•", mark[0]) if kind == "item" else "", (kind,)
        for span in SPAN.finditer(line, end):
            yield line[end : span.start()], (kind,)
            yield span[span.lastgroup or 0], (kind, span.lastgroup or "")
            end = span.end()
        yield f"{line[end:]}\n", (kind,)


class Page(tk.Text):
    """What was said. Of the Markdown that arrives, whole blocks are drawn once, and only the open one again."""

    def __init__(self, parent: tk.Misc) -> None:
        super().__init__(parent, font=FONT, wrap="word", relief="flat", padx=16, pady=12, width=76, height=28)
        for tag, options in TAGS.items():
            self.tag_configure(tag, **options)
        self.configure(state="disabled", background="white", foreground="#1f2328", highlightthickness=0)
        self.pictures: list[tk.PhotoImage] = []  # Tk itself keeps none alive
        self.open = ""
        self.mark_set("block", "end - 1c")
        self.mark_gravity("block", "left")

    def add(self, text: str) -> None:
        """Draw more of an answer."""
        *whole, self.open = BLOCK.findall(self.open + text)
        with self.drawing():
            self.delete("block", "end - 1c")
            for block in whole:
                self.draw(block)
                self.mark_set("block", "end - 1c")
            self.draw(self.open)

    def draw(self, block: str) -> None:
        for text, tags in styled(block):
            self.insert("end - 1c", text, tags)

    def say(self, text: str, tag: str, images: list[Path] | None = None) -> None:
        """Draw a question or a note; what follows is a block of its own."""
        with self.drawing():
            begin = self.index("end - 1c")
            for path in images or []:
                self.draw_picture(path)
            self.insert("end - 1c", f"{text}\n")
            self.tag_add(tag, begin, "end - 1c")
            self.mark_set("block", "end - 1c")
        self.open = ""

    def draw_picture(self, path: Path) -> None:
        with suppress(tk.TclError):  # Tk knows PNG and GIF
            whole = tk.PhotoImage(master=self, file=path)
            self.pictures.append(whole.subsample(-(-max(whole.width(), whole.height()) // 320)))
            self.image_create("end - 1c", image=self.pictures[-1], padx=4, pady=4)
            self.insert("end - 1c", "\n")

    @contextmanager
    def drawing(self) -> Generator[None]:
        """Let the text be changed; keep its end in sight, unless somebody has scrolled back."""
        at_end = self.yview()[1] == 1.0
        self.configure(state="normal")
        yield
        self.configure(state="disabled")
        if at_end:
            self.see("end")


class Chat(ttk.Frame):
    """A conversation: each question is a request of its own, with all that was said before."""

    def __init__(self, window: tk.Misc, claude: Client) -> None:
        super().__init__(window, padding=10)
        self.claude = claude
        self.chat: ChatRef | None = None
        self.messages: list[Any] = []
        self.images: list[Path] = []
        self.answer, self.usage = "", Usage()
        self.subscriber = to_tk(self, self.show)
        self.status = ttk.Label(self, text=MODEL, foreground=GREY)
        self.status.pack(side="bottom", anchor="w", pady=(8, 0))
        row = ttk.Frame(self)
        row.pack(side="bottom", fill="x", pady=(10, 0))
        ttk.Button(row, text="Image…", command=self.choose).pack(side="left")
        self.entry = ttk.Entry(row, font=FONT)
        self.entry.pack(side="left", fill="x", expand=True, padx=8, ipady=3)
        self.button = ttk.Button(row, text="Ask", command=self.press)
        self.button.pack(side="left")
        self.page = Page(self)
        self.page.pack(fill="both", expand=True)
        self.entry.bind("<Return>", lambda _: self.ask())
        window.bind("<Escape>", lambda _: self.stop())
        self.entry.focus()

    def press(self) -> None:
        (self.stop if self.chat else self.ask)()

    def stop(self) -> None:
        if self.chat:
            self.chat.cancel("Stop was pressed")

    def choose(self) -> None:
        self.attach(*map(Path, filedialog.askopenfilenames(parent=self, filetypes=IMAGES)))

    def attach(self, *paths: Path) -> None:
        self.images += paths
        self.status.configure(text="With the next question: " + ", ".join(path.name for path in self.images))

    def ask(self) -> None:
        question = self.entry.get().strip()
        if self.chat or not question:
            return
        images, self.images, self.answer = self.images, [], ""
        self.page.say(question, "question", images)
        try:
            blocks = [*map(content.image, images), content.text(question)]
            said = [*self.messages, {"role": "user", "content": blocks}]
            self.chat = self.claude.chat(model=MODEL, messages=said, stream=self.subscriber)
        except AnthropixError as error:  # such as a file that is no image: nothing was sent
            self.page.say(str(error), "note")
        else:
            self.messages = said
            self.entry.delete(0, "end")
            self.button.configure(text="Stop")
            self.status.configure(text=f"{MODEL} answers. Esc stops it.")

    def show(self, message: ChatMessage) -> None:
        """Draw what the chat tells; called in Tk's thread."""
        match message:
            case ChatEvent(data={"delta": {"type": "text_delta", "text": str(text)}}) if text:
                self.answer += text
                self.page.add(text)
            case ChatRetrying(delay=delay, error=error):
                self.status.configure(text=f"Once more in {delay:.1f} s: {error}")
            case ChatDone(message=answer):
                self.end(message, answer["content"], answer["stop_reason"])
            case ChatFailed(error=error):
                self.end(message, self.answer, str(error))  # it names the request
            case ChatCancelled(reason=reason):
                self.end(message, self.answer, reason)

    def end(self, message: ChatDone | ChatFailed | ChatCancelled, answer: Any, why: str | None) -> None:
        """Keep what was answered for the next question; where nothing was, that takes this one's place."""
        self.messages = [*self.messages, {"role": "assistant", "content": answer}] if answer else self.messages[:-1]
        self.page.say("" if why == "end_turn" else f"{why}\n", "note")
        self.usage += message.usage
        self.chat = None
        self.button.configure(text="Ask")
        self.status.configure(text=f"{self.usage.input_tokens} tokens read, {self.usage.output_tokens} written")


@contextmanager
def connected() -> Generator[Client]:
    """A client of the API; without a key, one of an emulator on this machine."""
    if {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"} & {*os.environ}:
        with Client() as claude:
            yield claude
    else:
        with Emulator(handler=lambda _: Pace(tokens_per_second=40)) as here, Client("any", base_url=here.url) as claude:
            yield claude


def main() -> None:
    with connected() as claude:
        root = tk.Tk()
        root.title("Chat")
        ttk.Style().theme_use("clam")
        Chat(root, claude).pack(fill="both", expand=True)
        root.mainloop()


if __name__ == "__main__":
    main()
