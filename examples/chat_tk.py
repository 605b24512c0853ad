"""A chat window of Tk: answers in Markdown as they arrive, images, and a button that stops.

    python chat_tk.py

Return asks, Esc stops, and closing the window ends the request. Without ANTHROPIC_API_KEY, an emulator answers.
"""

from __future__ import annotations

import contextlib
import os
import re
import tkinter as tk
from pathlib import Path
from tkinter import filedialog, font, ttk
from typing import TYPE_CHECKING, Any

from anthropix_actors import (
    AnthropixError,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatMessage,
    ChatRef,
    ChatRetrying,
    Client,
    content,
)
from anthropix_actors.emulator import Emulator, Pace
from anthropix_actors.subscribers import to_tk
from anthropix_actors.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "claude-sonnet-5"
IMAGES = [("Images", "*.png *.jpg *.jpeg *.gif *.webp")]

# A block of Markdown: fenced code, or text up to where something else begins. Only the last one can still grow.
BLOCK = re.compile(r"```.*?(?:^```[ \t]*\n|\Z)|.+?(?:\n{2,}(?=[^\s\d*+-])|(?=^```)|\Z)", re.DOTALL | re.MULTILINE)
LINE = re.compile(r"(?P<heading>#{1,6} +)|(?P<item> *[-*+] +)|(?P<number> *\d+[.)] +)|(?P<quote>> ?)|(?P<table>(?=\|))")
SPAN = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\*(?P<italic>[^*\s][^*]*)\*|\[(?P<link>[^]]+)\]\([^)]*\)")


