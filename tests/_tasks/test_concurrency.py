"""Chats that wait for their turn: `Client(max_concurrency=...)`."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any, cast

import pykka
import pytest

from anthropix_actors import (
    AnthropixError,
    CancelledError,
    CancelToken,
    ChatCancelled,
    ChatDone,
    ChatFailed,
    Client,
    ConfigurationError,
    ParameterError,
    Timeout,
)
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._tasks.concurrency import Slots
from anthropix_actors._tasks.task import Task

from actors import (
    ASK,
    STARTS_A_THREAD,
    TERMINAL,
    Inbox,
    Reader,
    no_thread_for,
    task_of,
    text_of,
    until_all_turns_are_back,
    until_at_rest,
    until_queued,
    watched,
)
from interrupts import interrupted_at
from servers import DEADLINE, Peer, Server, Turnstile, acquire, answer, answering, send_answer, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import ChatRef


class Counting(Turnstile):
    """A turnstile that repeats each question, and notes who came and how many were there at once."""

    def __init__(self) -> None:
        super().__init__(first=2)
        self.came: list[str] = []
        self.at_once = 0
        self.most = 0
        self._lock = threading.Lock()

    def events_for(self, peer: Peer) -> list[dict[str, Any]]:
        text = json.loads(peer.body)["messages"][0]["content"]
        with self._lock:
            self.came.append(text)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        return answer(text)

    def passes(self) -> None:
        with self._lock:
            self.at_once -= 1


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "claude-test", "messages": [{"role": "user", "content": text}], **more}


def start(client: Client, *texts: str) -> tuple[list[ChatRef], list[Inbox]]:
    inboxes = [Inbox() for _ in texts]
    return [client.chat(**ask(text), stream=inbox) for text, inbox in zip(texts, inboxes, strict=True)], inboxes


def test_so_many_run_at_once_and_the_others_follow_in_their_order(connect: Callable[..., Client]) -> None:
    gate, names = Counting(), [str(number) for number in range(12)]
    with Server(gate) as server:
        chats, inboxes = start(connect(server, max_concurrency=3), *names)
        for _ in range(3):
            acquire(gate.reached)
        for _ in names:
            gate.let.release()
        for name, inbox in zip(names, inboxes, strict=True):
            assert text_of(inbox.until_end()) == name
    assert gate.most == 3
    assert sorted(gate.came[:3]) == names[:3]
    assert {chat.attempts for chat in chats} == {1}


def test_one_at_a_time_is_strictly_first_come_first_served(connect: Callable[..., Client]) -> None:
    gate, names = Counting(), [str(number) for number in range(20)]
    with Server(gate) as server:
        _, inboxes = start(connect(server, max_concurrency=1), *names)
        for _ in names:
            gate.let.release()
        inboxes[-1].until_end()
    assert gate.came == names
    assert gate.most == 1


def test_a_chat_that_waits_has_no_thread_and_no_connection_and_is_told_nothing(connect: Callable[..., Client]) -> None:
    gate = Counting()
    with Server(gate) as server:
        client = connect(server, max_concurrency=1)
        start(client, "first")
        acquire(gate.reached)
        threads = threading.active_count()
        chats, inboxes = start(client, *map(str, range(100)))
        assert threading.active_count() == threads
        assert server.connections == 1
        assert all(inbox.queue.empty() for inbox in inboxes)
        assert {(chat.attempts, chat.request_id, chat.snapshot()) for chat in chats} == {(0, None, None)}
        assert all(chat.is_alive() for chat in chats)
        client.close()
        for inbox in inboxes:
            assert isinstance(inbox.until_end()[0], ChatCancelled)
        gate.let.release()


def test_a_chat_that_waits_is_cancelled_at_once_and_never_sent(connect: Callable[..., Client]) -> None:
    gate = Counting()
    with Server(gate) as server:
        chats, inboxes = start(connect(server, max_concurrency=1), "first", "second", "third")
        acquire(gate.reached)
        assert chats[1].cancel("no need any more")
        assert not chats[1].cancel()
        (cancelled,) = inboxes[1].until_end()
        assert (cancelled.reason, cancelled.partial, cancelled.usage.estimate) == ("no need any more", None, False)
        with pytest.raises(AnthropixError, match="no need any more"):
            chats[1].result(DEADLINE)
        until(lambda: not chats[1].is_alive())
        assert gate.at_once == 1  # what was cancelled has given no turn away that it did not have
        gate.let.release(2)
        assert isinstance(inboxes[2].until_end()[-1], ChatDone)
    assert gate.came == ["first", "third"]


@pytest.mark.parametrize("block", [True, False])
def test_stop_reaches_a_chat_that_waits(connect: Callable[..., Client], *, block: bool) -> None:
    gate = Counting()
    with Server(gate) as server:
        chats, inboxes = start(connect(server, max_concurrency=1), "first", "second")
        acquire(gate.reached)
        chats[1].stop(block=block, timeout=DEADLINE)
        assert inboxes[1].until_end()[0].reason == "stopped"
        gate.let.release()
        assert isinstance(inboxes[0].until_end()[-1], ChatDone)
    assert gate.came == ["first"]


@pytest.mark.parametrize("how", ["close", "stop_all"])
def test_when_everything_ends_nothing_that_waits_is_sent(connect: Callable[..., Client], how: str) -> None:
    gate = Counting()
    with Server(gate) as server:
        client = connect(server, max_concurrency=2)
        _, inboxes = start(client, *map(str, range(30)))
        for _ in range(2):
            acquire(gate.reached)
        if how == "close":
            client.close()
        else:
            pykka.ActorRegistry.stop_all(timeout=DEADLINE)
        assert all(isinstance(inbox.until_end()[-1], ChatCancelled) for inbox in inboxes)
        gate.let.release(2)
    assert len(gate.came) == 2


def test_a_waiting_chat_whose_subscriber_has_died_is_never_sent(connect: Callable[..., Client]) -> None:
    gate = Counting()
    with Server(gate) as server:
        client = connect(server, max_concurrency=1)
        start(client, "first")
        acquire(gate.reached)
        reader = Reader.start(Inbox())
        chat = client.chat(**ask("second"), stream=reader)
        reader.stop()
        until(lambda: not chat.is_alive())
        with pytest.raises(AnthropixError, match="no subscriber is left"):
            chat.result(DEADLINE)
        gate.let.release()
    assert gate.came == ["first"]


def test_a_waiting_stream_that_is_lost_is_never_sent(connect: Callable[..., Client]) -> None:
    gate = Counting()
    with Server(gate) as server:
        client = connect(server, max_concurrency=1)
        start(client, "first")
        acquire(gate.reached)
        stream = client.chat(**ask("second"), stream=True)
        chat = stream.chat
        del stream
        gc.collect()
        until(lambda: not chat.is_alive())
        gate.let.release()
    assert gate.came == ["first"]


def test_the_time_in_the_queue_does_not_count(connect: Callable[..., Client]) -> None:
    gate = Counting()
    with Server(gate) as server:
        client = connect(server, max_concurrency=1)
        start(client, "first")
        acquire(gate.reached)
        chat = client.chat(**ask("second", timeout=Timeout(total=0.2)), stream=Inbox())
        with pytest.raises(TimeoutError, match="it goes on"):
            chat.result(timeout=0.5)
        gate.let.release(2)
        assert chat.result(DEADLINE)["stop_reason"] == "end_turn"


def test_a_blocking_call_waits_for_its_turn_and_can_be_given_up(connect: Callable[..., Client]) -> None:
    gate, results = Counting(), []
    with Server(gate) as server:
        client = connect(server, max_concurrency=1)
        start(client, "first")
        acquire(gate.reached)
        caller = threading.Thread(target=lambda: results.append(client.chat(**ask("second"))["content"]))
        caller.start()
        gate.let.release(2)
        caller.join(DEADLINE)
    assert results == [[{"type": "text", "text": "second"}]]


def test_a_turn_that_finds_no_thread_fails_its_chat_and_goes_to_the_next(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, refuse = threading.Thread.start, threading.Event()

    def sometimes(thread: threading.Thread) -> None:
        if refuse.is_set() and thread.name.startswith("ChatActor"):
            refuse.clear()
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", sometimes)
    gate = Counting()
    with Server(gate) as server:
        client = connect(server, max_concurrency=1)
        refuse.set()
        with pytest.raises(AnthropixError, match="no thread for another chat"):
            client.chat(**ask("never"))
        chats, inboxes = start(client, "first", "second", "third")
        acquire(gate.reached)
        refuse.set()
        gate.let.release(2)
        (failed,) = inboxes[1].until_end()
        assert isinstance(failed, ChatFailed)
        assert "no thread for another chat" in str(failed.error)
        assert not chats[1].is_alive()
        assert isinstance(inboxes[2].until_end()[-1], ChatDone)
    assert gate.came == ["first", "third"]


@pytest.mark.parametrize("booked", [False, True])
def test_a_call_that_finds_no_thread_when_its_turn_comes_hears_so_and_so_does_the_ledger(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, *, booked: bool
) -> None:
    refuse = threading.Event()

    def call() -> None:
        try:
            client.chat(**ask("second"))
        except AnthropixError as exc:
            errors.put(exc)

    monkeypatch.setattr(threading.Thread, "start", no_thread_for("ChatActor", while_set=refuse))
    errors: queue.SimpleQueue[AnthropixError] = queue.SimpleQueue()
    gate, ledger = Counting(), Inbox()
    with Server(gate) as server:
        client = connect(server, max_concurrency=1, ledger=ledger if booked else None)
        start(client, "first")
        acquire(gate.reached)
        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        until_queued(client)
        refuse.set()
        gate.let.release()
        assert "no thread for another chat" in str(errors.get(timeout=DEADLINE))
        caller.join(DEADLINE)
        if booked:
            assert [type(ledger.next()) for _ in range(2)] == [ChatDone, ChatFailed]


def test_a_call_that_is_cancelled_and_finds_no_thread_takes_no_turn_from_those_who_come_later(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse, token = threading.Event(), CancelToken()

    def call() -> None:
        with pytest.raises(CancelledError):
            client.chat(**ask("second"), cancel=token)

    monkeypatch.setattr(threading.Thread, "start", no_thread_for("ChatActor", while_set=refuse))
    gate = Counting()
    with Server(gate) as server:
        client = connect(server, max_concurrency=1)
        _, (inbox,) = start(client, "first")
        acquire(gate.reached)
        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        until_queued(client)
        refuse.set()
        token.cancel()
        caller.join(DEADLINE)
        assert not caller.is_alive()
        refuse.clear()
        gate.let.release()
        assert isinstance(inbox.until_end()[-1], ChatDone)
        _, (later,) = start(client, "third")
        acquire(gate.reached)
        gate.let.release()
        assert isinstance(later.until_end()[-1], ChatDone)


def test_a_bounded_pool_works_through_many_chats(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request():
            send_answer(peer, json.loads(peer.body)["messages"][0]["content"])

    most = 0
    with Server(script) as server:
        _, inboxes = start(connect(server, max_concurrency=8), *map(str, range(400)))
        for number, inbox in enumerate(inboxes):
            most = max(most, sum(thread.name.startswith("ChatActor") for thread in threading.enumerate()))
            assert text_of(inbox.until_end()) == str(number)
        assert server.connections <= 9
    assert most < 50  # a thread that gives its turn away is not gone yet


def test_chats_that_are_cancelled_at_any_moment_leave_no_turn_behind(connect: Callable[..., Client]) -> None:
    with Server(answering("hello")) as server:
        client = connect(server, max_concurrency=4)
        chats, inboxes = start(client, *map(str, range(200)))
        for chat in chats[::2]:
            chat.cancel()
        for inbox in inboxes:
            assert isinstance(inbox.until_end()[-1], TERMINAL)
        until_all_turns_are_back(client)
        until_at_rest()
        assert client.chat(**ASK)["stop_reason"] == "end_turn"


# The turns alone


class Work:
    """What waits for a turn, as the slots see it."""

    cancel_first = False

    def __init__(self, fails: BaseException | None = None) -> None:
        self.fails = fails
        self.log: list[Any] = []

    def begin(self) -> None:
        self.log.append("began")
        if self.fails is not None:
            raise self.fails

    def abort(self, error: AnthropixError) -> None:
        self.log.append(str(error))

    def sweep(self, now: float) -> None:
        self.log.append(now)

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        self.log.append(reason)
        return self.log.append


def turns(slots: Slots, *works: Any) -> None:
    slots.sweep(1e12)  # the sweeper's own looks, at the true time, are all too early after that
    for work in works:
        slots.take(work, work.begin)


def test_work_that_was_released_while_it_waited_gets_no_turn_and_nobody_looks_after_the_queue() -> None:
    slots, first, second = Slots(1), Work(), Work()
    turns(slots, first, second)
    assert slots.before(second) == (first,)  # type: ignore[arg-type, comparison-overlap]
    slots.release(second)  # type: ignore[arg-type]
    assert slots.before(second) == ()  # type: ignore[arg-type]
    assert slots not in watched()
    slots.give_back(first)  # type: ignore[arg-type]
    assert second.log == []


@pytest.mark.parametrize("how", ["start_cancelled", "give_back"])
def test_when_the_last_one_has_its_turn_nobody_looks_after_the_queue(how: str) -> None:
    slots, first, second, third = Slots(1), Work(), Work(), Work()
    turns(slots, first, second)
    assert slots in watched()
    getattr(slots, how)(second if how == "start_cancelled" else first)
    assert second.log == ["began"]
    assert slots not in watched()
    if how == "start_cancelled":
        slots.give_back(first)  # type: ignore[arg-type]
    turns(slots, third)
    assert third.log == []  # the other one has its turn, also beyond the number
    slots.release(third)  # type: ignore[arg-type]


@pytest.mark.parametrize("fails", [AnthropixError("no thread"), KeyboardInterrupt()], ids=repr)
def test_work_that_is_cancelled_and_finds_no_thread_is_over(fails: BaseException) -> None:
    slots, first, second = Slots(1), Work(), Work(fails)
    turns(slots, first, second)
    with pytest.raises(KeyboardInterrupt) if isinstance(fails, KeyboardInterrupt) else contextlib.nullcontext():
        slots.start_cancelled(second)  # type: ignore[arg-type]
    assert second.log == ["began", "interrupted"]
    slots.start_cancelled(first)  # type: ignore[arg-type] # it does not wait
    assert first.log == ["began"]


def test_work_that_finds_no_thread_waits_on_at_the_head_and_is_looked_after() -> None:
    slots = Slots(2)
    start = 1e12
    works = [Work(), Work(), Work(AnthropixError("no thread")), Work()]
    turns(slots, *works)
    slots.give_back(works[0])  # type: ignore[arg-type] # another one runs, that will give its thread back
    assert [work.log for work in works[2:]] == [["began"], []]
    works[2].fails = None
    slots.sweep(start + 0.5)  # they cost nothing meanwhile
    assert [work.log for work in works[2:]] == [["began"], []]
    slots.sweep(start + 1.0)
    assert [work.log for work in works[2:]] == [["began", start + 1.0, "began"], [start + 1.0]]
    slots.sweep(start + 1.5)
    slots.sweep(start + 2.0)
    assert works[3].log == [start + 1.0, start + 2.0]
    assert slots in watched()
    SWEEPER.unwatch(slots)


def test_the_only_work_that_waits_on_is_looked_after() -> None:
    slots, first, second, third = Slots(2), Work(), Work(), Work(AnthropixError("no thread"))
    turns(slots, first, second, third)
    slots.give_back(first)  # type: ignore[arg-type]
    assert third.log[-1] == "began"
    assert slots in watched()
    slots.release(third)  # type: ignore[arg-type]


def test_the_last_work_that_finds_no_thread_is_over_and_the_next_one_tries() -> None:
    slots, first, second, third = Slots(1), Work(), Work(AnthropixError("no thread")), Work()
    turns(slots, first, second, third)
    slots.give_back(first)  # type: ignore[arg-type]
    assert second.log == ["began", "no thread"]
    assert third.log == ["began"]


def test_those_that_wait_share_one_patience_and_get_no_turn_any_more() -> None:
    slots, works = Slots(1), [Work(), Work(), Work()]
    turns(slots, *works)
    heard = slots.cancel_and_join("the end")
    heard(5.0)
    heard(0.0)
    for work in works[1:]:
        assert work.log[0] == "the end"
        assert 4.0 < work.log[1] <= 5.0
        assert work.log[2] == 0.0
    slots.give_back(works[0])  # type: ignore[arg-type]
    assert all(len(work.log) == 3 for work in works[1:])
    SWEEPER.unwatch(slots)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_what_is_no_number_of_chats_is_refused(value: Any) -> None:
    with pytest.raises(ParameterError, match="max_concurrency: expected an integer from 1, got"):
        Client("k", max_concurrency=value)


def test_a_closed_client_refuses_chats_with_slots_too(connect: Callable[..., Client]) -> None:
    client = connect("http://127.0.0.1:1", max_concurrency=1)
    client.close()
    with pytest.raises(ConfigurationError, match="closed"):
        client.chat(**ASK)


PREFACE = r"""
import os, sys, threading
from anthropix_actors import Client, ChatCancelled, ChatEvent

