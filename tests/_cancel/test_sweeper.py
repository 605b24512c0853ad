"""The sweeper, the interpreter's exit, and fork."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import AnthropixError, CancelledError, ChatCancelled, ChatEvent
from anthropix_actors._cancel.exit_and_fork import end
from anthropix_actors._cancel.sweeper import SWEEPER, Sweeper
from anthropix_actors._foreign.threads import Asker

from actors import (
    ASK,
    Inbox,
    Reader,
    core_of,
    deliveries_of,
    lock_of,
    make_it_miss,
    no_thread_for,
    task_of,
    thread_of,
    until_at_rest,
    until_told,
    watched,
)
from servers import DEADLINE, Peer, Server, acquire, answer, chunks, head, send_answer, stalling, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import Client


class Watched:
    """A chat, as the sweeper sees one."""

    cancel_first = False

    def __init__(self) -> None:
        self.swept = threading.Event()
        self.reasons: list[str] = []
        self.patience: list[float] = []
        self.forgotten = 0

    def sweep(self, now: float) -> None:
        assert now <= time.monotonic()
        self.swept.set()

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        self.reasons.append(reason)
        return self.patience.append

    def after_fork(self) -> None:
        self.forgotten += 1


def test_the_sweeper_looks_again_and_again_and_its_thread_ends_with_the_last_chat() -> None:
    sweeper, first, second = Sweeper(), Watched(), Watched()
    sweeper.watch(first)
    sweeper.watch(second)
    thread = thread_of(sweeper)
    assert thread is not None
    for _ in range(2):
        wait(first.swept)
        first.swept.clear()
    sweeper.unwatch(first)
    assert thread.is_alive()
    sweeper.unwatch(second)
    thread.join(DEADLINE)
    assert not thread.is_alive()
    sweeper.watch(first)
    wait(first.swept)
    sweeper.unwatch(first)


def test_what_is_posted_is_done_by_the_sweepers_thread() -> None:
    sweeper, chat = Sweeper(), Watched()
    done: list[str] = []
    posted = threading.Event()
    sweeper.watch(chat)

    def action() -> None:
        done.append(threading.current_thread().name)
        posted.set()

    sweeper.post(action)
    wait(posted)
    sweeper.unwatch(chat)
    assert done == ["anthropix-sweeper"]


def test_what_is_posted_while_the_thread_ends_is_done() -> None:
    sweeper, chat = Sweeper(), Watched()
    done: list[str] = []

    class Idle:
        def expire(self, now: float) -> None:  # noqa: ARG002 - the sweeper calls it so
            """Post right before the thread looks whether there is anything left to do."""
            sweeper.unwatch(chat)
            sweeper.post(lambda: done.append(threading.current_thread().name))

    sweeper.watch(chat)
    thread = thread_of(sweeper)
    assert thread is not None
    sweeper.watch_idle(Idle())
    thread.join(DEADLINE)
    assert done == ["anthropix-sweeper"]


def test_what_is_posted_again_and_again_keeps_nobody_from_being_looked_at() -> None:
    sweeper, chat = Sweeper(), Watched()
    looked = threading.Event()

    def action() -> None:
        if not looked.is_set():
            sweeper.post(action)

    sweeper.watch(chat)
    wait(chat.swept)
    sweeper.post(action)
    for _ in range(2):
        chat.swept.clear()
        wait(chat.swept)
    looked.set()
    sweeper.unwatch(chat)


def test_many_actions_at_once_are_done_before_all_are_looked_at_again() -> None:
    """A look at hundreds of chats takes longer than to leave hundreds of streams."""
    sweeper = Sweeper()
    done: list[str] = []
    first_look, go_on = threading.Event(), threading.Event()

    class Slow(Watched):
        def sweep(self, now: float) -> None:  # noqa: ARG002 - as above
            done.append("look")
            first_look.set()
            wait(go_on)

    chat = Slow()
    sweeper.watch(chat)
    wait(first_look)
    posted = threading.Event()
    for number in range(20):
        sweeper.post(partial(done.append, str(number)))
    sweeper.post(posted.set)
    go_on.set()
    wait(posted)
    sweeper.unwatch(chat)
    assert done[: 1 + 20] == ["look", *map(str, range(20))]


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()], ids=repr)
def test_without_a_thread_nothing_is_watched(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise error

    sweeper, chat = Sweeper(), Watched()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(AnthropixError if isinstance(error, RuntimeError) else KeyboardInterrupt):
            sweeper.watch(chat)
    assert watched(sweeper) == set()
    sweeper.watch(chat)
    wait(chat.swept)
    sweeper.unwatch(chat)


def test_one_that_fails_keeps_no_other_from_being_looked_at_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Bad(Watched):
        def sweep(self, now: float) -> None:
            super().sweep(now)
            raise SystemExit

    sweeper, chats = Sweeper(), [Bad(), Watched(), Bad()]
    for chat in chats:
        sweeper.watch(chat)
    for _ in range(2):
        for chat in chats:
            wait(chat.swept)
            chat.swept.clear()
    until(lambda: "an error in the sweeper" in caplog.text)
    for chat in chats:
        sweeper.unwatch(chat)


def test_cancelling_all_waits_for_all_of_them_within_one_deadline() -> None:
    sweeper, chats = Sweeper(), [Watched(), Watched(), Watched()]
    for chat in chats:
        sweeper.watch(chat)
    sweeper.cancel_all("the end", patience=0.5)
    for chat in chats:
        assert chat.reasons == ["the end"]
        assert 0 <= chat.patience[0] <= 0.5
        sweeper.unwatch(chat)


@pytest.mark.parametrize("patience", [DEADLINE, 0.0], ids=["time", "no time"])
def test_cancelling_all_reaches_what_begins_meanwhile_but_does_not_go_on_for_ever(patience: float) -> None:
    class Breeding(Watched):
        def cancel_and_join(self, reason: str) -> Callable[[float], object]:
            if len(chats) < 5:
                chats.append(Breeding())
                sweeper.watch(chats[-1])
            return super().cancel_and_join(reason)

    sweeper = Sweeper()
    chats: list[Watched] = [Breeding()]
    sweeper.watch(chats[0])
    sweeper.cancel_all("the end", patience=patience)
    assert [chat.reasons for chat in chats] == ([["the end"]] * 5 if patience else [["the end"], []])
    for chat in chats:
        sweeper.unwatch(chat)


def test_the_queue_is_cancelled_before_the_chats() -> None:
    order: list[bool] = []

    class Noting(Watched):
        def cancel_and_join(self, reason: str) -> Callable[[float], object]:
            order.append(self.cancel_first)
            return super().cancel_and_join(reason)

    class Queue(Noting):
        cancel_first = True

    sweeper = Sweeper()
    watched = [Noting(), Noting(), Queue(), Noting(), Noting()]
    for each in watched:
        sweeper.watch(each)
    sweeper.cancel_all("the end", patience=0.0)
    assert order == [True, False, False, False, False]
    for each in watched:
        sweeper.unwatch(each)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_at_the_end_another_interrupt_ends_the_wait(interrupt: type[BaseException]) -> None:
    class Slow(Watched):
        def cancel_and_join(self, reason: str) -> Callable[[float], object]:
            super().cancel_and_join(reason)

            def heard(_: float) -> None:
                raise interrupt

            return heard

    sweeper, chat = Sweeper(), Slow()
    sweeper.watch(chat)
    assert not sweeper.ending
    end(sweeper)
    assert sweeper.ending, "from now on, there may be no more threads"
    assert chat.reasons == ["the interpreter exits"]
    sweeper.unwatch(chat)


def test_one_that_cannot_forget_keeps_no_other_from_it() -> None:
    class Broken(Watched):
        def after_fork(self) -> None:
            raise ZeroDivisionError

    sweeper, listeners = Sweeper(), [Broken(), *(Watched() for _ in range(9)), Broken()]
    sweeper.fork_listeners.update(listeners)
    with pytest.raises(ExceptionGroup) as raised:
        sweeper.after_fork()
    assert len(raised.value.exceptions) == 2
    assert [each.forgotten for each in listeners] == [0, *[1] * 9, 0]
    assert set(sweeper.fork_listeners) == set(listeners)


def test_forgetting_starts_afresh_even_when_the_lock_was_held() -> None:
    sweeper, chat = Sweeper(), Watched()
    sweeper.watch(chat)
    keeper = Watched()
    sweeper.fork_listeners.add(keeper)
    thread = thread_of(sweeper)
    with lock_of(sweeper):
        sweeper.after_fork()
    assert chat.forgotten == keeper.forgotten == 1
    assert thread_of(sweeper) is None
    assert watched(sweeper) == set()
    assert list(sweeper.fork_listeners) == [keeper]
    assert thread is not None
    thread.join(DEADLINE)  # it sees that there is nothing to watch


PREFACE = """
import os, pykka, sys, threading, time
from anthropix_actors import ChatCancelled, ChatEvent, Client

