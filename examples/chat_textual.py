"""A chat in the terminal, with Textual: answers in Markdown as they arrive, images, and a button that stops.

    pip install textual
    python chat_textual.py

Return asks, Esc stops, and leaving ends the request. To attach an image, drop it on the terminal, which types its path.
Without ANTHROPIC_API_KEY, an emulator answers.
"""

import asyncio
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Footer, Input, Markdown, Static

from anthropix_actors import AnthropixError, ChatRef, Client, content
from anthropix_actors.emulator import Emulator, Pace
from anthropix_actors.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatMessage, ChatRetrying
from anthropix_actors.subscribers import to_textual
from anthropix_actors.usage import Usage

MODEL = "claude-sonnet-5"
IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".webp"}


class Chat(App[None]):
    """A conversation: each question is a request of its own, with all that was said before."""

    TITLE = "Chat"
    CSS = """
    #page { padding: 1 2 }
    .question { background: $primary 20%; padding: 1 2; margin: 0 0 1 8 }
    .note { color: $text-error; padding: 0 2; margin: 0 0 1 0 }
    #row { height: 3; padding: 0 1 }
    #entry { width: 1fr; margin: 0 1 0 0 }
    #status { color: $text-muted; padding: 0 2; height: 1 }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "stop", "Stop"), ("ctrl+q", "quit", "Leave")]

    def __init__(self, claude: Client) -> None:
        super().__init__()
        self.claude = claude
        self.chat: ChatRef | None = None
        self.messages: list[Any] = []
        self.images: list[Path] = []
        self.answer, self.usage = "", Usage()
        self.page, self.status = VerticalScroll(id="page"), Static(MODEL, id="status", markup=False)
        self.entry = Input(placeholder="Ask, or drop an image here", id="entry")
        self.button = Button("Ask", variant="primary", id="button")

    def compose(self) -> ComposeResult:
        yield self.page
        yield Horizontal(self.entry, self.button, id="row")
        yield self.status
        yield Footer()

    def on_mount(self) -> None:
        self.subscriber = to_textual(self, self.show_message)
        self.page.anchor()  # keeps the end in sight, unless somebody scrolls back
        self.entry.focus()

    async def on_button_pressed(self) -> None:
        if self.chat:
            self.action_stop()
        else:
            await self.ask()

    async def on_input_submitted(self) -> None:
        await self.ask()

    def on_input_changed(self) -> None:
        """Attach what is the path of an image."""
        path = Path(self.entry.value.strip(" '\"").removeprefix("file://"))
        if path.suffix.lower() in IMAGES and path.is_file():
            self.attach(path)
            self.entry.clear()

    def attach(self, path: Path) -> None:
        self.images.append(path)
        self.status.update("With the next question: " + ", ".join(each.name for each in self.images))

    def action_stop(self) -> None:
        if self.chat:
            self.chat.cancel("Stop was pressed")

    async def ask(self) -> None:
        question = self.entry.value.strip()
        if self.chat or not question:
            return
        images, self.images, self.answer = self.images, [], ""
        await self.say("\n".join([*(f"[{path.name}]" for path in images), question]), "question")
        try:
            blocks = [*map(content.image, images), content.text(question)]
            said = [*self.messages, {"role": "user", "content": blocks}]
            self.chat = self.claude.chat(model=MODEL, messages=said, stream=self.subscriber)
        except AnthropixError as error:  # such as a file that is no image: nothing was sent
            await self.say(str(error), "note")
        else:
            self.messages = said
            self.entry.clear()
            self.button.label = "Stop"
            self.status.update(f"{MODEL} answers. Esc stops it.")
            await self.page.mount(page := Markdown())
            self.stream = Markdown.get_stream(page)
            await asyncio.sleep(0)  # its task begins: to stop one that has not would end the app without a word

    async def say(self, text: str, kind: str) -> None:
        await self.page.mount(Static(text, classes=kind, markup=False))

    def show_message(self, message: ChatMessage) -> None:
        """Draw what the chat tells; called in the app's thread."""
        match message:
            case ChatEvent(data={"delta": {"type": "text_delta", "text": str(text)}}) if text:
                self.answer += text
                self.call_later(self.stream.write, text)  # it draws whole blocks once, and only the open one again
            case ChatRetrying(delay=delay, error=error):
                self.status.update(f"Once more in {delay:.1f} s: {error}")
            case ChatDone(message=answer):
                self.call_later(self.end, message, answer["content"], answer["stop_reason"])
            case ChatFailed(error=error):
                self.call_later(self.end, message, self.answer, str(error))  # it names the request
            case ChatCancelled(reason=reason):
                self.call_later(self.end, message, self.answer, reason)

    async def end(self, message: ChatDone | ChatFailed | ChatCancelled, answer: Any, why: str | None) -> None:
        """Keep what was answered for the next question; where nothing was, that takes this one's place."""
        self.messages = [*self.messages, {"role": "assistant", "content": answer}] if answer else self.messages[:-1]
        await self.stream.stop()
        if why != "end_turn":
            await self.say(str(why), "note")
        self.usage += message.usage
        self.chat = None
        self.button.label = "Ask"
        self.status.update(f"{self.usage.input_tokens} tokens read, {self.usage.output_tokens} written")


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
        Chat(claude).run()


if __name__ == "__main__":
    main()
