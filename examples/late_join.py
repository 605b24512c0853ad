"""Two subscribers of one chat. The second joins when part of the answer has been said, and misses nothing.

Think of a window that the user opens while the model is already answering.
"""

from __future__ import annotations

import threading
from typing import Any

import pykka

from anthropix_actors import ChatCancelled, ChatDone, ChatEvent, ChatFailed, Client

QUESTION = "In a few sentences: what is an actor, and why stream to one?"


class Window(pykka.ThreadingActor):
    """Shows an answer, and counts in how many pieces it came."""

    use_daemon_thread = True

    def __init__(self, title: str, halfway: threading.Event, closed: threading.Event) -> None:
        super().__init__()
        self.title = title
        self.halfway = halfway
        self.closed = closed
        self.pieces: list[str] = []

    def on_receive(self, message: Any) -> None:
        match message:
            case ChatEvent(data={"type": "content_block_delta", "delta": {"type": "text_delta", "text": str(text)}}):
                self.pieces.append(text)
                if len(self.pieces) == 20:
                    self.halfway.set()
            case ChatDone() | ChatFailed() | ChatCancelled():
                ending = "".join(self.pieces)[-30:]
                # With its line end in one piece, as both windows may print at the same time.
                print(f"{self.title}: {len(self.pieces)} pieces, ending in {ending!r}\n", end="")
                self.halfway.set()
                self.closed.set()


def main() -> None:
    halfway, first_closed, second_closed = threading.Event(), threading.Event(), threading.Event()
    first = Window.start("the first window", halfway, first_closed)
    second = Window.start("the second window", threading.Event(), second_closed)
    with Client() as client:
        chat = client.chat(model="claude-haiku-4-5", messages=[{"role": "user", "content": QUESTION}], stream=first)
        halfway.wait(60)
        chat.subscribe(second)
        answer = chat.result(timeout=120)
        first_closed.wait(10)
        second_closed.wait(10)
    first.stop()
    second.stop()
    print(f"-- {answer['usage']['output_tokens']} tokens")


if __name__ == "__main__":
    main()
