"""Subscribers for the tests."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import ChatCancelled, ChatDone, ChatEvent, ChatFailed

from servers import DEADLINE, wait

if TYPE_CHECKING:
    from collections.abc import Callable

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
ASK: dict[str, Any] = {"model": "claude-test", "messages": HELLO}
TERMINAL = (ChatDone, ChatFailed, ChatCancelled)


class Inbox:
    """A subscriber that is no actor: keeps everything, in order."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.messages: list[Any] = []

    def tell(self, message: Any, /) -> None:
        self.queue.put(message)

    def next(self) -> Any:
        message = self.queue.get(timeout=DEADLINE)
        self.messages.append(message)
        return message

    def until_end(self, ends: tuple[type[Any], ...] = TERMINAL) -> list[Any]:
        """Get all messages up to the terminal one, which is the last there is."""
        while not isinstance(self.next(), ends):
            pass
        assert self.queue.empty()
        return self.messages

    def until(self, kind: type[Any]) -> Any:
        while not isinstance(message := self.next(), kind):
            pass
        return message


class Reader(pykka.ThreadingActor):
    """A subscribing actor; a test may hold it up in its handler, or let it do something with each message."""

    use_daemon_thread = True

    def __init__(self, inbox: Inbox, on_message: Callable[[Any], None] | None = None, *, held: bool = False) -> None:
        super().__init__()
        self.inbox = inbox
        self.on_message = on_message
        self.gate = threading.Event()
        if not held:
            self.gate.set()
        self.began = threading.Event()

    def on_receive(self, message: Any) -> None:
        self.began.set()
        wait(self.gate)
        self.inbox.tell(message)
        if self.on_message is not None:
            self.on_message(message)


def text_of(messages: list[Any]) -> str:
    """Get the text that a subscriber was told, piece by piece."""
    pieces = []
    for message in messages:
        match message:
            case ChatEvent(data={"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}):
                pieces.append(text)
    return "".join(pieces)


def going_on(content: Any) -> dict[str, Any]:
    """Get the user's turn after an answer: a result for each of its calls, and something to say."""
    calls = [block.get("id") for block in content if isinstance(block, dict) and block.get("type") == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call, "content": "done"} for call in calls]
    return {"role": "user", "content": [*results, {"type": "text", "text": "Hello"}]}