class Printer(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message):
        if isinstance(message, ChatEvent):
            started.set()
        elif isinstance(message, ChatCancelled):
            print("told:", message.reason, flush=True)

started = threading.Event()
client = Client("k", base_url=sys.argv[1], proxy="")
ask = dict(model="m", messages=[{"role": "user", "content": "Hi"}])
"""


@pytest.fixture
def program() -> Callable[..., subprocess.Popen[str]]:
    def start(server: Server, text: str) -> subprocess.Popen[str]:
        source = PREFACE + textwrap.dedent(text)
        return subprocess.Popen(
            [sys.executable, "-P", "-W", "error", "-c", source, server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_when_the_main_thread_ends_chats_are_cancelled_and_the_process_exits(
    program: Callable[..., subprocess.Popen[str]],
) -> None:
    with Server(stalling) as server:
        running = program(server, "client.chat(**ask, stream=Printer.start()); started.wait(10)")
        out, err = running.communicate(timeout=DEADLINE)
        acquire(server.hung_up)
    assert (out, err, running.returncode) == ("told: the interpreter exits\n", "", 0)


def test_ctrl_c_in_a_loop_over_a_stream_ends_the_process_at_once(program: Callable[..., subprocess.Popen[str]]) -> None:
    with Server(stalling) as server:
        running = program(
            server,
            """
            for event in client.chat(**ask, stream=True):
                print(event["type"], flush=True)
            """,
        )
        assert running.stdout is not None
        for _ in range(3):
            running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=DEADLINE)
        acquire(server.hung_up)
    assert "KeyboardInterrupt" in err
    assert running.returncode == -signal.SIGINT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_leaves_its_parents_chats_alone_and_can_have_its_own(
    program: Callable[..., subprocess.Popen[str]],
) -> None:
    """The parent's first chat waits in mid-answer; its second has left an idle connection, which the child inherits."""
    forked = threading.Event()

    def script(peer: Peer) -> None:
        while peer.read_request():
            if b"slow" in peer.body:
                peer.send(head(), chunks(answer("slow", " end")[:3]))
                wait(forked)
                peer.send(chunks(answer("slow", " end")[3:]), b"0\r\n\r\n")
            elif b"child" in peer.body:
                send_answer(peer, "child's")
                forked.set()
            else:
                send_answer(peer, "parent's")

    with Server(script) as server:
        running = program(
            server,
            """
            def say(text):
                return client.chat(model="m", messages=[{"role": "user", "content": text}])["content"][0]["text"]

            slow = client.chat(model="m", messages=[{"role": "user", "content": "slow"}], stream=Printer.start())
            started.wait(10)
            print(say("quick"), flush=True)
            import warnings
            warnings.simplefilter("ignore")  # Python warns of any fork while threads run
            if (pid := os.fork()) == 0:
                try:
                    slow.result()
                except Exception as error:
                    print(error, slow.is_alive(), flush=True)
                print(pykka.ActorRegistry.get_by_urn(slow.actor_urn), slow.stop(timeout=5), flush=True)
                print(say("child"), flush=True)
                sys.exit(0)
            print(os.waitpid(pid, 0)[1], flush=True)
            print(say("again"), flush=True)
            print(slow.result(10)["content"][0]["text"], flush=True)
            """,
        )
        out, err = running.communicate(timeout=2 * DEADLINE)
    assert err == ""
    assert out.splitlines() == [
        "parent's",
        "the process was forked; the chat goes on in the parent False",
        "None False",
        "child's",
        "0",
        "parent's",
        "slow end",
    ]
    assert running.returncode == 0


