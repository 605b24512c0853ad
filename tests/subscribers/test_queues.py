from __future__ import annotations

import contextlib
import gc
import queue
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import CancelledError, ChatCancelled, ChatDone, Client
from anthropix_actors.subscribers import to_queue

from actors import ASK, TERMINAL, Inbox, no_thread_for, text_of, until_blocked
from servers import DEADLINE, Halt, Server, answer, answering, chunks, head, stalling, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = [f"{number} " for number in range(300)]
EVENTS = len(WORDS) + 5


def all_of(inbox: Any, ends: int = 1) -> list[Any]:
    """Take messages until so many chats have ended; nothing comes after that."""
    found: list[Any] = []
    while ends:
        found.append(inbox.get(timeout=DEADLINE))
        ends -= isinstance(found[-1], TERMINAL)
    assert inbox.empty()
    return found


@pytest.mark.parametrize("kind", [queue.Queue, queue.SimpleQueue])
def test_a_queue_gets_all_messages_in_order(kind: Any, connect: Callable[..., Client]) -> None:
    inbox = kind()
    with Server(answering(*WORDS)) as server:
        connect(server).chat(**ASK, stream=to_queue(inbox))
        told = all_of(inbox)
    assert text_of(told) == "".join(WORDS)
    assert isinstance(told[-1], ChatDone)
    assert len(told) == EVENTS + 1


@pytest.mark.parametrize("size", [1, 10, 256])
def test_a_full_queue_makes_the_chat_wait_and_nothing_is_dropped(size: int, connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=size)
    subscriber: Any = to_queue(inbox)
    with Server(answering(*WORDS)) as server:
        chat = connect(server).chat(**ASK, stream=subscriber)
        until_blocked(chat)
        until(inbox.full)
        assert len(subscriber._overflow.messages) == 1
        assert chat.state == "answering"
        told = all_of(inbox)
    assert text_of(told) == "".join(WORDS)
    assert len(told) == EVENTS + 1


def test_a_cancel_is_not_held_up_by_a_full_queue(connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=1)
    with Server(answering(*WORDS)) as server:
        chat = connect(server).chat(**ASK, stream=to_queue(inbox))
        until_blocked(chat)
        chat.cancel("enough")
        wait(chat.actor_stopped)  # the reader has taken nothing yet
        assert chat.state == "cancelled"
        told = all_of(inbox)
    assert told[-1] == ChatCancelled(chat, "enough", chat.snapshot())


def test_a_full_queue_holds_up_no_other_subscriber_of_a_chat(connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=1)
    other = Inbox()
    with Server(answering(*WORDS)) as server:
        chat = connect(server).chat(**ASK, stream=other)
        chat.subscribe(to_queue(inbox))
        assert isinstance(other.until_end()[-1], ChatDone)
        assert text_of(all_of(inbox)) == "".join(WORDS)


def test_many_chats_share_one_small_queue_and_each_keeps_its_order(connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=2)
    subscriber = to_queue(inbox)
    with Server(answering(*WORDS)) as server:
        client = connect(server)
        chats = [client.chat(**ASK, stream=subscriber) for _ in range(8)]
        told = all_of(inbox, ends=8)
    for chat in chats:
        mine = [message for message in told if message.chat is chat]
        assert text_of(mine) == "".join(WORDS)
        assert isinstance(mine[-1], ChatDone)


def test_several_readers_share_a_queue(connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=4)
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        while (message := inbox.get(timeout=DEADLINE)) is not None:
            found.put(message)
            if isinstance(message, TERMINAL):
                inbox.put(None)
        with contextlib.suppress(queue.Full):
            inbox.put_nowait(None)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    with Server(answering(*WORDS)) as server:
        connect(server).chat(**ASK, stream=to_queue(inbox))
        for reader in readers:
            reader.join(DEADLINE)
    assert found.qsize() == EVENTS + 1


