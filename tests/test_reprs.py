"""What a debugger shows of the parts of a chat: their state."""

from __future__ import annotations

import re
import sys
import threading
from typing import TYPE_CHECKING, Any

from anthropix_actors import Client, Governor
from anthropix_actors.chat.accumulate import Accumulator

from actors import ASK, Inbox, task_of
from programs import BEGUN
from servers import Halt, Server, acquire, answering, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def test_the_parts_of_a_chat_show_their_state(connect: Callable[..., Client]) -> None:
    halt, governor = Halt(*BEGUN), Governor()
    assert repr(governor) == "<Governor no requests yet>"
    with Server(halt) as server:
        client = connect(server, max_concurrency=1, governor=governor)
        chat = client.chat(**ASK, stream=Inbox())
        acquire(halt.reached)
        waits = client.chat(**ASK, stream=Inbox())
        task = task_of(chat)
        until(lambda: chat.state == "answering")
        assert re.fullmatch(r"<ChatTask answering, 1 subscribers, \d\.\d s>", repr(task))
        assert re.fullmatch(r"<ChatTask queued, 1 subscribers, \d\.\d s>", repr(task_of(waits)))
        assert repr(task.slots) == "<Slots 1 of 1 taken, 1 waiting>"
        assert repr(task.scope) == "<CancelScope open, a socket>"
        assert repr(task_of(waits).scope) == "<CancelScope open, no socket>"
        (delivery,) = task.audience.deliveries
        assert re.fullmatch(r"<Delivery to <actors\.Inbox object at \w+>, open, 0 waiting>", repr(delivery))
        assert repr(governor) == f"<Governor {ASK['model']}: 0 waiting>"
        chat.cancel("enough")
        chat.actor_stopped.wait()
        assert repr(task.scope) == "<CancelScope cancelled by CancelledError('enough'), no socket>"
        assert repr(delivery).endswith(", closed, 0 waiting>")
        delivery.detach()
        assert ", detached, " in repr(delivery)


def test_an_answer_is_copied_once_for_its_end(connect: Callable[..., Client]) -> None:
    """A copy of a long one takes 20 ms of the chat's thread, while it holds the lock of its task."""
    copied: list[str] = []

    def called(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is Accumulator.snapshot.__code__:
            copied.append(threading.current_thread().name)

    with Server(answering("Hello")) as server:
        client = connect(server)
        threading.setprofile(called)
        try:
            chat = client.chat(**ASK, stream=(inbox := Inbox()))
            end = inbox.until_end()[-1]
            chat.actor_stopped.wait()
        finally:
            threading.setprofile(sys.getprofile())
    assert end.message["content"][0]["text"] == "Hello"
    assert repr(task_of(chat).scope) == "<CancelScope committed, no socket>"
    assert len(copied) == 1


def test_a_stream_shows_its_chat(connect: Callable[..., Client]) -> None:
    with Server(answering("Hello")) as server, connect(server).chat(**ASK, stream=True, tag="poem") as stream:
        assert re.fullmatch(r"<Stream of <ChatRef 'poem', \w+, \d\.\d s(, req_test)?>>", repr(stream))