class Printer:
    def tell(self, message):
        if isinstance(message, ChatEvent):
            started.set()
        elif isinstance(message, ChatCancelled):
            print(f"told: {message.reason}\n", end="", flush=True)  # one write: several threads print

started = threading.Event()
client = Client("k", base_url=sys.argv[1], proxy="", max_concurrency=1)

def ask(text):
    return dict(model="m", messages=[{"role": "user", "content": text}])
"""


def run(server: Server, text: str) -> tuple[str, str, int]:
    running = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", PREFACE + textwrap.dedent(text), server.url],
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )
    return running.stdout, running.stderr, running.returncode


def test_chats_that_wait_hear_of_the_interpreters_exit() -> None:
    gate = Counting()
    with Server(gate) as server:
        ended = run(server, "for n in range(5): client.chat(**ask(str(n)), stream=Printer())\nstarted.wait(10)")
        gate.let.release()
    assert ended == ("told: the interpreter exits\n" * 5, "", 0)
    assert gate.came == ["0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_turns_of_its_own() -> None:
    gate = Counting()
    gate.let.release(4)
    with Server(gate) as server:
        out, err, code = run(
            server,
            """
            import warnings
            hold = threading.Event()
            class Holding(Printer):
                def tell(self, message):
                    super().tell(message)
                    hold.wait(20)
            first = client.chat(**ask("first"), stream=Holding())
            started.wait(10)
            second = client.chat(**ask("second"), stream=Printer())
            warnings.simplefilter("ignore")  # Python warns of any fork while threads run
            if (pid := os.fork()) == 0:
                print(client.chat(**ask("child's"))["content"][0]["text"], flush=True)
                try:
                    second.result(5)
                except Exception as error:
                    print(error, flush=True)
                sys.exit(0)
            print(os.waitpid(pid, 0)[1], flush=True)
            hold.set()
            print(second.result(10)["content"][0]["text"], flush=True)
            """,
        )
    assert err == ""
    assert out.splitlines() == [
        "child's",
        "the process was forked; the chat goes on in the parent",
        "0",
        "second",
    ]
    assert code == 0


class Meeting(set[object]):
    """The tokens of those who wait; whoever looks for some meets the other one who does, if that one comes."""

    def __init__(self, together: threading.Barrier) -> None:
        super().__init__()
        self.together = together

    def __len__(self) -> int:
        found = super().__len__()
        with contextlib.suppress(threading.BrokenBarrierError):
            self.together.wait(0.3)
        return found


def test_of_two_handlers_that_wait_at_the_same_time_one_is_refused(connect: Callable[..., Client]) -> None:
    """Each has one of the two turns, so both would wait for ever."""
    outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()
    go, together = threading.Event(), threading.Barrier(2)

    def script(peer: Peer) -> None:
        while peer.read_request():
            go.wait(DEADLINE)
            send_answer(peer, "a")

    with Server(script) as server:
        client = connect(server, max_concurrency=2)

        class Asking:
            asked = False

            def tell(self, _: object) -> None:
                if not self.asked:
                    self.asked = True
                    try:
                        outcomes.put(client.chat(**ASK, stream=Inbox()).result(timeout=3)["stop_reason"])
                    except (AnthropixError, TimeoutError) as exc:
                        outcomes.put(type(exc).__name__)

        for _ in range(2):
            task_of(client.chat(**ASK, stream=Asking())).held = Meeting(together)
        go.set()
        assert sorted(outcomes.get(timeout=DEADLINE) for _ in range(2)) == ["DeadlockError", "end_turn"]
        assert client.drain(timeout=DEADLINE)


class Nothing:
    """No connections."""

    class auth:  # noqa: N801
        refreshes_here = staticmethod(lambda: False)


def test_nobody_is_waited_for_where_there_is_room() -> None:
    """One has ended, and the next is about to begin: it does not wait for those that go on."""
    slots = Slots(2)
    first, second, third = works = [Task(cast("Any", Nothing()), CancelScope(), Timeout()) for _ in range(3)]
    for work in works:
        slots.take(work, lambda: None)
    assert set(slots.before(third)) == {first, second}
    assert slots.before(first) == ()
    slots.release(second)
    found = slots.before(third)
    slots.release(third)
    assert found == ()


def test_an_interrupt_while_a_waiting_chat_is_hurried_leaves_no_turn_behind(connect: Callable[..., Client]) -> None:
    gate = Counting()
    with Server(gate) as server:
        client = connect(server, max_concurrency=1)
        chats, inboxes = start(client, "first", "second", "third")
        acquire(gate.reached)
        with pytest.raises(KeyboardInterrupt), interrupted_at(STARTS_A_THREAD):
            chats[1].cancel()
        assert isinstance(inboxes[1].until_end()[-1], ChatCancelled)
        gate.let.release(2)
        for each in (inboxes[0], inboxes[2]):
            assert isinstance(each.until_end()[-1], ChatDone)
    assert gate.came == ["first", "third"]


def test_a_waiting_chat_that_is_cancelled_when_there_is_no_thread_ends_all_the_same(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Counting()
    with Server(gate) as server:
        chats, inboxes = start(connect(server, max_concurrency=1), "first", "second")
        acquire(gate.reached)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread_for("ChatActor"))
            assert chats[1].cancel()
            assert isinstance(inboxes[1].until_end()[-1], ChatCancelled)
        gate.let.release()
        assert isinstance(inboxes[0].until_end()[-1], ChatDone)
    assert gate.came == ["first"]