def test_who_joins_late_gets_what_was_said_into_a_full_queue(connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=1)
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        until(lambda: (chat.snapshot() or {"content": []})["content"])
        chat.subscribe(to_queue(inbox))
        assert [inbox.get(timeout=DEADLINE).data["type"] for _ in range(2)] == ["message_start", "content_block_start"]
        chat.cancel()
        all_of(inbox)


def test_a_thread_that_puts_what_did_not_fit_waits_for_more_for_a_while(connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=1)
    seen = set()
    with Server(answering(*WORDS)) as server:
        connect(server).chat(**ASK, stream=to_queue(inbox))
        while not isinstance(inbox.get(timeout=DEADLINE), TERMINAL):
            seen |= {
                thread.ident for thread in threading.enumerate() if thread.ident and thread.name == "anthropix-queue"
            }
    assert len(seen) <= 2  # it was not made anew for each message


def test_without_a_thread_the_chats_own_puts_what_did_not_fit(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=1)
    monkeypatch.setattr(threading.Thread, "start", no_thread_for("anthropix-queue"))
    with Server(answering("Hel", "lo")) as server:
        connect(server).chat(**ASK, stream=to_queue(inbox))
        assert text_of(all_of(inbox)) == "Hello"


# Readers that have left


class Closing(queue.Queue[Any]):
    """A queue that can be shut down, as those of Python 3.13, and raises then."""

    is_shutdown = False

    def put_nowait(self, item: Any) -> None:
        if self.is_shutdown:
            raise ZeroDivisionError("the queue is shut down")
        super().put_nowait(item)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        if self.is_shutdown:
            raise ZeroDivisionError("the queue is shut down")
        super().put(item, block, timeout)


def test_a_queue_that_is_shut_down_cancels_a_chat_that_says_nothing(connect: Callable[..., Client]) -> None:
    inbox = Closing()
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=to_queue(inbox))
        for _ in range(3):
            inbox.get(timeout=DEADLINE)
        inbox.is_shutdown = True
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result()


def test_a_queue_that_raises_is_told_nothing_more_and_its_chats_are_cancelled(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    class Breaking(queue.SimpleQueue[Any]):
        def put_nowait(self, item: Any) -> None:
            if self.qsize() == 2:
                raise SystemExit
            super().put_nowait(item)

    inbox = Breaking()
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=to_queue(inbox))
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result()
    assert inbox.qsize() == 2
    assert "failed to take a message and is told nothing more" in caplog.text
    assert "SystemExit" in caplog.text


