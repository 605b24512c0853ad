"""A daemon whose workers receive the answers of many chats at once, as messages.

Each worker is an actor that follows several chats; all it has to do is in `on_receive`, and nothing in it waits. The
desk hands out questions, keeps at most so many chats open, and ends when the last answer is in.
"""

from __future__ import annotations

import queue
import sys
from typing import Any

import pykka

from anthropix_actors import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatRef, ChatRetrying, Client

WORKERS = 4
OPEN_CHATS = 16


class Worker(pykka.ThreadingActor):
    """Follows chats, and reports each of them to the desk when it has ended."""

    use_daemon_thread = True

    def __init__(self, name: str, desk: queue.SimpleQueue[tuple[ChatRef, str]]) -> None:
        super().__init__()
        self.name = name
        self.desk = desk
        self.letters: dict[ChatRef, int] = {}  # how much of each answer has come

    def on_receive(self, message: Any) -> None:
        match message:
            case ChatEvent(
                chat=chat, data={"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}
            ):
                self.letters[chat] = self.letters.get(chat, 0) + len(str(text))
            case ChatRetrying(error=error, delay=delay):
                print(f"{self.name}: {error}; once more in {delay:.1f} s\n", end="")
            case ChatDone(chat=chat, message=answer):
                report = f"{self.letters.pop(chat, 0)} letters, {answer['usage']['output_tokens']} tokens"
                self.desk.put((chat, f"{self.name}: {report}"))
            case ChatFailed(chat=chat, error=error):
                self.desk.put((chat, f"{self.name}: failed: {error}"))
            case ChatCancelled(chat=chat, reason=reason):
                self.desk.put((chat, f"{self.name}: cancelled: {reason}"))


def main(questions: list[str]) -> None:
    desk: queue.SimpleQueue[tuple[ChatRef, str]] = queue.SimpleQueue()
    workers = [Worker.start(f"worker {number}", desk) for number in range(1, WORKERS + 1)]
    asked: dict[ChatRef, str] = {}
    with Client() as client:
        for number, question in enumerate(questions):
            if len(asked) == OPEN_CHATS:
                settle(desk, asked)
            chat = client.chat(
                model="claude-haiku-4-5",
                messages=[{"role": "user", "content": question}],
                stream=workers[number % WORKERS],
            )
            asked[chat] = question
        while asked:
            settle(desk, asked)
    for worker in workers:
        worker.stop()


def settle(desk: queue.SimpleQueue[tuple[ChatRef, str]], asked: dict[ChatRef, str]) -> None:
    """Wait for the next chat to end, and say how it went. A chat always ends: its timeouts see to that."""
    chat, report = desk.get()
    print(f"{asked.pop(chat)}  ->  {report}\n", end="")  # in one piece, as the workers print, too


if __name__ == "__main__":
    main(sys.argv[1:] or [f"What is the square of {number}?" for number in range(1, 51)])
