"""What a subscriber's, a ledger's or a logger's code may do, and what it may not do to anybody else."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import logging
import queue
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import (
    AnthropixError,
    APITimeoutError,
    CancelledError,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    Client,
    ConfigurationError,
    DeadlockError,
    ParameterError,
    Timeout,
    as_completed,
)
from anthropix_actors._cancel import scope as _scope
from anthropix_actors._cancel.scope import SLICE, CancelScope
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._tasks import waits as _waits
from anthropix_actors._tasks.actor import TaskActor
from anthropix_actors._tasks.audience import Audience
from anthropix_actors._tasks.delivery import Delivery
from anthropix_actors._tasks.task import PATIENCE, Task
from anthropix_actors.chat.coalescing import CoalescingMailbox
from anthropix_actors.chat.task import ChatTask
from anthropix_actors.limits.governor import Governor, GovernorThrottle

from actors import (
    ASK,
    ENTERS_THE_CLIENT,
    STARTS_A_THREAD,
    TERMINAL,
    Blocking,
    Inbox,
    Mortal,
    Reader,
    SlowEnd,
    deliveries_of,
    is_being_asked,
    no_thread_for,
    running_in,
    task_of,
    text_of,
    until_at_rest,
    until_blocked,
    until_told,
    waiting_in,
    watched,
)
from interrupts import interrupted_at
from programs import BEGUN
from servers import (
    BUSY,
    DEADLINE,
    Always,
    Gated,
    Halt,
    Peer,
    Replies,
    Server,
    Turnstile,
    acquire,
    answer,
    answering,
    chunks,
    error_body,
    head,
    json_answer,
    stalling,
    text_delta,
    until,
    wait,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import FrameType


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    blocking = Blocking()
    yield blocking
    blocking.let.set()


# One subscriber and the others


def test_a_tell_that_blocks_keeps_nobody_else_from_the_end(connect: Callable[..., Client], blocking: Blocking) -> None:
    with Server(answering("Hi")) as server:
        client, other = connect(server), Inbox()
        chat = client.chat(**ASK, stream=blocking)
        wait(blocking.began)
        chat.subscribe(other)
        assert chat.cancel("enough")
        assert other.until_end()[-1].reason == "enough"
        with pytest.raises(CancelledError, match="enough"):
            chat.result(timeout=DEADLINE)
        blocking.let.set()
        assert blocking.until_end()[-1].reason == "enough"
        until(lambda: not chat.is_alive())


def test_a_last_tell_that_blocks_keeps_nobody_else_from_the_end(connect: Callable[..., Client]) -> None:
    let = threading.Event()

    class BlocksAtTheEnd(Inbox):
        def tell(self, message: Any, /) -> None:
            if isinstance(message, TERMINAL):
                wait(let)
            super().tell(message)

    script = Gated(answer("Hi"), 0)
    with Server(script) as server:
        first, second = BlocksAtTheEnd(), Inbox()
        chat = connect(server).chat(**ASK, stream=first)
        chat.subscribe(second)
        script.go_on.set()
        assert isinstance(second.until_end()[-1], ChatDone)
        assert chat.result(timeout=DEADLINE)["stop_reason"] == "end_turn"
        let.set()
        assert isinstance(first.until_end()[-1], ChatDone)


def test_a_tell_that_blocks_gives_its_turn_away_when_its_chat_is_cancelled(
    connect: Callable[..., Client], blocking: Blocking
) -> None:
    with Server(answering("Hi")) as server:
        client = connect(server, max_concurrency=1)
        chat = client.chat(**ASK, stream=blocking)
        wait(blocking.began)
        chat.cancel()
        assert client.chat(**ASK, timeout=DEADLINE)["stop_reason"] == "end_turn"
        until(lambda: not client.chats())
        assert chat.is_alive()  # its `tell` has not returned


def test_a_timeout_ends_a_chat_whose_tell_blocks(connect: Callable[..., Client], blocking: Blocking) -> None:
    with Server(answering("Hi")) as server:
        chat = connect(server).chat(**ASK, stream=blocking, timeout=Timeout(total=0.2))
        with pytest.raises(APITimeoutError, match=r"timeout\.total"):
            chat.result(timeout=DEADLINE)
        with pytest.raises(pykka.Timeout, match=r"^0\.0 seconds$"):  # of its time, nothing is left
            chat.stop(timeout=0)
        assert chat.stop()  # does not wait for what never returns


def test_a_replay_that_blocks_holds_no_lock_and_loses_nothing(
    connect: Callable[..., Client], blocking: Blocking
) -> None:
    with Server(Gated(answer("Hi", " there"), go_on=blocking.began)) as server:
        inbox = Inbox()
        chat = connect(server).chat(**ASK, stream=inbox)
        for _ in range(3):
            inbox.next()
        chat.subscribe(blocking)
        assert chat.result(timeout=DEADLINE)["stop_reason"] == "end_turn"
        assert chat.snapshot() is not None
        assert isinstance(inbox.until_end()[-1], ChatDone)
        assert blocking.queue.empty()
        until(lambda: task_of(chat).thread is None)  # it looks no more who has been told
        blocking.let.set()
        assert text_of(blocking.until_end()) == "Hi there"
        until_told(chat)
        assert deliveries_of(chat) == ()


def test_a_chat_waits_for_a_replay_that_is_far_behind_and_can_be_cancelled(
    connect: Callable[..., Client], blocking: Blocking
) -> None:
    with Server(Gated(answer(*"abcdefghijklmnop"), go_on=blocking.began)) as server:
        inbox = Inbox()
        chat = connect(server, window=4).chat(**ASK, stream=inbox)
        for _ in range(3):
            inbox.next()
        chat.subscribe(blocking)
        until_blocked(chat)
        blocking.let.set()
        assert text_of(blocking.until_end()) == "abcdefghijklmnop"
        assert text_of(inbox.until_end()) == "abcdefghijklmnop"


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_a_replay_raises_is_the_subscribers(
    connect: Callable[..., Client], error: type[BaseException]
) -> None:
    class Raising:
        told = threading.Event()

        def tell(self, message: Any, /) -> None:
            self.told.set()
            raise error(str(message)[:5])

    with Server(answering("Hi")) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        chat.result(timeout=DEADLINE)
        raising = Raising()
        chat.subscribe(raising)
        wait(raising.told)
        assert chat.result()["stop_reason"] == "end_turn"


def test_one_whose_replay_failed_keeps_no_chat_going(connect: Callable[..., Client]) -> None:
    class Bad(Inbox):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            raise ValueError(message)

    with Server(stalling) as server:
        inbox, bad = Inbox(), Bad()
        chat = connect(server).chat(**ASK, stream=inbox)
        inbox.until(ChatEvent)
        chat.subscribe(bad)
        bad.next()
        chat.unsubscribe(inbox)
        wait(chat.actor_stopped)
    assert chat.state == "cancelled"


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_ledger_that_raises_anything_keeps_nobody_from_the_end(
    connect: Callable[..., Client], error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def tell(self, message: Any, /) -> None:
            raise error(str(message)[:5])

    with Server(answering("Hi")) as server:
        inbox = Inbox()
        chat = connect(server, ledger=Broken()).chat(**ASK, stream=inbox)
        assert isinstance(inbox.until_end()[-1], ChatDone)
        assert chat.result(timeout=DEADLINE)["stop_reason"] == "end_turn"
    assert any("Broken" in record.getMessage() for record in caplog.records)


def test_a_ledger_that_blocks_keeps_nobody_from_the_end(connect: Callable[..., Client], blocking: Blocking) -> None:
    with Server(answering("Hi")) as server:
        inbox = Inbox()
        chat = connect(server, ledger=blocking).chat(**ASK, stream=inbox)
        assert isinstance(inbox.until_end()[-1], ChatDone)
        assert chat.result(timeout=DEADLINE)["stop_reason"] == "end_turn"
        assert blocking.queue.empty()
        blocking.let.set()
        assert isinstance(blocking.next(), ChatDone)
        until(lambda: not chat.is_alive())
        assert blocking.queue.empty()


def test_what_blocks_before_the_ledger_does_not_keep_the_end_from_it(
    connect: Callable[..., Client], blocking: Blocking
) -> None:
    with Server(answering("Hi")) as server:
        ledger = Inbox()
        chat = connect(server, ledger=ledger).chat(**ASK, stream=blocking)
        wait(blocking.began)
        chat.cancel("enough")
        assert isinstance(ledger.next(), ChatCancelled)
        blocking.let.set()
        until(lambda: not chat.is_alive())
        assert ledger.queue.empty()


def test_a_ledger_that_blocks_keeps_neither_the_logger_nor_the_interpreters_exit_from_the_end(
    connect: Callable[..., Client], blocking: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anthropix_actors")
    with Server(answering("Hi")) as server:
        client = connect(server, ledger=blocking)
        calling = threading.Thread(target=partial(client.chat, **ASK))
        calling.start()
        wait(blocking.began)
        (chat,) = client.chats()
        assert deliveries_of(chat) == ()
        calling.join(DEADLINE)
        assert not calling.is_alive()
        until_told(chat)
        until(lambda: any(text.startswith("chat done after ") for text in caplog.messages))
        assert chat.is_alive()
        blocking.let.set()


def test_others_tell_the_end_when_the_chats_own_thread_has_had_its_time(
    connect: Callable[..., Client], blocking: Blocking
) -> None:
    with Server(answering("Hi")) as server:
        chat = connect(server).chat(**ASK, stream=blocking)
        wait(blocking.began)
        SWEEPER.unwatch(task_of(chat))
        until_at_rest()  # from now on, the test does what the sweeper did
        chat.cancel()
        for seconds, over in ((0, False), (PATIENCE / 2, False), (PATIENCE, True)):
            task_of(chat).sweep(1000.0 + seconds)
            assert task_of(chat).finished.is_set() == over
        blocking.let.set()
        assert isinstance(blocking.until_end()[-1], ChatCancelled)


# Whether a subscriber is alive


@pytest.mark.parametrize("how", ["raises", "exits", "blocks"])
def test_an_is_alive_that_goes_wrong_harms_no_other_chat(
    connect: Callable[..., Client], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    let, asked = threading.Event(), threading.Event()
    let_in_time: list[bool] = []

    class Odd(Inbox):
        def is_alive(self) -> bool:
            asked.set()
            if how == "blocks":
                let_in_time.append(let.wait(DEADLINE))
            raise ValueError if how == "raises" else SystemExit

    with Server(stalling) as server:
        client = connect(server)
        odd, mortal = client.chat(**ASK, stream=Odd()), Mortal()
        wait(asked)
        chat = client.chat(**ASK, stream=mortal, tag="the other")
        with pytest.raises(APITimeoutError):
            client.chat(**ASK, timeout=Timeout(total=0.2))
        mortal.alive = False
        until(lambda: not chat.is_alive())
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result()
        assert odd.is_alive()
        let.set()
        odd.cancel()
    assert False not in let_in_time, "another chat waited for it"
    until(lambda: any("stopped before what it followed" in text for text in caplog.messages))  # another thread says it


def test_a_thread_that_has_not_started_is_not_dead(connect: Callable[..., Client]) -> None:
    class Worker(threading.Thread):
        def __init__(self) -> None:
            super().__init__()
            self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def tell(self, message: Any, /) -> None:
            self.inbox.put(message)

        def run(self) -> None:
            while not isinstance(self.inbox.get(timeout=DEADLINE), TERMINAL):
                pass

    with Server(stalling) as server:
        worker = Worker()
        chat = connect(server).chat(**ASK, stream=worker)
        (delivery,) = deliveries_of(chat)
        until(lambda: is_being_asked(delivery))
        until(lambda: not is_being_asked(delivery))
        assert chat.is_alive()
        worker.start()
        chat.cancel()
        worker.join(DEADLINE)
        assert not worker.is_alive()


def test_an_actor_that_dies_of_a_bug_is_named_in_a_warning(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    def bug(message: Any) -> None:
        raise ValueError(str(message)[:5])

    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=Reader.start(Inbox(), bug), tag="night")
        until(lambda: not chat.is_alive())
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result()
        until(lambda: [record for record in caplog.records if record.name == "anthropix_actors"])
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "Reader" in record.getMessage()


# Waits that would never end


class Asking(Inbox):
    """A subscriber that does something with its chat in its `tell`, once, and keeps what came of it."""

    def __init__(self, action: Callable[[Any], Any]) -> None:
        super().__init__()
        self.action = action
        self.outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.done = False

    def tell(self, message: Any, /) -> None:
        if not self.done:
            self.done = True
            try:
                self.outcome.put(self.action(message.chat))
            except BaseException as exc:  # noqa: BLE001
                self.outcome.put(exc)
        super().tell(message)


@pytest.mark.parametrize("action", ["result", "output", "as_completed", "drain", "close"])
def test_a_tell_that_waits_for_its_own_chat_is_refused(connect: Callable[..., Client], action: str) -> None:
    actions: dict[str, Callable[[Any], Any]] = {
        "result": lambda chat: chat.result(),
        "output": lambda chat: chat.output(),
        "as_completed": lambda chat: list(as_completed([chat])),
        "drain": lambda _: client.drain(),
        "close": lambda _: client.close(grace=60),
    }
    with Server(stalling) as server:
        client = connect(server)
        inbox = Asking(actions[action])
        chat = client.chat(**ASK, stream=inbox)
        error = inbox.outcome.get(timeout=DEADLINE)
        assert isinstance(error, DeadlockError)
        assert "own thread" in str(error)
        chat.cancel()
        inbox.until_end()


def test_a_tell_may_stop_its_own_chat_and_all_actors(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        actions: list[Callable[[Any], Any]] = [lambda chat: chat.stop(), lambda _: pykka.ActorRegistry.stop_all()]
        for action in actions:
            inbox = Asking(action)
            connect(server).chat(**ASK, stream=inbox)
            assert inbox.outcome.get(timeout=DEADLINE) in (True, [True])
            assert inbox.until_end()[-1].reason == "stopped"


def test_a_handler_that_waits_for_the_chat_it_follows_is_refused_however_short_the_answer(
    connect: Callable[..., Client],
) -> None:
    outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()

    class Impatient(pykka.ThreadingActor):
        use_daemon_thread = True

        def on_receive(self, message: Any) -> None:
            if isinstance(message, ChatEvent) and message.data["type"] == "message_start":
                try:
                    outcomes.put(message.chat.result())
                except DeadlockError as exc:
                    outcomes.put(exc)
            elif isinstance(message, ChatCancelled):
                outcomes.put(message)

    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=Impatient.start())
        error = outcomes.get(timeout=DEADLINE)
        assert isinstance(error, DeadlockError)
        assert "handler" in str(error)
        chat.cancel()
        assert isinstance(outcomes.get(timeout=DEADLINE), ChatCancelled)


def test_a_handler_may_ask_for_the_result_of_a_chat_that_is_over(connect: Callable[..., Client]) -> None:
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask(message: Any) -> None:
        if isinstance(message, ChatDone):
            results.put(message.chat.result())

    with Server(answering("Hi")) as server:
        reader = Reader.start(Inbox(), ask)
        connect(server).chat(**ASK, stream=reader)
        assert results.get(timeout=DEADLINE)["stop_reason"] == "end_turn"
        reader.stop()


def test_a_result_is_there_when_all_have_been_told_so_that_an_actor_may_be_stopped(
    connect: Callable[..., Client],
) -> None:
    end = SlowEnd()
    inbox = Inbox()
    with Server(answering("Hi")) as server:
        chat = connect(server).chat(**ASK, stream=end)
        task_of(chat).patience = DEADLINE
        reader = Reader.start(inbox)
        chat.subscribe(reader)
        chat.result(DEADLINE)
        end.returned.set()
        reader.stop()
    assert end.early == [False]
    assert isinstance(inbox.until_end()[-1], ChatDone)


def test_a_nested_chat_that_would_wait_for_its_own_turn_is_refused(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anthropix_actors")
    with Server(stalling) as server:
        client = connect(server, max_concurrency=2)
        both = threading.Barrier(2)

        def nested(_: Any) -> Any:
            both.wait(DEADLINE)
            return client.chat(**ASK)

        inboxes = [Asking(nested), Asking(nested)]
        chats = [client.chat(**ASK, stream=inbox) for inbox in inboxes]
        until(lambda: any(not inbox.outcome.empty() for inbox in inboxes))
        refused = next(inbox for inbox in inboxes if not inbox.outcome.empty())
        error = refused.outcome.get(timeout=DEADLINE)
        assert isinstance(error, DeadlockError)
        assert "max_concurrency" in str(error)
        until(lambda: "chat cancelled after 0.0 s: to wait for it here would never end" in caplog.messages)
        client.close()
        for inbox in inboxes:
            inbox.until_end()
        assert all(not task_of(chat).held for chat in chats)


def test_a_loop_over_a_stream_in_a_tell_of_the_same_chat_is_refused(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(), chunks(answer("Hi")[:3]))
        wait(subscribed)
        peer.send(chunks([text_delta("more")]))
        peer.wait_for_hang_up()

    subscribed = threading.Event()
    with Server(script) as server:
        stream = connect(server).chat(**ASK, stream=True)
        until(stream.chat.snapshot)

        inbox = Asking(lambda _: list(stream))
        inbox.done = True
        stream.chat.subscribe(inbox)  # what is replayed is told on another thread
        for _ in range(3):
            inbox.next()
        inbox.done = False
        subscribed.set()
        assert isinstance(inbox.outcome.get(timeout=DEADLINE), DeadlockError)
        stream.close()


# What waits


@pytest.mark.parametrize("waiting", ["result", "loop", "as_completed", "blocking", "drain"])
def test_an_exception_thrown_into_a_waiting_thread_arrives(connect: Callable[..., Client], waiting: str) -> None:
    """As task queues do with their time limits, and development environments with their stop buttons."""

    class Stop(Exception):  # noqa: N818
        pass

    with Server(stalling) as server:
        client: Any = connect(server)
        arrived = threading.Event()
        entered = threading.Event()

        def run() -> None:
            actions: dict[str, Callable[[], Any]] = {
                "result": lambda: client.chat(**ASK, stream=Inbox()).result(),
                "loop": lambda: list(client.chat(**ASK, stream=True)),
                "as_completed": lambda: list(as_completed([client.chat(**ASK, stream=Inbox())])),
                "blocking": partial(client.chat, **ASK),
                "drain": lambda: (client.chat(**ASK, stream=Inbox()), client.drain()),
            }
            entered.set()
            try:
                actions[waiting]()
            except Stop:
                arrived.set()

        thread = threading.Thread(target=run)
        thread.start()
        wait(entered)
        until(lambda: any(chat.snapshot() for chat in client.chats()))
        assert (
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Stop)) == 1
        )
        wait(arrived)
        thread.join(DEADLINE)


def test_a_result_that_is_given_up_ends_a_chat_whose_subscriber_has_gone(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        reader = Reader.start(Inbox())
        chat = connect(server).chat(**ASK, stream=reader)
        until(chat.snapshot)

        def give_up() -> None:
            with pytest.raises(TimeoutError, match="no subscriber is left"):
                chat.result(timeout=1.0)

        waiting = threading.Thread(target=give_up)
        waiting.start()
        until(lambda: task_of(chat).audience.waiting)
        reader.stop()
        until(lambda: not deliveries_of(chat))
        assert chat.is_alive()
        waiting.join(DEADLINE)
        until(lambda: not chat.is_alive())
        assert chat.state == "cancelled"


def test_a_result_is_waited_for_longer_than_one_slice(connect: Callable[..., Client]) -> None:
    script = Gated(answer("Hi"))
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        threading.Timer(1.5 * SLICE, script.go_on.set).start()
        assert chat.result(timeout=DEADLINE)["stop_reason"] == "end_turn"


def test_a_result_that_runs_out_tells_the_truth(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        with pytest.raises(TimeoutError, match="it goes on"):
            chat.result(timeout=0.01)
        assert chat.is_alive()
        chat.cancel()


# Unsubscribing


def test_to_stop_is_to_wait_for_as_long_as_asked_or_for_a_future(
    connect: Callable[..., Client], blocking: Blocking
) -> None:
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=blocking)
        wait(blocking.began)
        with pytest.raises(pykka.Timeout):
            chat.stop(timeout=0.01)
        stopped = chat.stop(block=False)
        blocking.let.set()
        assert stopped.get(timeout=DEADLINE)


@pytest.mark.alone
def test_a_wait_takes_no_longer_than_asked(connect: Callable[..., Client]) -> None:
    start = time.monotonic()
    assert not _waits.wait(threading.Event(), start + 0.01)
    assert time.monotonic() - start < 0.4  # not a slice
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            list(as_completed([chat], timeout=0.01))
        assert time.monotonic() - start < 0.4


@pytest.mark.parametrize("timeout", [None, DEADLINE], ids=["for ever", "for some time"])
def test_a_loop_over_works_waits_many_slices(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    monkeypatch.setattr(_scope, "SLICE", 0.001)
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        threading.Timer(0.1, chat.cancel).start()
        assert list(as_completed([chat], timeout)) == [chat]


def test_only_the_thread_of_an_actor_is_in_its_handler() -> None:
    class Asked(Reader):
        def ask(self) -> set[str]:
            return _waits.running_actors()

    reader = Asked.start(Inbox())
    assert _waits.running_actors() == set()
    assert reader.proxy().ask().get(timeout=DEADLINE) == {reader.actor_urn}
    reader.stop()


def test_nothing_is_told_after_unsubscribe_not_even_what_was_kept(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        inbox, other = Inbox(), Inbox()
        gate = threading.Event()
        reader = Reader.start(inbox, gate=gate)
        chat = connect(server).chat(**ASK, stream=reader, coalesce=True)
        chat.subscribe(other)
        for _ in range(3):
            other.next()
        assert any(waiting_in(delivery) for delivery in deliveries_of(chat))
        chat.unsubscribe(reader)
        gate.set()
        reader.ask({"command": "probe"}, timeout=DEADLINE)
        assert isinstance(inbox.next(), ChatEvent)  # what was in the mailbox
        assert inbox.queue.get(timeout=DEADLINE) == {"command": "probe"}
        chat.cancel()
        other.until_end()
        assert inbox.queue.empty()
        reader.stop()


def test_a_subscriber_that_leaves_when_it_hears_the_end_coming_is_not_told_it(connect: Callable[..., Client]) -> None:
    class Leaving(Inbox):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            if isinstance(message, ChatEvent) and message.data["type"] == "message_stop":
                message.chat.unsubscribe(self)

    with Server(answering("Hi")) as server:
        leaving = Leaving()
        chat = connect(server).chat(**ASK, stream=leaving)
        chat.result(timeout=DEADLINE)
        until(lambda: not chat.is_alive())
        messages = [leaving.queue.get_nowait() for _ in range(leaving.queue.qsize())]
    assert [type(message) for message in messages] == [ChatEvent] * 6


def test_unsubscribe_goes_by_identity_and_refs_by_their_actor(connect: Callable[..., Client]) -> None:
    class Equal(list[Any]):
        def tell(self, message: Any, /) -> None:
            pass

    with Server(stalling) as server:
        first, second, inbox = Equal(), Equal(), Inbox()
        chat = connect(server).chat(**ASK, stream=first)
        chat.subscribe(second)
        chat.unsubscribe(first)
        assert [delivery.subscriber is second for delivery in deliveries_of(chat)] == [True]
        reader = Reader.start(inbox)
        chat.subscribe(reader)
        chat.unsubscribe(copy.copy(reader))
        assert len(deliveries_of(chat)) == 1
        chat.cancel()
        reader.stop()


# Coalescing


def test_coalescing_keeps_what_the_api_adds_and_takes_deltas_without_a_type() -> None:
    chat: Any = object()
    inbox = Inbox()
    gate = threading.Event()
    reader = Reader.start(inbox, gate=gate)
    mailbox = CoalescingMailbox(reader, CancelScope(), 64)
    extra: Any = text_delta("c")
    extra["delta"]["logprob"] = -1
    other: Any = {**text_delta("d"), "trace": 7}
    untyped: Any = {"type": "content_block_delta", "index": 0, "delta": {"text": "e"}}
    odd: list[Any] = [{"type": "content_block_delta", "index": 0, "delta": "f"}, {"type": ["g"]}, {}]
    events: list[Any] = [text_delta("0"), text_delta("a"), text_delta("b"), extra, other, untyped, *odd]
    for event in events:
        mailbox.tell(ChatEvent(chat, event))
    gate.set()
    got = [inbox.next().data for _ in range(8)]
    assert got == [text_delta("0"), text_delta("ab"), extra, other, untyped, *odd]
    reader.stop()


def test_empty_deltas_that_wait_are_bounded_too() -> None:
    gate = threading.Event()
    reader = Reader.start(Inbox(), gate=gate)
    scope = CancelScope()
    mailbox = CoalescingMailbox(reader, scope, 8)
    event: Any = text_delta("")

    def tell() -> None:
        for _ in range(70_000):
            mailbox.tell(ChatEvent(event, event))

    telling = threading.Thread(target=tell)
    telling.start()
    until_blocked(scope)
    gate.set()
    telling.join(DEADLINE)
    assert not telling.is_alive()
    reader.stop()


def test_an_actor_with_a_bounded_mailbox_does_not_wait_for_itself(connect: Callable[..., Client]) -> None:
    class Bounded(Reader):
        @staticmethod
        def _create_actor_inbox() -> Any:
            return queue.Queue(maxsize=1)

    texts = [f"{number} " for number in range(300)]
    with Server(answering(*texts)) as server:
        for coalesce in (True, False):
            inbox = Inbox()
            reader = Bounded.start(inbox)
            connect(server).chat(**ASK, stream=reader, coalesce=coalesce)
            assert text_of(inbox.until_end()) == "".join(texts)
            reader.stop()


# Threads


def test_when_there_are_no_threads_left_those_who_wait_wait_on_or_hear_an_end(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse, script = threading.Event(), Gated(answer("Hi"))
    monkeypatch.setattr(threading.Thread, "start", no_thread_for("ChatActor", while_set=refuse))
    with Server(script) as server:
        client = connect(server, max_concurrency=2)
        inboxes = [Inbox() for _ in range(1000)]
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        acquire(script.reached)
        acquire(script.reached)
        refuse.set()
        script.go_on.set()
        ends = [inbox.until_end()[-1] for inbox in inboxes[:2]]
        assert all(isinstance(end, ChatDone) for end in ends)
        ends = [inbox.until_end()[-1] for inbox in inboxes[2:]]
        failed = [end for end in ends if isinstance(end, ChatFailed)]
        assert failed
        assert all("no thread for another chat" in str(end.error) for end in failed)
        refuse.clear()
        assert client.chat(**ASK)["stop_reason"] == "end_turn"


@pytest.mark.parametrize("ending", [True, False], ids=["while the interpreter ends", "for a while"])
def test_without_threads_the_end_of_a_chat_that_waits_is_told_all_the_same(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, *, ending: bool
) -> None:
    """From Python 3.12 on, a program that ends can start no threads; and a system may have none for a while."""
    refused, begin = threading.Semaphore(0), threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        if threading.current_thread().name.startswith("anthropix-sweeper"):
            refused.release()
        raise RuntimeError("can't start new thread")

    halt, inbox, ledger = Halt(*BEGUN), Inbox(), Inbox()
    with Server(halt) as server:
        client = connect(server, max_concurrency=1, ledger=ledger)
        first = client.chat(**ASK, stream=Inbox())
        acquire(halt.reached)
        waits = client.chat(**ASK, stream=inbox)
        with monkeypatch.context() as patch:
            patch.setattr(SWEEPER, "ending", ending)
            patch.setattr(threading.Thread, "start", refuse)
            waits.cancel("enough")
            acquire(refused)
            if ending:
                assert inbox.until_end()[-1].reason == "enough"
            else:
                acquire(refused)  # it looks again and again
                assert inbox.queue.empty()
        assert threading.Thread.start is begin
        assert ending or inbox.until_end()[-1].reason == "enough"
        assert ledger.queue.get(timeout=DEADLINE).reason == "enough"
        first.cancel()


def test_without_a_thread_a_call_is_refused_with_an_error_of_ours(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Inbox()
    client = connect("http://127.0.0.1:1", ledger=ledger)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread_for())
        with pytest.raises(AnthropixError, match="no thread to watch timeouts"):
            client.count_tokens(**ASK)
        with pytest.raises(AnthropixError, match="no thread"):
            client.chat(**ASK)
    assert not client.chats()
    assert not pykka.ActorRegistry.get_all()
    assert ledger.queue.empty()  # nothing began


def test_a_chat_that_finds_no_thread_is_an_error_for_its_caller_and_nobody_else(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, ledger = Inbox(), Inbox()
    client = connect("http://127.0.0.1:1", ledger=ledger)
    monkeypatch.setattr(threading.Thread, "start", no_thread_for("ChatActor"))
    with pytest.raises(AnthropixError, match="no thread for another chat"):
        client.chat(**ASK, stream=inbox)
    assert not watched()  # there is nothing to tell
    assert inbox.queue.empty()
    assert ledger.queue.empty()


def test_a_thread_is_named_by_its_tag_or_by_what_the_api_calls_the_request(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        client = connect(server)
        tagged, untagged = client.chat(**ASK, stream=Inbox(), tag="night"), client.chat(**ASK, stream=Inbox())
        until(tagged.snapshot)
        until(untagged.snapshot)
        names = [thread.name.partition(" ")[2] for thread in threading.enumerate() if "ChatActor" in thread.name]
        assert sorted(names) == ["night", "req_test"]
        client.close()


def test_a_subscriber_whose_repr_raises_hides_no_error(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise SystemError

        def tell(self, message: Any, /) -> None:
            raise ValueError(str(message)[:5])

    with Server(answering("Hi")) as server:
        chat = connect(server).chat(**ASK, stream=Odd())
        until(lambda: not chat.is_alive())
    assert any("<Odd, whose repr raises>" in record.getMessage() for record in caplog.records)


def program(text: str, *arguments: str, warnings: str = "error") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-W", warnings, "-c", textwrap.dedent(text), *arguments],
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )


def test_a_call_while_the_interpreter_ends_is_refused() -> None:
    done = program(
        """
        import anthropix_actors as ax

        class Upload:
            def __del__(self):
                for call in (lambda: client.files.delete("file_1", timeout=3), lambda: client.chat(**ask)):
                    try:
                        call()
                    except ax.AnthropixError as error:
                        print(error, flush=True)

        client = ax.Client("k", base_url="http://127.0.0.1:9", max_retries=0)
        ask = dict(model="m", messages=[{"role": "user", "content": "Hi"}])
        kept = Upload()
        """
    )
    assert done.stdout.splitlines() == ["the interpreter is ending; nothing more is sent"] * 2
    assert done.returncode == 0


def test_a_program_that_is_patched_after_the_import_goes_on() -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    with Server(answering("Hi")) as server:
        done = program(
            """
            import sys
            import anthropix_actors as ax
            from gevent import monkey
            monkey.patch_all()
            client = ax.Client("k", base_url=sys.argv[1], proxy="", max_retries=0)
            ask = dict(model="m", messages=[{"role": "user", "content": "Hi"}])
            print(client.chat(**ask)["stop_reason"], flush=True)
            print(len(list(client.chat(**ask, stream=True))), flush=True)
            print(client.chat(**ask, stream=type("T", (), {"tell": print})()).result(10)["stop_reason"], flush=True)
            client.close()
            """,
            server.url,
            warnings="ignore",  # gevent warns of what is tried here
        )
    assert "end_turn" in done.stdout
    assert done.returncode == 0, done.stderr


# For daemons


def test_a_client_knows_what_runs(connect: Callable[..., Client]) -> None:
    turnstile = Turnstile("Hi")
    with Server(turnstile) as server:
        client = connect(server, max_concurrency=1)
        first = client.chat(**ASK, stream=Inbox(), tag="first")
        second = client.chat(**ASK, stream=Inbox())
        until(lambda: first.state == "answering")
        assert client.chats() == (first, second)
        assert second.state == "queued"
        assert 0 < first.age < DEADLINE
        assert repr(first).startswith("<ChatRef 'first', answering, 0.")
        assert repr(first).endswith(", req_test>")
        assert f"{first} {second}".startswith("<ChatRef 'first', answering, 0.")  # print shows it, too
        assert repr(second).startswith("<ChatRef queued, 0.")
        turnstile.let.release(2)
        second.result(timeout=DEADLINE)
        until(lambda: not client.chats())
        assert (first.state, second.state) == ("done", "done")
        age = first.age
        assert age == first.age


def test_the_state_of_a_chat_says_what_it_waits_for(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        acquire(let)
        peer.send(json_answer("529 Overloaded", error_body("overloaded_error"), {"retry-after": "30"}))
        peer.wait_for_hang_up()

    let = threading.Semaphore(0)
    with Server(script) as server:
        chat = connect(server, max_retries=1).chat(**ASK, stream=Inbox())
        acquire(server.accepted)
        until(lambda: chat.state == "sent")
        let.release()
        until(lambda: chat.state == "retrying")
        chat.cancel()
        until(lambda: chat.state == "cancelled")
        failed = connect("http://127.0.0.1:1").chat(**ASK, stream=Inbox())
        until(lambda: failed.state == "failed")


def test_a_chat_that_waits_for_the_apis_limits_is_queued(connect: Callable[..., Client]) -> None:
    governor = Governor()
    ahead = GovernorThrottle(governor, ASK, CancelScope(), patience=60, usage=lambda: None)
    ahead.acquire()
    limits = {"anthropic-ratelimit-requests-limit": "1", "anthropic-ratelimit-requests-remaining": "0"}
    ahead.on_response(limits)
    chat = connect("http://127.0.0.1:1", governor=governor).chat(**ASK, stream=Inbox())
    until_blocked(chat)
    assert chat.state == "queued"
    chat.cancel()


def test_draining_takes_nothing_new_and_lets_what_runs_and_waits_end(connect: Callable[..., Client]) -> None:
    turnstile = Turnstile("Hi")
    with Server(turnstile) as server:
        client = connect(server, max_concurrency=1)
        inboxes = [Inbox() for _ in range(3)]
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        acquire(turnstile.reached)
        assert client.drain(timeout=0.01) is False
        with pytest.raises(ConfigurationError, match="being drained"):
            client.chat(**ASK)
        with pytest.raises(ConfigurationError, match="being drained"):
            client.count_tokens(**ASK)
        turnstile.let.release(3)
        assert client.drain() is True
        assert all(isinstance(inbox.until_end()[-1], ChatDone) for inbox in inboxes)
        client.close()
        with pytest.raises(ConfigurationError, match="closed"):
            client.chat(**ASK)


@pytest.mark.parametrize("ends", [True, False])
def test_closing_with_a_grace_lets_what_runs_end_and_cancels_the_rest(
    connect: Callable[..., Client], *, ends: bool
) -> None:
    closing = threading.Event()
    with Server(Gated(answer("Hi"), go_on=closing) if ends else stalling) as server:
        client = connect(server)
        inbox = Inbox()
        client.chat(**ASK, stream=inbox)
        closer = threading.Thread(target=lambda: client.close(grace=DEADLINE if ends else 0.1))
        closer.start()
        closing.set()
        closer.join(2 * DEADLINE)
        assert isinstance(inbox.until_end()[-1], ChatDone if ends else ChatCancelled)


def test_after_a_grace_all_that_was_cancelled_has_been_told(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        client = connect(server)
        inboxes = [Inbox() for _ in range(8)]
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        client.close(grace=0.01)
        for inbox in inboxes:
            messages = [inbox.queue.get_nowait() for _ in range(inbox.queue.qsize())]
            assert isinstance(messages[-1], ChatCancelled)


@pytest.mark.parametrize(("call", "name"), [("close", "grace"), ("drain", "timeout")])
@pytest.mark.parametrize("value", [-1, "1", True, float("nan")])
def test_what_is_no_time_is_refused(connect: Callable[..., Client], call: str, name: str, value: Any) -> None:
    client = connect("http://127.0.0.1:1")
    with pytest.raises(ParameterError, match=f"{name}: expected seconds from 0"):
        getattr(client, call)(**{name: value})


def test_a_client_may_be_closed_while_calls_begin_and_end(connect: Callable[..., Client]) -> None:
    def call(client: Client) -> None:
        with contextlib.suppress(AnthropixError):
            while True:
                client.models.retrieve("m")

    with Server(Always(json_answer("200 OK", {"id": "m"}))) as server:
        for _ in range(5):
            client = connect(server)
            callers = [threading.Thread(target=call, args=(client,)) for _ in range(8)]
            for caller in callers:
                caller.start()
            until(partial(running_in, client))
            client.close()
            for caller in callers:
                caller.join(DEADLINE)
                assert not caller.is_alive()


def test_a_done_callback_is_called_once_with_the_chat_whatever_becomes_of_it(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    def bad(chat: Any) -> None:
        raise SystemExit(chat.state)

    with Server(answering("Hi")) as server:
        client = connect(server)
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        chat = client.chat(**ASK, stream=Inbox())
        chat.add_done_callback(bad)
        chat.add_done_callback(ended.put)
        assert ended.get(timeout=DEADLINE) is chat
        assert chat.state == "done"
        chat.add_done_callback(ended.put)  # at once
        assert ended.get_nowait() is chat
        chat.add_done_callback(bad)
        assert ended.empty()
    until(lambda: sum("the done callback" in record.getMessage() for record in caplog.records) == 2)


def test_what_cannot_be_called_or_waited_for_is_refused_at_once(connect: Callable[..., Client]) -> None:
    with Server(answering("Hi")) as server:
        client = connect(server)
        chat = client.chat(**ASK, stream=Inbox())
        with pytest.raises(ParameterError, match="callback: expected a function that takes this ref, got int"):
            chat.add_done_callback(5)  # type: ignore[arg-type]
        with client.chat(**ASK, stream=True) as stream:
            with pytest.raises(ParameterError, match=r"works: expected the ref of .* stream\.chat\), got Stream"):
                list(as_completed([chat, stream]))
            assert list(as_completed([stream.chat], timeout=DEADLINE)) == [stream.chat]


def test_a_done_callback_that_blocks_keeps_the_next_one_from_nothing(connect: Callable[..., Client]) -> None:
    let, ended = threading.Event(), threading.Event()
    with Server(answering("Hi")) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        chat.add_done_callback(lambda _: wait(let))
        chat.add_done_callback(lambda _: ended.set())
        wait(ended)
        let.set()


def test_chats_come_as_they_end(connect: Callable[..., Client]) -> None:
    turnstile = Turnstile("Hi")
    with Server(turnstile) as server:
        client = connect(server)
        chats = [client.chat(**ASK, stream=Inbox(), tag=str(number)) for number in range(3)]
        with pytest.raises(TimeoutError, match="3 of 3 tasks"):
            list(as_completed(chats, timeout=0.01))
        coming = as_completed([*chats, chats[0]], timeout=DEADLINE)
        turnstile.let.release()
        first = next(coming)
        assert first.state == "done"
        turnstile.let.release(2)
        assert {first, *coming} == set(chats)
        assert not any(task_of(chat).audience.waiting for chat in chats)
        assert list(as_completed([])) == []


def test_the_logger_says_what_ended_and_what_is_sent_again(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anthropix_actors")
    with Server(Replies(BUSY, whole("Hi"))) as server:
        chat = connect(server, max_retries=1).chat(**ASK, stream=Inbox(), tag="night")
        until(lambda: not chat.is_alive())
        until(lambda: task_of(chat).thread is None)  # the actor's thread writes no other record
    again, end = [record for record in caplog.records if record.name == "anthropix_actors"]
    assert again.levelname == end.levelname == "INFO"
    fields: Any = again.__dict__
    assert (fields["work"], fields["tag"], fields["request_id"], fields["attempts"], fields["status"]) == (
        "chat",
        "night",
        "req_test",
        1,
        529,
    )
    assert again.getMessage().startswith("chat 'night' is sent again in 0.0 s, after OverloadedError")
    assert end.getMessage().startswith("chat 'night' done after ")
    fields = end.__dict__
    assert (fields["state"], fields["attempts"], fields["status"], fields["seconds"] >= 0) == ("done", 2, 200, True)
    task = task_of(chat)
    task.began, task.ended = 1.0, 3.14159
    assert task.fields()["seconds"] == 2.142
    assert "test-secret" not in caplog.text


def test_a_handler_of_the_logger_that_raises_or_blocks_harms_no_chat(connect: Callable[..., Client]) -> None:
    let = threading.Event()

    class Odd(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.INFO:
                wait(let)
            raise SystemError

    logger = logging.getLogger("anthropix_actors")
    level, odd = logger.level, Odd()
    logger.addHandler(odd)
    logger.setLevel(logging.INFO)
    try:
        with Server(answering("Hi")) as server:
            inbox = Inbox()
            chat = connect(server).chat(**ASK, stream=inbox)
            assert isinstance(inbox.until_end()[-1], ChatDone)
            assert chat.result(timeout=DEADLINE)["stop_reason"] == "end_turn"
            let.set()
            until(lambda: not chat.is_alive())
    finally:
        logger.removeHandler(odd)
        logger.setLevel(level)


def test_a_delivery_knows_whether_all_was_told() -> None:
    inbox = Inbox()
    delivery = Delivery(inbox, CancelScope())
    delivery.close("end")
    assert delivery.is_held_up
    assert not delivery.is_told
    delivery.drain()
    assert delivery.is_told
    delivery.tell_all(["late"])
    assert inbox.next() == "end"


def test_messages_that_come_while_another_thread_tells_are_told_in_order_by_that_thread() -> None:
    blocking = Blocking()
    delivery = Delivery(blocking, CancelScope(), 4)
    delivery.put("a")
    draining = threading.Thread(target=delivery.drain)
    draining.start()
    wait(blocking.began)
    delivery.tell_all(["b", "c"])
    blocking.let.set()
    draining.join(DEADLINE)
    assert [blocking.next() for _ in range(3)] == ["a", "b", "c"]


def test_the_logger_says_how_calls_and_loops_went(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    script = Replies(
        BUSY,
        json_answer("200 OK", {"input_tokens": 3}),
        json_answer("404 Not Found", error_body("not_found_error")),
        json_answer("200 OK", b"abc"),
    )
    caplog.set_level(logging.DEBUG, "anthropix_actors")
    with Server(script) as server:
        client = connect(server, max_retries=1)
        client.count_tokens(**ASK)
        with pytest.raises(AnthropixError):
            client.models.retrieve("m", max_retries=0)
        assert b"".join(client.request("GET", "/models", params={"limit": 1}, stream=True)) == b"abc"
    records: list[Any] = [record for record in caplog.records if record.name == "anthropix_actors"]
    texts = [f"{record.levelname} {record.getMessage()}" for record in records]
    counting = "POST /v1/messages/count_tokens"
    assert texts[:3] == [
        f"DEBUG {counting} is sent",
        f"DEBUG {counting} is answered with 529",
        texts[2],
    ]
    assert texts[2].startswith("INFO call is sent again in 0.0 s, after OverloadedError: ")
    assert texts[5].startswith(f"INFO {counting} done after ")
    assert texts[8].startswith("INFO GET /v1/models/m failed after ")
    assert "NotFoundError" in texts[8]
    assert texts[9:11] == ["DEBUG GET /v1/models is sent", "DEBUG GET /v1/models is answered with 200"]
    assert texts[11].startswith("INFO GET /v1/models done after ")
    assert [(record.work, record.attempts) for record in records[2:6:3]] == [("call", 1), ("call", 2)]
    assert [(record.state, record.status) for record in (records[5], records[8])] == [("done", 200), ("failed", 404)]


def test_whoever_was_told_the_end_may_ask_for_the_result_of_a_slow_ledger(connect: Callable[..., Client]) -> None:
    """A mailbox that coalesces is emptied by the actor itself, perhaps while the ledger is being told."""
    outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()
    told = threading.Event()

    class Slow:
        def tell(self, _: object, /) -> None:
            told.set()
            threading.Event().wait(0.15)

    class Asks(pykka.ThreadingActor):
        use_daemon_thread = True

        def on_receive(self, message: Any) -> None:
            if isinstance(message, TERMINAL):
                try:
                    outcomes.put(message.chat.result(timeout=DEADLINE)["stop_reason"])
                except BaseException as exc:  # noqa: BLE001
                    outcomes.put(exc)
            else:
                wait(told)  # busy until the end is being booked

    with Server(answering("a", "b")) as server:
        actor = Asks.start()
        connect(server, ledger=Slow()).chat(**ASK, stream=actor, coalesce=True)
        assert outcomes.get(timeout=DEADLINE) == "end_turn"
        actor.stop()


class Held(logging.Handler):
    """A handler of pykka's logger that does something when the first actor starts."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self.action = action
        self.done = False

    def handle(self, record: logging.LogRecord) -> bool:  # without the lock of a handler, which Python looks after
        if not self.done and "Starting ChatActor" in record.getMessage():
            self.done = True
            self.action()
        return True