def test_a_full_queue_that_raises_is_told_nothing_more_either(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Closing(1)
    subscriber: Any = to_queue(inbox)
    subscriber.is_alive = lambda: not subscriber._overflow.failed  # the queue does not say that it is shut down
    with Server(Halt(head(), chunks(answer("Hi")[:2]))) as server:
        chat = connect(server).chat(**ASK, stream=subscriber)
        until(lambda: subscriber._overflow.messages)  # and the server says nothing more
        inbox.is_shutdown = True
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result()
    assert "failed to take a message and is told nothing more" in caplog.text
    assert "the queue is shut down" in caplog.text


class Flaky(queue.Queue[Any]):
    """A queue that raises once, when it is full and has room again."""

    raised = False

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        if block and not self.raised:
            self.raised = True
            self.get_nowait()
            raise ValueError
        super().put(item, block, timeout)


def test_what_comes_after_a_queue_has_raised_is_not_put(connect: Callable[..., Client]) -> None:
    inbox = Flaky(4)
    with Server(Halt(head(), chunks(answer(*WORDS)[:20]))) as server:
        chat = connect(server).chat(**ASK, stream=to_queue(inbox))
        wait(chat.actor_stopped)
        assert chat.state == "cancelled"
    assert text_of([inbox.get_nowait() for _ in range(3)]) == "".join(WORDS[:2])
    assert inbox.empty()


def test_what_was_told_as_a_full_queue_raised_is_not_put() -> None:
    inbox = Flaky(1)
    subscriber: Any = to_queue(inbox)
    subscriber.tell("first")
    subscriber.tell("fails")
    until(lambda: not subscriber.is_alive())
    subscriber._overflow.add("had seen that others wait")
    until(lambda: not subscriber._overflow.messages)
    assert inbox.empty()


def test_a_queue_that_raised_is_told_nothing_of_other_chats() -> None:
    class Once(queue.SimpleQueue[Any]):
        def put_nowait(self, item: Any) -> None:
            if item == "bad":
                raise ZeroDivisionError
            super().put_nowait(item)

    inbox = Once()
    subscriber: Any = to_queue(inbox)
    with pytest.raises(ZeroDivisionError):
        subscriber.tell("bad")
    subscriber.tell("of another")
    assert inbox.empty()
    assert not subscriber.is_alive()


if hasattr(queue.Queue, "shutdown"):  # from Python 3.13 on

    @pytest.mark.parametrize("size", [0, 1])
    def test_a_real_shutdown_cancels_the_chat(size: int, connect: Callable[..., Client]) -> None:
        inbox: Any = queue.Queue(size)
        with Server(stalling) as server:
            chat = connect(server).chat(**ASK, stream=to_queue(inbox))
            inbox.get(timeout=DEADLINE)
            inbox.shutdown(immediate=True)
            wait(chat.actor_stopped)
            with pytest.raises(CancelledError, match="no subscriber is left"):
                chat.result()


def test_a_subscriber_starts_afresh_in_a_forked_child(connect: Callable[..., Client]) -> None:
    """As a child finds it: what did not fit is the parent's, and the thread that would put it does not run there."""
    inbox: queue.Queue[Any] = queue.Queue(1)
    subscriber: Any = to_queue(inbox)
    overflow = subscriber._overflow
    overflow._running = True
    inbox.put("first")
    subscriber.tell("of the parent")
    overflow.after_fork()
    inbox.get_nowait()
    with Server(answering(*WORDS)) as server:
        connect(server).chat(**ASK, stream=subscriber)
        assert text_of(all_of(inbox)) == "".join(WORDS)


def test_a_full_queue_that_nobody_has_any_more_keeps_no_thread(connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=1)
    gone = weakref.ref(inbox)
    with Server(answering(*WORDS)) as server:
        chat = connect(server).chat(**ASK, stream=to_queue(inbox))
        until_blocked(chat)
        chat.cancel()
        wait(chat.actor_stopped)
    del inbox, chat  # the error that ended the chat has the queue in its traceback
    until(lambda: gc.collect() >= 0 and gone() is None)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "anthropix-queue"])


class Slotted:
    """A queue that can have no weak references; its `full` says whether it is."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: queue.Queue[Any] = queue.Queue(1)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        self.held.put(item, block, timeout)

    def put_nowait(self, item: Any) -> None:
        self.held.put_nowait(item)


def test_a_queue_of_any_class_will_do(connect: Callable[..., Client]) -> None:
    inbox = Slotted()
    with Server(answering(*WORDS)) as server:
        connect(server).chat(**ASK, stream=to_queue(inbox))
        assert text_of(all_of(inbox.held)) == "".join(WORDS)


def test_a_reader_that_takes_its_time_is_waited_for(connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=1)
    with Server(answering("Hel", "lo")) as server:
        chat = connect(server).chat(**ASK, stream=to_queue(inbox))
        until_blocked(chat)
        begun = time.monotonic()
        until(lambda: time.monotonic() - begun > 0.7)  # longer than one wait of the thread that puts
        assert text_of(all_of(inbox)) == "Hello"


def test_a_reader_may_hold_its_queue_while_it_cancels(connect: Callable[..., Client]) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=1)
    with Server(answering(*WORDS)) as server:
        chat = connect(server).chat(**ASK, stream=to_queue(inbox))
        until_blocked(chat)
        with inbox.mutex:
            chat.cancel()
            wait(chat.actor_stopped)
        all_of(inbox)


def test_it_shows_its_queue() -> None:
    assert repr(to_queue(queue.SimpleQueue())).startswith("to_queue(<_queue.SimpleQueue")
    assert to_queue.__module__ == "anthropix_actors.subscribers"
