"""A window of Tk that shows an answer as it arrives, with a button that stops it."""

from __future__ import annotations

import tkinter as tk

from anthropix_actors import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatMessage, Client
from anthropix_actors.subscribers import to_tk


class Window(tk.Tk):
    """Asks what is typed, when Return is pressed."""

    def __init__(self, claude: Client) -> None:
        super().__init__()
        self.claude = claude
        self.question, self.answer = tk.Entry(self), tk.Text(self)
        self.button = tk.Button(self, text="Stop", state="disabled")
        for widget in (self.question, self.answer, self.button):
            widget.pack(fill="x")
        self.question.bind("<Return>", lambda _: self.ask())
        self.subscriber = to_tk(self, self.show)

    def ask(self) -> None:
        question = self.question.get()
        messages = [{"role": "user", "content": question}]
        chat = self.claude.chat(model="claude-sonnet-5", messages=messages, stream=self.subscriber)
        self.button.configure(state="normal", command=lambda: chat.cancel("Stop was pressed"))

    def show(self, message: ChatMessage) -> None:
        match message:
            case ChatEvent(data={"delta": {"type": "text_delta", "text": str(text)}}):
                self.answer.insert("end", text)
            case ChatDone() | ChatCancelled() | ChatFailed():
                self.answer.insert("end", f"\n-- {getattr(message, 'error', type(message).__name__)}\n\n")
                self.button.configure(state="disabled")


if __name__ == "__main__":
    Window(Client()).mainloop()