def styled(block: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the pieces of a block of Markdown, each with its tags."""
    if block.startswith("```"):
        lines = block.rstrip().removesuffix("```").splitlines()[1:]
        yield "".join(f" {line}\n" for line in lines), ("fence",)
        return
    for line in block.strip("\n").splitlines():
        mark = LINE.match(line)
        kind = (mark and mark.lastgroup) or "paragraph"
        if mark and kind in {"item", "number"}:
            yield mark[0].replace("-", "•").replace("*", "•"), (kind,)
        for text, *span in spans(line[mark.end() if mark else 0 :]):
            yield text, (kind, *span)
        yield "\n", (kind,)


def spans(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the pieces of a line, some with a tag."""
    end = 0
    for found in SPAN.finditer(line):
        yield (line[end : found.start()],)
        yield found[found.lastgroup or 0], found.lastgroup or ""
        end = found.end()
    yield (line[end:],)


class Page(tk.Text):
    """What was said. Of the Markdown that arrives, whole blocks are drawn once, and only the open one again."""

    def __init__(self, parent: tk.Misc) -> None:
        super().__init__(parent, wrap="word", relief="flat", padx=18, pady=12, width=72, height=28, state="disabled")
        self.pictures: list[tk.PhotoImage] = []  # Tk itself keeps none alive
        self.open = ""
        plain, fixed = font.nametofont("TkTextFont"), font.nametofont("TkFixedFont")
        name, size = plain.actual("family"), 11
        code = (fixed.actual("family"), size - 1)
        self.configure(font=(name, size), foreground="#1f2328", background="white", spacing1=3, spacing2=2)
        self.tag_configure("question", background="#e8f0fe", spacing1=6, spacing3=6, lmargin1=12, lmargin2=12)
        self.tag_configure("note", foreground="#b3261e", spacing1=6)
        self.tag_configure("heading", font=(name, size + 3, "bold"), spacing1=10, spacing3=2)
        self.tag_configure("paragraph", spacing3=6)
        self.tag_configure("item", lmargin1=14, lmargin2=28)
        self.tag_configure("number", lmargin1=14, lmargin2=34)
        self.tag_configure("quote", lmargin1=18, lmargin2=18, foreground="#57606a")
        self.tag_configure("table", font=code)
        self.tag_configure("fence", font=code, background="#f2f4f7", lmargin1=10, lmargin2=10, spacing1=2, wrap="none")
        self.tag_configure("code", font=code, background="#f2f4f7")
        self.tag_configure("bold", font=(name, size, "bold"))
        self.tag_configure("italic", font=(name, size, "italic"))
        self.tag_configure("link", foreground="#0b57d0", underline=True)
        self.mark_set("block", "end - 1c")
        self.mark_gravity("block", "left")

    def add(self, text: str) -> None:
        """Draw more of an answer."""
        *whole, self.open = BLOCK.findall(self.open + text)
        with self.drawing():
            self.delete("block", "end - 1c")
            for block in whole:
                self.insert_block(block)
                self.mark_set("block", "end - 1c")
            self.insert_block(self.open)

    def insert_block(self, block: str) -> None:
        for text, tags in styled(block):
            self.insert("end - 1c", text, tags)

    def say(self, text: str, tag: str, images: list[Path] | None = None) -> None:
        """Draw a question or a note; what follows is a block of its own."""
        with self.drawing():
            for path in images or []:
                self.insert_picture(path, tag)
            self.insert("end - 1c", f"{text}\n", (tag,))
            self.mark_set("block", "end - 1c")
        self.open = ""

    def insert_picture(self, path: Path, tag: str) -> None:
        with contextlib.suppress(tk.TclError):  # Tk knows PNG and GIF
            picture = tk.PhotoImage(master=self, file=path)
            self.pictures.append(picture.subsample(-(-max(picture.width(), picture.height()) // 160)))
            self.image_create("end - 1c", image=self.pictures[-1], padx=4, pady=6)
            self.insert("end - 1c", "\n")
        self.tag_add(tag, "block", "end - 1c")

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
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
        super().__init__(window, padding=8)
        self.claude = claude
        self.subscriber = to_tk(self, self.show)
        self.chat: ChatRef | None = None
        self.messages: list[Any] = []
        self.images: list[Path] = []
        self.answer = ""
        self.usage = Usage()
        self.page = Page(self)
        self.status = ttk.Label(self, text=MODEL, foreground="#57606a")
        self.attached = ttk.Label(self, foreground="#0b57d0")
        self.entry = ttk.Entry(self, font=(font.nametofont("TkTextFont").actual("family"), 11))
        self.button = ttk.Button(self, text="Ask", command=self.press)
        self.lay_out(ttk.Button(self, text="Image…", command=self.choose))
        window.bind("<Escape>", lambda _: self.stop())
        self.entry.bind("<Return>", lambda _: self.ask())
        self.entry.focus()

    def lay_out(self, attach: ttk.Button) -> None:
        bar = ttk.Scrollbar(self, command=self.page.yview)  # type: ignore[no-untyped-call] # so it is in the stubs
        self.page.configure(yscrollcommand=bar.set)
        self.page.grid(row=0, column=0, columnspan=3, sticky="nsew")
        bar.grid(row=0, column=3, sticky="ns")
        self.attached.grid(row=1, column=0, columnspan=4, sticky="w", pady=(6, 0))
        attach.grid(row=2, column=0, sticky="w")
        self.entry.grid(row=2, column=1, sticky="ew", padx=6, ipady=4)
        self.button.grid(row=2, column=2, columnspan=2)
        self.status.grid(row=3, column=0, columnspan=4, sticky="w", pady=(6, 0))
        self.columnconfigure(1, weight=1)
        self.rowconfigure(0, weight=1)

    def press(self) -> None:
        (self.stop if self.chat else self.ask)()

    def stop(self) -> None:
        if self.chat:
            self.chat.cancel("Stop was pressed")

    def choose(self) -> None:
        for path in filedialog.askopenfilenames(parent=self, filetypes=IMAGES):
            self.attach(Path(path))

    def attach(self, path: Path) -> None:
        self.images.append(path)
        self.attached.configure(text="With: " + ", ".join(each.name for each in self.images))

    def ask(self) -> None:
        question = self.entry.get().strip()
        if self.chat or not question:
            return
        self.page.say(question, "question", self.images)
        self.answer = ""
        try:
            blocks = [*map(content.image, self.images), content.text(question)]
            self.messages.append({"role": "user", "content": blocks})
            self.chat = self.claude.chat(model=MODEL, messages=self.messages, stream=self.subscriber)
        except AnthropixError as error:  # such as a file that is no image: nothing was sent
            self.page.say(str(error), "note")
        self.images.clear()
        self.attached.configure(text="")
        if self.chat:
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
                self.end(message, answer["content"], "" if answer["stop_reason"] == "end_turn" else answer["stop_reason"])
            case ChatFailed(error=error):
                self.end(message, self.answer, str(error))  # it names the request
            case ChatCancelled(reason=reason):
                self.end(message, self.answer, reason)

    def end(self, message: ChatDone | ChatFailed | ChatCancelled, answer: Any, note: str | None) -> None:
        """Keep what was answered, if anything was, for the next question."""
        if answer:
            self.messages.append({"role": "assistant", "content": answer})
        else:
            self.messages.pop()
        if note:
            self.page.say(note, "note")
        self.page.say("", "paragraph")
        self.usage += message.usage
        self.chat = None
        self.button.configure(text="Ask")
        self.status.configure(text=f"{self.usage.input_tokens} tokens read, {self.usage.output_tokens} written")


@contextlib.contextmanager
def connected() -> Iterator[Client]:
    """A client of the API; without a key, one of an emulator on this machine."""
    if {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"} & {*os.environ}:
        with Client() as claude:
            yield claude
    else:
        answers = Emulator(handler=lambda _: Pace(tokens_per_second=40))
        with answers as emulator, Client("any-key", base_url=emulator.url, proxy="") as claude:
            yield claude


def main() -> None:
    with connected() as claude:
        window = tk.Tk()
        window.title("Chat")
        Chat(window, claude).pack(fill="both", expand=True)
        window.mainloop()


if __name__ == "__main__":
    main()