@contextlib.contextmanager
def when_one_starts(action: Callable[[], object]) -> Generator[None]:
    logger, handler = logging.getLogger("pykka"), Held(action)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_a_log_handler_that_blocks_while_a_chat_starts_holds_up_that_chat_alone(connect: Callable[..., Client]) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def block() -> None:
        inside.set()
        wait(go_on)

    with Server(stalling) as server:
        client = connect(server, timeout=0.5)
        first = client.chat(**ASK, stream=Inbox())
        heard: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def held_up() -> None:
            try:
                client.chat(**ASK)
            except AnthropixError as exc:
                heard.put(exc)

        with when_one_starts(block):
            thread = threading.Thread(target=held_up)
            thread.start()
            wait(inside)
            try:
                with pytest.raises(APITimeoutError):
                    first.result(timeout=DEADLINE)
                last = Inbox()

                def close() -> None:
                    client.chat(**ASK, stream=last)
                    client.close()

                closing = threading.Thread(target=close, daemon=True)
                closing.start()
                closing.join(2)
                assert not closing.is_alive()
                last.until_end()
            finally:
                go_on.set()
        thread.join(DEADLINE)
        assert isinstance(heard.get(timeout=DEADLINE), ConfigurationError)


def test_a_client_that_is_closed_while_a_chat_starts_does_not_take_it(connect: Callable[..., Client]) -> None:
    client = connect("http://127.0.0.1:1")
    with when_one_starts(client.close), pytest.raises(ConfigurationError, match="the client is closed"):
        client.chat(**ASK, stream=Inbox())
    assert client.chats() == ()
    assert client.drain(timeout=1)


