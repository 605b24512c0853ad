"""A window of Tk that shows an answer as it arrives, with a button that stops it."""

from __future__ import annotations

import tkinter as tk
from typing import TYPE_CHECKING

from anthropix_actors import Client
from anthropix_actors.subscribers import Handlers, to_tk

if TYPE_CHECKING:
    from anthropix_actors import AnthropixError, ChatRef
    from anthropix_actors.types import Message


class Window(tk.Tk, Handlers):
    """Asks what is typed, when Return is pressed."""

    def __init__(self, claude: Client) -> None:
        super().__init__()
        self.claude = claude
        self.question, self.answer = tk.Entry(self), tk.Text(self)
        self.button = tk.Button(self, text="Stop", state="disabled")
        for widget in (self.question, self.answer, self.button):
            widget.pack(fill="x")
        self.question.bind("<Return>", lambda _: self.ask())
        self.subscriber = to_tk(self, self)  # the window, and the object whose methods are called: here, it is one

    def ask(self) -> None:
        messages = [{"role": "user", "content": self.question.get()}]
        chat = self.claude.chat(model="claude-sonnet-5", messages=messages, stream=self.subscriber)
        self.button.configure(state="normal", command=lambda: chat.cancel("Stop was pressed"))

    def on_text(self, chat: ChatRef, text: str) -> None:
        self.answer.insert("end", text)

    def on_done(self, chat: ChatRef, message: Message) -> None:
        self.end("done")

    def on_failed(self, chat: ChatRef, error: AnthropixError) -> None:
        self.end(str(error))

    def on_cancelled(self, chat: ChatRef, reason: str, partial: Message | None) -> None:
        self.end(reason)

    def end(self, how: str) -> None:
        self.answer.insert("end", f"\n-- {how}\n\n")
        self.button.configure(state="disabled")


if __name__ == "__main__":
    Window(Client()).mainloop()
