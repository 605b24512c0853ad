from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import CancelledError, ChatCancelled, ChatDone, Client, DeadlockError, ParameterError
from anthropix_actors.subscribers import to_function

from actors import ASK, TERMINAL, Inbox, text_of, until_blocked
from servers import DEADLINE, Server, answering, stalling, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Peer

WORDS = [f"{number} " for number in range(300)]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_a_function_is_called_with_each_message_on_the_chats_thread(connect: Callable[..., Client]) -> None:
    inbox, threads = Inbox(), set[str]()

    def take(message: Any) -> None:
        threads.add(threading.current_thread().name)
        inbox.tell(message)

    with Server(answering(*WORDS)) as server:
        connect(server).chat(**ASK, stream=to_function(take), tag="mine")
        told = inbox.until_end()
    assert text_of(told) == "".join(WORDS)
    assert len(threads) == 1


def test_through_an_executor_it_is_called_in_order_and_one_at_a_time(
    connect: Callable[..., Client], pool: ThreadPoolExecutor
) -> None:
    inbox, busy, threads = Inbox(), threading.Lock(), set[str]()

    def take(message: Any) -> None:
        assert busy.acquire(blocking=False)
        threads.add(threading.current_thread().name)
        inbox.tell(message)
        busy.release()

    subscriber = to_function(take, pool)
    with Server(answering(*WORDS)) as server:
        client = connect(server)
        chats = [client.chat(**ASK, stream=subscriber) for _ in range(4)]
        for _ in chats:
            inbox.until(ChatDone)
    for chat in chats:
        assert text_of([message for message in inbox.messages if message.chat is chat]) == "".join(WORDS)
    assert not threads & {f"anthropix-{chat.tag}" for chat in chats}
    assert all(name.startswith("ThreadPoolExecutor") for name in threads)


def test_a_chat_waits_for_a_function_that_is_a_window_behind(
    connect: Callable[..., Client], pool: ThreadPoolExecutor
) -> None:
    inbox, gate = Inbox(), threading.Event()

    def take(message: Any) -> None:
        wait(gate)
        inbox.tell(message)

    subscriber: Any = to_function(take, pool)
    with Server(answering(*WORDS)) as server:
        chat = connect(server, window=16).chat(**ASK, stream=subscriber)
        until_blocked(chat)
        assert len(subscriber._messages) == 16
        gate.set()
        assert text_of(inbox.until_end()) == "".join(WORDS)


def test_a_cancel_is_not_held_up_by_a_function_in_an_executor(
    connect: Callable[..., Client], pool: ThreadPoolExecutor
) -> None:
    inbox, gate = Inbox(), threading.Event()

    def take(message: Any) -> None:
        wait(gate)
        inbox.tell(message)

    with Server(answering(*WORDS)) as server:
        chat = connect(server, window=4).chat(**ASK, stream=to_function(take, pool))
        until_blocked(chat)
        chat.cancel()
        wait(chat.actor_stopped)
        gate.set()
        assert isinstance(inbox.until_end()[-1], ChatCancelled)


def test_two_functions_take_turns_on_one_thread(connect: Callable[..., Client]) -> None:
    gate, one, two = threading.Event(), Inbox(), Inbox()
    before: list[int] = []

    def slowly(message: Any) -> None:
        wait(gate)
        one.tell(message)

    def counting(message: Any) -> None:
        before.append(one.queue.qsize())
        two.tell(message)

    with ThreadPoolExecutor(1) as pool, Server(answering(*WORDS)) as server:
        first = to_function(slowly, pool)
        client = connect(server, window=10)
        until_blocked(client.chat(**ASK, stream=first))
        client.chat(**ASK, stream=to_function(counting, pool))
        until(pool._work_queue.qsize)
        gate.set()
        two.until_end()
        assert before[0] <= 10
        one.until_end()


@pytest.mark.parametrize("on_a_pool", [False, True])
def test_a_function_that_raises_is_told_nothing_more_and_its_chats_are_cancelled(
    on_a_pool: bool,  # noqa: FBT001
    connect: Callable[..., Client],
    pool: ThreadPoolExecutor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Any] = []
    both_follow = threading.Event()

    def take(message: Any) -> None:
        told.append(message)
        if len(told) == 3:
            raise SystemExit

    def script(peer: Peer) -> None:
        """Answer one of the chats alone: without an executor, the function is called in both of their threads."""
        wait(both_follow)
        if peer.number == 1:
            stalling(peer)
        peer.wait_for_hang_up()

    subscriber = to_function(take, pool if on_a_pool else None)
    with Server(script) as server, caplog.at_level(logging.ERROR):
        client = connect(server)
        chats = [client.chat(**ASK, stream=subscriber), client.chat(**ASK, stream=subscriber)]
        both_follow.set()
        for chat in chats:
            wait(chat.actor_stopped)
            with pytest.raises(CancelledError, match="no subscriber is left"):
                chat.result()
    subscriber.tell("too late")
    assert len(told) == 3
    assert caplog.text.count("failed to take a message and is told nothing more") == 1
    assert "SystemExit" in caplog.text