def test_looking_for_what_has_ended_again_and_again_leaves_nothing_behind(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        for _ in range(3):
            with pytest.raises(TimeoutError, match="1 of 1 tasks"):
                list(as_completed([chat], timeout=0))
        assert task_of(chat).audience.callbacks == ()
        chat.cancel()
        assert list(as_completed([chat, chat], timeout=DEADLINE)) == [chat]


# Where there is no thread, and where an interrupt falls


def test_who_subscribes_when_there_is_no_thread_is_told_by_the_one_that_subscribes(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(stalling) as server:
        first, second = Inbox(), Inbox()
        chat = connect(server).chat(**ASK, stream=first)
        until(lambda: first.queue.qsize() == 3)
        monkeypatch.setattr(threading.Thread, "start", no_thread_for("anthropix-told"))
        chat.subscribe(second)
        assert text_of([second.next() for _ in range(3)]) == text_of([first.next() for _ in range(3)])
        chat.cancel()
        assert isinstance(second.until_end()[-1], ChatCancelled)


def test_an_interrupt_in_a_done_callback_of_this_thread_comes_out(connect: Callable[..., Client]) -> None:
    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    with Server(answering("Hi")) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        chat.result(timeout=DEADLINE)
        with pytest.raises(KeyboardInterrupt):
            chat.add_done_callback(interrupt)


def test_a_wait_in_slices_goes_on_until_its_time_is_up(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="1 of 1 tasks"):
            list(as_completed([chat], timeout=1.2 * SLICE))
        assert time.monotonic() - began >= 1.2 * SLICE
        chat.cancel()


@pytest.mark.parametrize(
    "function",
    [TaskActor.__init__, STARTS_A_THREAD, ENTERS_THE_CLIENT, ChatTask.begin],
    ids=lambda f: f.__name__,
)
def test_an_interrupt_while_a_chat_starts_leaves_none(connect: Callable[..., Client], function: Any) -> None:
    with Server(stalling) as server:
        client, inbox = connect(server), Inbox()
        with pytest.raises(KeyboardInterrupt), interrupted_at(function):
            client.chat(**ASK, stream=inbox)
        assert isinstance(inbox.until_end()[-1], ChatCancelled)
        assert client.drain(timeout=DEADLINE)
        until(lambda: not pykka.ActorRegistry.get_all())


@pytest.mark.parametrize("how", ["the exit", "a fork"])
def test_a_chat_that_an_interrupt_left_without_an_actor_keeps_nobody_from_their_end(
    connect: Callable[..., Client], how: str
) -> None:
    let, told = threading.Event(), threading.Event()

    class Holding(Inbox):
        def tell(self, message: Any, /) -> None:
            told.set()
            wait(let)
            super().tell(message)

    inbox = Holding()
    with pytest.raises(KeyboardInterrupt), interrupted_at(TaskActor.__init__):
        connect("http://127.0.0.1:1").chat(**ASK, stream=inbox)
    wait(told)
    (left,) = watched()
    if how == "the exit":
        left.cancel_and_join("the interpreter exits")(0.0)
    else:
        left.after_fork()
    let.set()
    assert isinstance(inbox.until_end()[-1], ChatCancelled)
    until(lambda: not watched())


def test_an_interrupt_while_a_chat_starts_is_told_even_without_a_thread(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, inbox = connect("http://127.0.0.1:1"), Inbox()
    monkeypatch.setattr(threading.Thread, "start", no_thread_for("anthropix"))
    with pytest.raises(KeyboardInterrupt), interrupted_at(STARTS_A_THREAD):
        client.chat(**ASK, stream=inbox)
    assert isinstance(inbox.until_end()[-1], ChatCancelled)


def test_a_thread_that_begins_after_an_interrupt_finds_the_chat_ended(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, late = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("ChatActor"):
            late.append(thread)
            raise KeyboardInterrupt
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with Server(answering("Hi")) as server:
        client, inbox = connect(server), Inbox()
        with pytest.raises(KeyboardInterrupt):
            client.chat(**ASK, stream=inbox)
        (thread,) = late
        begin(thread)
        thread.join(DEADLINE)
        assert not thread.is_alive()
        assert isinstance(inbox.until_end()[-1], ChatCancelled)
        assert server.connections == 0


def test_work_that_has_its_thread_is_not_broken_off(connect: Callable[..., Client]) -> None:
    with Server(answering("Hi")) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        chat.result(timeout=DEADLINE)
        assert not task_of(chat).abort(AnthropixError("too late"))
        assert chat.result(timeout=DEADLINE)["stop_reason"] == "end_turn"


def test_an_actors_method_may_wait_on_another_thread_than_the_actors(connect: Callable[..., Client]) -> None:
    actors: list[Any] = []

    class Waiter(pykka.ThreadingActor):
        use_daemon_thread = True

        def on_start(self) -> None:
            actors.append(self)

        def on_receive(self, message: Any) -> None:
            """Take what the chat tells."""

        def wait_for(self, chat: Any) -> Any:
            return chat.result(timeout=DEADLINE)

    with Server(answering("Hi")) as server:
        waiter = Waiter.start()
        until(lambda: actors)
        chat = connect(server).chat(**ASK, stream=waiter)
        assert actors[0].wait_for(chat)["stop_reason"] == "end_turn"
        waiter.stop()


def waits_for_the_lock(thread: threading.Thread) -> bool:
    """Return whether a thread is where it looks whether all have been told the end."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code is Audience.note_told.__code__


def test_an_end_that_is_being_settled_is_not_taken_for_delivered(connect: Callable[..., Client]) -> None:
    halfway, gate = threading.Event(), threading.Event()
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        for _ in range(3):
            inbox.next()  # all that the chat's own thread has to tell: it is not the one that settles here
        task, end = task_of(chat), ChatCancelled(chat, "enough", None)

        def settle() -> None:  # as `Task.settle`, on a thread that gets no time in the middle of it
            with task.lock:
                task.terminal, task.last = end, (end,)
                halfway.set()
                wait(gate)
                task.audience.close(end)

        def sweep() -> None:
            for seconds in range(3):
                task.sweep(time.monotonic() + seconds)

        threads = [threading.Thread(target=settle), threading.Thread(target=sweep)]
        threads[0].start()
        wait(halfway)
        threads[1].start()
        until(lambda: not threads[1].is_alive() or waits_for_the_lock(threads[1]))
        gate.set()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        task.sweep(time.monotonic() + 5)
        assert inbox.until_end()[-1] is end
        chat.cancel()


def test_a_chat_without_a_thread_is_ended_once(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        client = connect(server, max_concurrency=1)
        runs, waits = client.chat(**ASK, stream=Inbox()), client.chat(**ASK, stream=(inbox := Inbox()))
        assert task_of(waits).abort(AnthropixError("no thread"))
        assert not task_of(waits).abort(AnthropixError("too late"))
        assert str(inbox.until_end()[-1].error) == "no thread"
        runs.cancel()


def test_who_leaves_again_after_an_interrupt_leaves_no_chat_behind(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        with pytest.raises(KeyboardInterrupt), interrupted_at(Audience.cancel_if_abandoned):
            chat.unsubscribe(inbox)
        chat.unsubscribe(inbox)
        wait(chat.actor_stopped)


def test_whom_an_interrupt_kept_from_cancelling_the_chat_they_left_leaves_none_behind(
    connect: Callable[..., Client],
) -> None:
    with Server(stalling) as server:
        chat = connect(server, timeout=None).chat(**ASK, stream=(inbox := Inbox()))
        with pytest.raises(KeyboardInterrupt), interrupted_at(Audience.cancel_if_abandoned):
            chat.unsubscribe(inbox)
        wait(chat.actor_stopped)
        assert chat.state == "cancelled"


def test_an_exception_thrown_into_the_chats_thread_at_its_end_leaves_nobody_without_one(
    connect: Callable[..., Client],
) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is Task.terminal_for.__code__:
            sys.setprofile(None)
            thrown.set()
            raise Stop

    class Told(Inbox):
        def tell(self, message: Any, /) -> None:  # by the chat's own thread
            if not thrown.is_set():
                sys.setprofile(stop)
            super().tell(message)

    thrown = threading.Event()
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Told()))
        inbox.until(ChatEvent)
        chat.cancel()
        assert isinstance(inbox.until_end()[-1], ChatCancelled)
        wait(thrown)