def test_whoever_parts_from_a_chat_waits_until_actors_have_handled_its_end_as_long_as_there_is_time(
    connect: Callable[..., Client],
) -> None:
    inbox, handle = Inbox(), threading.Event()

    def hold(message: Any) -> None:
        if isinstance(message, ChatCancelled):
            wait(handle)
            handled.append(message)

    handled: list[ChatCancelled] = []
    with Server(stalling) as server:
        for patience in (0.3, DEADLINE):
            handle.clear()
            reader = Reader.start(inbox, hold)
            chat = connect(server).chat(**ASK, stream=reader)
            inbox.until(ChatEvent)
            heard = task_of(chat).cancel_and_join("the process ends")
            if patience == DEADLINE:
                threading.Timer(0.3, handle.set).start()
            start = time.monotonic()
            heard(patience)
            assert len(handled) == (patience == DEADLINE)
            assert patience == DEADLINE or 0.3 <= time.monotonic() - start < DEADLINE
            handle.set()
            reader.stop()
            assert handled.pop().reason == "the process ends"
            wait(chat.actor_stopped)


def call(client: Client) -> None:
    with contextlib.suppress(CancelledError):
        client.chat(**ASK)


def test_when_a_call_that_nobody_follows_is_over_everybody_has_been_told(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        client = connect(server)
        calling = threading.Thread(target=call, args=(client,))
        calling.start()
        until(lambda: any(chat.snapshot() for chat in client.chats()))
        (chat,) = client.chats()
        SWEEPER.unwatch(task_of(chat))  # it would see to it, too
        until_at_rest()
        chat.cancel()
        until_told(chat)
        calling.join(DEADLINE)


def test_whoever_parts_from_a_call_that_nobody_follows_waits_for_its_thread_alone(
    connect: Callable[..., Client],
) -> None:
    class Held(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            if record.getMessage().startswith("chat cancelled"):  # the last thing that its thread does
                wait(go_on)
            return True

    go_on, held = threading.Event(), Held()
    logger = logging.getLogger("anthropix_actors")
    level = logger.level
    logger.addHandler(held)
    logger.setLevel(logging.INFO)
    try:
        with Server(stalling) as server:
            client = connect(server)
            calling = threading.Thread(target=call, args=(client,))
            calling.start()
            until(lambda: any(chat.snapshot() for chat in client.chats()))
            (chat,) = client.chats()
            heard = task_of(chat).cancel_and_join("the process ends")
            until_told(chat)
            for patience in (0.2, DEADLINE):
                start = time.monotonic()
                parting = threading.Thread(target=heard, args=(patience,))
                parting.start()
                parting.join(DEADLINE / 2)
                assert not parting.is_alive()
                assert chat.actor_stopped.is_set() or time.monotonic() - start >= patience
                go_on.set()
            assert chat.actor_stopped.is_set()
            calling.join(DEADLINE)
    finally:
        go_on.set()
        logger.removeHandler(held)
        logger.setLevel(level)


def test_what_is_forgotten_is_over_tells_nobody_and_leaves_the_connection_alone(connect: Callable[..., Client]) -> None:
    """What happens in a forked child, but in this process, where the threads of the parent go on."""
    hung_up = threading.Event()

    def script(peer: Peer) -> None:
        stalling(peer)
        hung_up.set()

    inbox = Inbox()
    with Server(script) as server:
        client = connect(server, max_concurrency=1)
        runs, waits = (client.chat(**ASK, stream=inbox, tag=tag) for tag in ("runs", "waits"))
        inbox.until(ChatEvent)
        slots, task = core_of(client).slots, task_of(runs)
        assert slots is not None
        with slots.lock, task.lock, task.scope.condition:  # as a thread may do at the fork
            slots.after_fork()
            task.after_fork()
        for chat in (runs, waits):
            with pytest.raises(CancelledError, match="the process was forked; the chat goes on in the parent"):
                chat.result(0)
            assert chat.actor_stopped.is_set()
            assert not chat.cancel("it is nothing of mine")
            assert deliveries_of(chat) == ()
            assert pykka.ActorRegistry.get_by_urn(chat.actor_urn) is None
        assert not hung_up.is_set()
        assert slots.before(task_of(waits)) == ()
        replacement = Inbox()
        again = client.chat(**ASK, stream=replacement)  # there is room for it
        assert slots.before(task_of(again)) == ()
        replacement.until(ChatEvent)
        again.cancel()
        assert isinstance(replacement.until_end()[-1], ChatCancelled)
    while not inbox.queue.empty():
        assert isinstance(inbox.next(), ChatEvent)


def test_the_process_has_one_sweeper_and_its_thread_does_not_outlive_the_chats() -> None:
    until_at_rest()


def test_nothing_is_watched_when_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    sweeper = Sweeper()
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    with pytest.raises(AnthropixError, match="interpreter is ending"):
        sweeper.watch(Watched())
    assert thread_of(sweeper) is None


def test_what_is_posted_before_anything_has_run_starts_no_thread() -> None:
    sweeper, done = Sweeper(), threading.Event()
    sweeper.post(done.set)
    chat = Watched()
    sweeper.watch(chat)
    wait(chat.swept)
    sweeper.unwatch(chat)
    assert not done.is_set()


def test_a_sweep_that_raises_keeps_no_other_from_its_timeouts(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Watched):
        def sweep(self, now: float) -> None:
            raise SystemExit(now)

    sweeper, faulty, other = Sweeper(), Faulty(), Watched()
    sweeper.watch(faulty)
    sweeper.watch(other)
    for _ in range(2):
        wait(other.swept)
        other.swept.clear()
    until(lambda: "an error in the sweeper" in caplog.text)
    sweeper.unwatch(faulty)
    sweeper.unwatch(other)


# The thread that asks


def test_what_is_asked_while_the_asking_thread_ends_is_not_forgotten() -> None:
    class Late(queue.SimpleQueue[Any]):
        """A queue whose first `get` misses, by a hair, what is put."""

        missed = False

        def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - as it is
            if not self.missed:
                self.missed = True
                raise queue.Empty
            return super().get(block, timeout)

    asker, done = Asker(), threading.Event()
    make_it_miss(asker, Late())
    asker.ask(done.set)
    wait(done)
    until_at_rest(asker)


def test_where_no_thread_is_to_be_had_it_is_asked_later(monkeypatch: pytest.MonkeyPatch) -> None:
    asker, done = Asker(), threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread_for())
        asker.ask(done.set)
        assert thread_of(asker) is None
    asker.look()
    wait(done)