def test_others_of_a_chat_go_on_when_a_function_raises(connect: Callable[..., Client], pool: Any) -> None:
    inbox = Inbox()

    def take(message: Any) -> None:
        raise ZeroDivisionError

    with Server(answering(*WORDS)) as server:
        chat = connect(server).chat(**ASK, stream=inbox)
        chat.subscribe(to_function(take))
        chat.subscribe(to_function(take, pool))
        assert text_of(inbox.until_end()) == "".join(WORDS)


def test_what_was_told_before_an_executor_is_shut_down_is_handled(connect: Callable[..., Client]) -> None:
    inbox, gate = Inbox(), threading.Event()

    def take(message: Any) -> None:
        wait(gate)
        inbox.tell(message)

    pool = ThreadPoolExecutor(1)
    subscriber: Any = to_function(take, pool)
    with Server(answering(*WORDS[:150])) as server:
        chat = connect(server).chat(**ASK, stream=subscriber)
        wait(chat.actor_stopped)
        pool.shutdown(wait=False)
        gate.set()
        pool.shutdown()
    assert text_of(inbox.until_end()) == "".join(WORDS[:150])
    until(lambda: not subscriber.is_alive())


def test_an_executor_that_was_shut_down_has_left(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=to_function(print, pool))
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result()
    assert "cannot schedule new futures after shutdown" in caplog.text


def test_an_executor_that_cancels_what_waits_for_it_has_left(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    pool = ThreadPoolExecutor(1)
    pool.submit(wait, gate)
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=to_function(print, pool))
        until(pool._work_queue.qsize)
        pool.shutdown(wait=False, cancel_futures=True)
        wait(chat.actor_stopped)
    assert "is told nothing more" in caplog.text
    gate.set()
    pool.shutdown()


class Inline(Executor):
    """Runs what is submitted at once, on the thread that submits it."""

    def submit(self, call: Any, /, *given: Any, **named: Any) -> Any:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*given, **named))
        except Exception as exc:  # noqa: BLE001
            future.set_exception(exc)
        return future


def test_an_executor_may_run_it_at_once(connect: Callable[..., Client]) -> None:
    inbox = Inbox()
    with Server(answering(*WORDS)) as server:
        connect(server).chat(**ASK, stream=to_function(inbox.tell, Inline()))
        assert text_of(inbox.until_end()) == "".join(WORDS)


def test_a_function_may_subscribe_and_cancel(connect: Callable[..., Client], pool: ThreadPoolExecutor) -> None:
    late = Inbox()
    ended = threading.Event()

    def take(message: Any) -> None:
        if isinstance(message, TERMINAL):
            ended.set()
        elif message.data["type"] == "content_block_delta":
            message.chat.subscribe(late)
            message.chat.cancel("seen enough")

    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=to_function(take, pool))
        wait(ended)
        assert isinstance(late.until_end()[-1], ChatCancelled)
        with pytest.raises(CancelledError, match="seen enough"):
            chat.result(DEADLINE)


def test_result_in_a_function_of_an_executor_is_refused(
    connect: Callable[..., Client], pool: ThreadPoolExecutor
) -> None:
    found: list[Any] = []

    def wait_for_it(message: Any) -> None:
        if isinstance(message, ChatDone):
            found.append(message.chat.result(DEADLINE)["stop_reason"])  # it is there by now
        elif not found:
            with pytest.raises(DeadlockError, match="the thread that handles what a subscriber of the chat is told"):
                message.chat.result(DEADLINE)
            found.append("refused")

    subscriber: Any = to_function(wait_for_it, pool)
    with Server(answering(*WORDS)) as server:
        chat = connect(server).chat(**ASK, stream=subscriber)
        assert chat.result(DEADLINE)
        until(lambda: len(found) == 2)
    assert found == ["refused", "end_turn"]
    until(lambda: subscriber.handled_in is None)


def test_a_subscriber_starts_afresh_in_a_forked_child(pool: ThreadPoolExecutor) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    subscriber: Any = to_function(told.put, pool)
    subscriber._submitted = True  # and the executor's thread does not run there
    subscriber.tell("of the parent")
    subscriber.after_fork()
    subscriber.tell("of the child")
    assert told.get(timeout=DEADLINE) == "of the child"


def test_what_is_no_executor_of_threads_is_refused() -> None:
    other: Any = "pool"
    with pytest.raises(ParameterError, match=r"executor: expected an executor of threads, .* got str$"):
        to_function(print, other)
    with pytest.raises(ParameterError, match=r"got the class ThreadPoolExecutor; pass an object of it"):
        to_function(print, ThreadPoolExecutor)  # type: ignore[arg-type]
    with ProcessPoolExecutor(1) as processes, pytest.raises(ParameterError, match="cannot go to another process"):
        to_function(print, processes)


def test_it_shows_its_function() -> None:
    assert repr(to_function(print)) == "to_function(<built-in function print>)"
    assert to_function.__module__ == "anthropix_actors.subscribers"
