from __future__ import annotations

import logging
import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

import anthropix_actors.subscribers
from anthropix_actors import AnthropixError, BatchRef, BatchResult, CancelledError, ChatEvent, Client
from anthropix_actors.emulator import Drop, Emulator, Reply, Status, Thinking, ToolCall
from anthropix_actors.subscribers import Handlers, Listener

from actors import ASK, Inbox, until_blocked, until_cancelled, until_told
from servers import (
    DEADLINE,
    STOP,
    Halt,
    Server,
    acquire,
    answering,
    block_start,
    block_stop,
    chunks,
    head,
    stalling,
    start,
    text_delta,
    until,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path


class Teller:
    """Notes what the methods of a listener are called with; has `notes` and a `gate` for what ends."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []
        self.ended = threading.Event()

    def __call__(self, *note: Any) -> None:
        self.notes.append(note)

    def of(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [note for note in self.notes if note[0] in kinds]


def _noting(name: str) -> Callable[..., None]:
    def note(self: Any, *arguments: Any) -> None:
        self.teller(name, *arguments)
        if name.rpartition("_")[2] in {"done", "failed", "cancelled"}:
            self.teller.ended.set()

    return note


class Nosy(Listener):
    """Notes everything."""

    def __init__(self, teller: Teller) -> None:
        super().__init__()
        self.teller = teller


NAMES = [name for name in vars(Handlers) if name.startswith("on_") and name not in {"on_receive", "on_batch_results"}]
for _name in NAMES:
    setattr(Nosy, _name, _noting(_name))


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def nosy(teller: Teller) -> Iterator[pykka.ActorRef[Nosy]]:
    ref = Nosy.start(teller)
    yield ref
    ref.stop(timeout=DEADLINE)


def test_a_chat_calls_a_method_for_each_thing_that_happens(
    connect: Callable[..., Client], teller: Teller, nosy: Any
) -> None:
    with Emulator() as emulator:
        emulator.queue(Reply([Thinking("Hm."), "Hello!", ToolCall("look", {"at": "it"})]))
        tools: Any = [{"name": "look", "input_schema": {"type": "object"}}]
        thinking: Any = {"type": "enabled", "budget_tokens": 1024}
        chat = connect(emulator.url).chat(**ASK, tools=tools, thinking=thinking, stream=nosy)
        wait(teller.ended)
        message = chat.result(DEADLINE)
    assert all(note[1] is chat for note in teller.notes)
    assert "".join(note[2] for note in teller.of("on_text")) == "Hello!"
    assert "".join(note[2] for note in teller.of("on_thinking")) == "Hm."
    assert "".join(note[2] for note in teller.of("on_tool_input")).replace(" ", "") == '{"at":"it"}'
    assert [note[2] for note in teller.of("on_block")] == message["content"]
    events = [note[2]["type"] for note in teller.of("on_event")]
    assert (events[0], events[-1]) == ("message_start", "message_stop")
    assert teller.notes[-1] == ("on_done", chat, message)


def test_it_is_called_with_pieces_after_their_event_and_before_their_block(
    connect: Callable[..., Client], teller: Teller, nosy: Any
) -> None:
    with Server(answering("Hel", "lo")) as server:
        connect(server).chat(**ASK, stream=nosy)
        wait(teller.ended)
    kinds = [note[0] for note in teller.notes]
    assert kinds == [
        *("on_event", "on_event"),
        *("on_event", "on_text", "on_event", "on_text"),
        *("on_event", "on_block", "on_event", "on_event", "on_done"),
    ]


def test_a_retry_and_a_failure_are_told(connect: Callable[..., Client], teller: Teller, nosy: Any) -> None:
    with Emulator() as emulator:
        emulator.queue(Status(529, retry_after=0), Status(529, retry_after=0))
        chat = connect(emulator.url, max_retries=1).chat(**ASK, stream=nosy)
        wait(teller.ended)
    (retrying, failed) = teller.notes
    assert retrying[:4] == ("on_retrying", chat, 1, retrying[3])
    assert isinstance(retrying[4], AnthropixError)
    assert failed[:2] == ("on_failed", chat)
    assert isinstance(failed[2], AnthropixError)


def test_a_cancel_is_told_with_what_there_is(connect: Callable[..., Client], teller: Teller, nosy: Any) -> None:
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=nosy)
        until(lambda: teller.of("on_text"))
        chat.cancel("enough")
        wait(teller.ended)
    name, told, reason, partial = teller.notes[-1]
    assert (name, told, reason) == ("on_cancelled", chat, "enough")
    assert partial["content"] == [{"type": "text", "text": "Hi"}]


def test_the_blocks_of_a_resumed_answer_are_those_of_its_message(
    connect: Callable[..., Client], teller: Teller, nosy: Any
) -> None:
    call = Reply(["Let me see.", ToolCall("clock", {"zone": "UTC, or whatever it is that they have there"})])
    with Emulator() as emulator:
        emulator.queue(Drop(call, after_events=10), " Four.")
        tools: Any = [{"name": "clock", "input_schema": {"type": "object"}}]
        chat = connect(emulator.url, max_retries=1).chat(**ASK, tools=tools, stream=nosy, resume=True)
        wait(teller.ended)
        message = chat.result(DEADLINE)
    assert teller.of("on_resumed") == [("on_resumed", chat, 2, 1)]
    assert teller.of("on_block")[-1][2] == message["content"][-1]
    assert all(note[2]["type"] == "text" for note in teller.of("on_block"))


def test_a_resumed_answer_is_announced_to_who_wants_no_blocks(connect: Callable[..., Client]) -> None:
    resumed = threading.Event()

    class Told(Listener):
        def on_resumed(self, chat: Any, attempt: int, kept: int) -> None:
            resumed.set()

    ref = Told.start()
    with Emulator() as emulator:
        emulator.queue(Drop("One, two, three.", after_events=5), " Four.")
        connect(emulator.url, max_retries=1).chat(**ASK, stream=ref, resume=True).result(DEADLINE)
        wait(resumed)
    ref.stop()


def test_who_joins_late_gets_what_was_said_and_the_blocks_from_then_on(
    connect: Callable[..., Client], teller: Teller, nosy: Any
) -> None:
    found = [start(), block_start(), text_delta("A"), block_stop(), block_start(1), text_delta("B", 1)]
    inbox = Inbox()
    with Server(Halt(head(), chunks(found))) as server:
        chat = connect(server).chat(**ASK, stream=inbox)
        until(lambda: (chat.snapshot() or {"content": []})["content"][1:])
        chat.subscribe(nosy)
        until(lambda: len(teller.of("on_text")) == 2)
        assert teller.of("on_block") == [("on_block", chat, {"type": "text", "text": "A"})]
        chat.cancel()
        wait(teller.ended)


def test_one_that_joins_again_begins_again(connect: Callable[..., Client], teller: Teller, nosy: Any) -> None:
    found = [start(), block_start(), text_delta("A"), block_stop(), block_start(1), text_delta("B", 1)]
    with Server(Halt(head(), chunks(found))) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        for times in (1, 2):
            until(lambda: (chat.snapshot() or {"content": []})["content"][1:])
            chat.subscribe(nosy)
            until(lambda: len(teller.of("on_text")) == 2 * times)  # noqa: B023 - it is called in this turn alone
            chat.unsubscribe(nosy)
        assert [note[2]["text"] for note in teller.of("on_block")] == ["A", "A"]
        chat.cancel()
        until_told(chat)


def test_what_was_said_before_one_joins_again_makes_no_block(teller: Teller, nosy: Any) -> None:
    chat: Any = teller
    told: list[Any] = [start(), block_start(), text_delta("A")]
    end: Any = STOP
    for event in [*told, *told, end]:
        nosy.tell(ChatEvent(chat, event))
    assert nosy.ask("after that", timeout=DEADLINE) is None
    assert teller.of("on_block") == [("on_block", chat, {"type": "text", "text": "A"})]


def test_a_message_that_never_started_makes_no_blocks(teller: Teller, nosy: Any) -> None:
    chat: Any = teller
    nosy.tell(ChatEvent(chat, block_start()))  # type: ignore[arg-type]
    nosy.tell(ChatEvent(chat, block_stop()))  # type: ignore[arg-type]
    until(lambda: len(teller.of("on_event")) == 2)
    assert nosy.ask("after that", timeout=DEADLINE) is None
    assert teller.of("on_block") == []


def test_one_listener_follows_many_chats(connect: Callable[..., Client], teller: Teller, nosy: Any) -> None:
    with Server(answering("Hel", "lo")) as server:
        client = connect(server)
        chats = [client.chat(**ASK, stream=nosy) for _ in range(5)]
        until(lambda: len(teller.of("on_done")) == 5)
    for chat in chats:
        assert [note[2] for note in teller.of("on_text") if note[1] is chat] == ["Hel", "lo"]
        assert [note[2] for note in teller.of("on_block") if note[1] is chat] == [{"type": "text", "text": "Hello"}]


# Batches and sessions


@pytest.mark.parametrize("as_lists", [False, True])
def test_a_batch_calls_a_method_for_each_thing_that_happens(
    as_lists: bool,  # noqa: FBT001
    connect: Callable[..., Client],
    teller: Teller,
    nosy: Any,
) -> None:
    with Emulator() as emulator:
        emulator.queue("Hello!", "Hello!")
        requests: Any = [{"custom_id": name, "params": ASK} for name in ("a", "b")]
        batch = connect(emulator.url).batches.run(requests, nosy, poll=0.01, as_lists=as_lists)
        wait(teller.ended)
        counts = batch.result(DEADLINE)
    assert teller.notes[0][:2] == ("on_batch_progress", batch)
    assert {note[2]: note[3]["type"] for note in teller.of("on_batch_result")} == {"a": "succeeded", "b": "succeeded"}
    assert teller.notes[-1] == ("on_batch_done", batch, counts)


class Lists(Listener):
    """Has a method for lists of results alone."""

    def __init__(self, teller: Teller) -> None:
        super().__init__()
        self.teller = teller

    def on_batch_results(self, batch: BatchRef, results: Sequence[BatchResult]) -> None:
        self.teller.notes.append(("on_batch_results", batch, [each.custom_id for each in results]))
        super().on_batch_results(batch, results)  # as it may be in a mixin: it has nobody to call

    def on_batch_done(self, batch: BatchRef, counts: Any) -> None:
        self.teller.ended.set()


@pytest.mark.parametrize("as_lists", [False, True])
def test_who_takes_only_lists_of_results_gets_all_of_them(
    as_lists: bool,  # noqa: FBT001
    connect: Callable[..., Client],
    teller: Teller,
) -> None:
    listener = Lists.start(teller)
    with Emulator() as emulator:
        emulator.queue("Hello!", "Hello!")
        requests: Any = [{"custom_id": name, "params": ASK} for name in ("a", "b")]
        batch = connect(emulator.url).batches.run(requests, listener, poll=0.01, as_lists=as_lists)
        wait(teller.ended)
        batch.result(DEADLINE)
    lists = teller.of("on_batch_results")
    assert all(note[1] is batch for note in lists)
    assert sorted(name for note in lists for name in note[2]) == ["a", "b"]
    assert as_lists or [len(note[2]) for note in lists] == [1, 1]
    listener.stop(timeout=DEADLINE)


def test_handlers_of_lists_alone_get_a_list_of_each_result() -> None:
    got: list[Any] = []

    class OnlyLists(Handlers):
        def on_batch_results(self, batch: Any, results: Sequence[BatchResult]) -> None:
            got.append((batch, results))

    result: Any = BatchResult(None, "a", {"type": "expired"})  # type: ignore[arg-type]
    OnlyLists().handle(result)
    assert got == [(None, [result])]


def test_a_batch_that_is_cancelled_or_cannot_be_is_told(
    connect: Callable[..., Client], teller: Teller, nosy: Any
) -> None:
    with Emulator() as emulator:
        client = connect(emulator.url)
        failed = client.batches.follow("msgbatch_nowhere", nosy, poll=0.01)
        wait(teller.ended)
        teller.ended.clear()
    assert teller.notes[-1][:2] == ("on_batch_failed", failed)
    with Server(Halt(b"")) as server:
        cancelled = connect(server).batches.follow("msgbatch_1", nosy)
        cancelled.cancel("enough")
        wait(teller.ended)
    assert teller.notes[-1] == ("on_batch_cancelled", cancelled, "enough", None)


def test_a_session_calls_a_method_for_each_thing_that_happens(
    connect: Callable[..., Client], teller: Teller, nosy: Any
) -> None:
    with Emulator() as emulator:
        script = emulator.session("sesn_1")
        session = connect(emulator.url).sessions.events("sesn_1", stream=nosy)
        script.wait_for_streams()
        event, end = script.add({"type": "agent.message", "content": []}, {"type": "session.status_terminated"})
        wait(teller.ended)
    assert teller.notes == [
        ("on_session_event", session, event),
        ("on_session_event", session, end),
        ("on_session_done", session, end),
    ]


# As an actor


def test_it_is_a_daemon_with_the_quickest_of_mailboxes(nosy: Any) -> None:
    (thread,) = [each for each in threading.enumerate() if each.name.startswith("Nosy")]
    assert thread.daemon
    assert isinstance(nosy.actor_inbox, queue.SimpleQueue)


def test_messages_of_a_program_and_proxies_work_as_in_any_actor(caplog: pytest.LogCaptureFixture) -> None:
    class Counting(Listener):
        count = 0

        def on_message(self, message: Any) -> Any:
            self.count += message
            return self.count

        def doubled(self) -> int:
            return 2 * self.count

    ref = Counting.start()
    assert ref.ask(3, timeout=DEADLINE) == 3
    proxy: Any = ref.proxy()
    assert proxy.doubled().get(timeout=DEADLINE) == 6
    assert proxy.count.get(timeout=DEADLINE) == 3
    ref.stop()
    plain = Listener.start()
    with caplog.at_level(logging.WARNING, "pykka"):
        assert plain.ask("hello", timeout=DEADLINE) is None
    assert "Unexpected message" in caplog.text
    plain.stop()


def test_an_on_receive_of_its_own_takes_what_it_wants(connect: Callable[..., Client]) -> None:
    inbox = Inbox()

    class Both(Listener):
        def on_receive(self, message: Any) -> Any:
            return len(message) if isinstance(message, str) else super().on_receive(message)

        def on_text(self, chat: Any, text: str) -> None:
            inbox.tell(text)

    ref = Both.start()
    with Server(answering("Hello")) as server:
        connect(server).chat(**ASK, stream=ref)
        assert inbox.next() == "Hello"
    assert ref.ask("four", timeout=DEADLINE) == 4
    ref.stop()


def test_a_method_may_come_from_another_class_or_be_set_on_the_actor(connect: Callable[..., Client]) -> None:
    inbox = Inbox()

    class Mixin:
        def on_text(self, chat: Any, text: str) -> None:
            inbox.tell(text)

    class Mixed(Mixin, Listener):
        def __init__(self) -> None:
            super().__init__()
            self.on_event = lambda chat, event: inbox.tell(event["type"])  # type: ignore[method-assign]

    ref = Mixed.start()
    with Server(answering("Hello")) as server:
        connect(server).chat(**ASK, stream=ref).result(DEADLINE)
        told = [inbox.next() for _ in range(7)]
    assert told[:4] == ["message_start", "content_block_start", "content_block_delta", "Hello"]
    ref.stop()


class Held(Listener):
    """Waits in its first piece of text until it may go on; then notes them all."""

    def __init__(self, teller: Teller, held: threading.Event, go_on: threading.Event) -> None:
        super().__init__()
        self.teller, self.held, self.go_on = teller, held, go_on

    def on_text(self, chat: Any, text: str) -> None:
        if text == "0":
            self.held.set()
            wait(self.go_on)
        if text == "bad":
            raise ZeroDivisionError
        self.teller("text", text)

    def on_done(self, chat: Any, message: Any) -> None:
        self.teller.ended.set()


def test_events_that_arrived_together_are_one_message_and_count_as_many(
    connect: Callable[..., Client], teller: Teller
) -> None:
    held, go_on = threading.Event(), threading.Event()
    ref, texts = Held.start(teller, held, go_on), [str(number) for number in range(2000)]
    with Server(answering(*texts)) as server:
        chat = connect(server, window=64).chat(**ASK, stream=ref)
        wait(held)
        inbox: Any = ref.actor_inbox
        until(lambda: inbox.qsize() >= 60)
        assert inbox.qsize() <= 4 * 64
        assert queue.SimpleQueue.qsize(inbox) < 32
        go_on.set()
        wait(teller.ended)
        assert chat.result(DEADLINE)
    assert [text for _, text in teller.notes] == texts
    assert inbox.qsize() == 0
    ref.stop(timeout=DEADLINE)


def test_what_was_sent_before_a_cancel_is_handled_and_the_state_says_so(
    connect: Callable[..., Client], teller: Teller
) -> None:
    held, go_on = threading.Event(), threading.Event()

    class Looking(Held):
        def on_text(self, chat: Any, text: str) -> None:
            super().on_text(chat, text)
            self.teller("state", chat.state)

        def on_cancelled(self, chat: Any, reason: str, partial: Any) -> None:
            self.teller("partial", partial["content"][0]["text"])
            self.teller.ended.set()

    ref, texts = Looking.start(teller, held, go_on), [str(number) for number in range(2000)]
    with Server(answering(*texts)) as server:
        chat = connect(server, window=64).chat(**ASK, stream=ref)
        wait(held)
        until_blocked(chat)
        chat.cancel()
        until_cancelled(chat)
        go_on.set()
        wait(teller.ended)
    told = "".join(text for _, text in teller.of("text"))
    assert len(teller.of("text")) > 60
    assert {state for _, state in teller.of("state")} == {"cancelled"}
    assert teller.notes[-1][0] == "partial"
    assert teller.notes[-1][1].startswith(told)
    ref.stop(timeout=DEADLINE)


def test_what_raises_among_events_that_arrived_together_is_the_last(
    connect: Callable[..., Client], teller: Teller
) -> None:
    go_on = threading.Event()
    go_on.set()
    ref = Held.start(teller, threading.Event(), go_on)
    with Server(answering("0", "1", "bad", "2", "3")) as server:
        chat = connect(server).chat(**ASK, stream=ref)
        wait(ref.actor_stopped)
        wait(chat.actor_stopped)
    assert [text for _, text in teller.notes] == ["0", "1"]


@pytest.mark.parametrize("name", ["on_receive", "handle"])
def test_who_takes_messages_gets_each_by_itself(connect: Callable[..., Client], teller: Teller, name: str) -> None:
    messages: list[Any] = []

    def taken(self: Any, message: Any) -> Any:
        messages.append(message)
        return getattr(Held, name)(self, message)

    kind: Any = type("Taking", (Held,), {name: taken})
    go_on = threading.Event()
    go_on.set()
    ref: pykka.ActorRef[Any] = kind.start(teller, threading.Event(), go_on)
    with Server(answering("0", "1", "2")) as server:
        connect(server).chat(**ASK, stream=ref)
        wait(teller.ended)
    assert [message.data["type"] for message in messages if type(message) is ChatEvent] == [
        *("message_start", "content_block_start"),
        *["content_block_delta"] * 3,
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    assert [text for _, text in teller.notes] == ["0", "1", "2"]
    ref.stop(timeout=DEADLINE)


def test_messages_of_other_kinds_that_came_together_are_handled_in_turn(teller: Teller) -> None:
    ref = Nosy.start(teller)
    chat: Any = object()
    run = ref.actor_inbox.packed([ChatEvent(chat, text_delta("Hi")), "of mine", ChatEvent(None, text_delta("Ho"))])  # type: ignore[attr-defined, arg-type] # its own inbox
    ref.tell(*run)
    ref.stop(timeout=DEADLINE)
    assert teller.of("on_text", "on_message") == [
        ("on_text", chat, "Hi"),
        ("on_message", "of mine"),
        ("on_text", None, "Ho"),
    ]


def test_what_a_method_raises_ends_the_actor_and_cancels_what_only_it_follows(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    class Failing(Listener):
        def on_text(self, chat: Any, text: str) -> None:
            raise ZeroDivisionError

        def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
            failed.set()

    ref = Failing.start()
    with Server(stalling) as server, caplog.at_level(logging.WARNING):
        chat = connect(server).chat(**ASK, stream=ref)
        wait(failed)
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result(DEADLINE)
        acquire(server.hung_up)
    assert "ZeroDivisionError" in caplog.text


def test_a_method_that_raises_does_not_end_a_chat_that_others_follow(connect: Callable[..., Client]) -> None:
    class Failing(Listener):
        def on_event(self, chat: Any, event: Any) -> None:
            raise ZeroDivisionError

    ref, inbox = Failing.start(), Inbox()
    with Server(answering("Hello")) as server:
        chat = connect(server).chat(**ASK, stream=inbox)
        chat.subscribe(ref)
        assert chat.result(DEADLINE)
        inbox.until_end()
    wait(ref.actor_stopped)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_listener_that_leaves_the_program_ends_alone(
    connect: Callable[..., Client], nosy: Any, teller: Teller, error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    failures: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    class Leaving(Listener):
        def on_text(self, chat: Any, text: str) -> None:
            raise error("bye")

        def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
            failures.put(exception_value)

    ref = Leaving.start()
    with Server(stalling) as server:
        client = connect(server)
        other = client.chat(**ASK, stream=nosy)
        until(lambda: teller.of("on_text"))
        chat = client.chat(**ASK, stream=ref)
        assert isinstance(failures.get(timeout=DEADLINE).__cause__, error)
        wait(chat.actor_stopped)
        assert (nosy.is_alive(), ref.is_alive(), other.state) == (True, False, "answering")
        other.cancel()
        until_told(other)
    assert f"{error.__name__}: bye" in caplog.text


def test_an_async_method_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.on_done: expected a function, got an async def.*use aio"):

        class Wrong(Listener):  # pyright: ignore[reportUnusedClass]
            async def on_done(self, chat: Any, message: Any) -> None:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
                pass


async def waits(*_: object) -> None:
    """Would have to be awaited."""


async def waits_and_yields(*_: object) -> AsyncIterator[None]:
    """Would have to be looped over in asyncio."""
    yield  # pragma: no cover


def yields(*_: object) -> Iterator[None]:
    """Would have to be looped over."""
    yield  # pragma: no cover


@pytest.mark.parametrize("base", [Handlers, Listener])
@pytest.mark.parametrize("name", ["on_text", "on_message", "handle"])
@pytest.mark.parametrize(
    ("method", "what"),
    [
        (waits, "an async def, which nobody would await"),
        (waits_and_yields, "an async def, which nobody would await"),
        (yields, "a generator function, and a call would not run it"),
    ],
)
def test_a_method_whose_call_would_do_nothing_is_refused(base: type, name: str, method: Any, what: str) -> None:
    kinds: list[Any] = [method, staticmethod(method), classmethod(method)]
    for given in kinds:
        with pytest.raises(TypeError, match=rf"Wrong\.{name}: expected a function, got {what}"):
            type("Wrong", (base,), {name: given})
    with pytest.raises(TypeError, match=rf"Wrong\.{name}: expected a function, got {what}"):
        type("Wrong", (type("Mixin", (), {name: method}), base), {})


class Pump:
    """A class with a method of a handler's name for something else, as those of Textual have."""

    async def on_event(self, event: object) -> None:
        """Handle an event of the toolkit."""


class Emitter:
    """A class with a method that has the arguments of a handler, too."""

    def on_done(self, future: object, result: object) -> None:
        """Take a result."""


@pytest.mark.parametrize("bases", [(Pump, Handlers), (Handlers, Pump), (Handlers, Emitter), (Pump, Listener)])
def test_a_class_beside_that_uses_a_handlers_name_for_something_else_is_named(bases: tuple[type, ...]) -> None:
    def on_event(self: Any, chat: Any, event: Any) -> None:
        """Take an event of the API."""

    (base,) = {*bases} & {Pump, Emitter}
    (name,) = {*vars(base)} & {"on_event", "on_done"}
    clash = rf"^Chat: its base class {base.__name__} has a method {name} of its own \(.*\); make a class of Handlers"
    for names in ({}, {"on_event": on_event}):
        with pytest.raises(TypeError, match=clash):
            type("Chat", bases, names)


def test_a_class_beside_may_have_handlers_itself() -> None:
    kind: Any = type("Page", (Emitter, Handlers), {})
    assert isinstance(kind(), Handlers)
    assert kind.on_done is Emitter.on_done


@pytest.mark.parametrize("base", [Handlers, Listener])
@pytest.mark.parametrize("given", [None, "text", staticmethod(None)])  # type: ignore[arg-type]
def test_what_cannot_be_called_is_refused_when_the_class_is_made(base: type, given: Any) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.on_text: expected a function, got (None|'text'); leave it out"):
        type("Wrong", (base,), {"on_text": given})


def test_a_property_may_give_a_method() -> None:
    told: list[Any] = []

    def tell(*said: Any) -> None:
        told.append(said)

    kind: Any = type("Given", (Handlers,), {"on_text": property(lambda _: tell)})
    kind().handle(ChatEvent(None, text_delta("Hi")))  # type: ignore[arg-type]
    assert told == [(None, "Hi")]


def test_private_names_of_a_program_harm_nothing(connect: Callable[..., Client], teller: Teller) -> None:
    ours = {name for kind in (Handlers, Listener) for name in vars(kind) if name.startswith("_anthropix_")}
    of_pykka = {name for name in vars(Listener) if hasattr(pykka.ThreadingActor, name)}
    others = {
        name for kind in (Handlers, Listener) for name in vars(kind) if not name.startswith(("__", "on_", "_abc_"))
    }
    assert others - ours - of_pykka == {"handle", "use_daemon_thread"} - of_pykka

    class Owner(Nosy):
        def __init__(self, teller: Teller) -> None:
            super().__init__(teller)
            self._readers = self._overridden = self._is_empty = self._handle_all = self._on_answer = None

    ref = Owner.start(teller)
    with Server(answering("Hi")) as server:
        connect(server).chat(**ASK, stream=ref)
        wait(teller.ended)
    assert [note[2] for note in teller.of("on_text", "on_block")] == ["Hi", {"type": "text", "text": "Hi"}]
    ref.stop(timeout=DEADLINE)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_may_be_left_out(name: str) -> None:
    if name == "on_message":
        return
    listener = Listener()
    assert getattr(listener, name)(*[None] * (getattr(Listener, name).__code__.co_argcount - 1)) is None


def test_a_method_with_other_arguments_is_refused_when_the_class_is_made() -> None:
    expected = r"Short\.on_cancelled: expected \(self, chat, reason, partial\), got \(self, chat, reason"
    with pytest.raises(TypeError, match=expected):

        class Short(Listener):  # pyright: ignore[reportUnusedClass]
            def on_cancelled(self, chat: Any, reason: str) -> None:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
                pass


def test_a_method_may_take_more_or_be_no_plain_function() -> None:
    class Odd(Handlers):
        on_text = print  # type: ignore[assignment] # not looked at

        def on_done(self, *what: Any, **more: Any) -> None:
            self.what = what

    odd = Odd()
    odd.on_done(1, 2)
    assert odd.what == (1, 2)


def test_what_a_method_raises_is_seen_though_no_logging_is_set_up(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from anthropix_actors import Client\n"
        "from anthropix_actors.subscribers import Listener\n"
        "class Wrong(Listener):\n"
        "    def on_done(self, chat, message):\n"
        "        raise KeyError('tokens')\n"
        "wrong = Wrong.start()\n"
        "with Client('k', base_url=sys.argv[1]) as client:\n"
        "    client.chat(model='m', messages=[{'role': 'user', 'content': 'x'}], stream=wrong).result(timeout=60)\n"
        "wrong.actor_stopped.wait(60)\n"
    )
    with Server(answering("Hi")) as server:
        done = subprocess.run(
            [sys.executable, str(program), server.url], capture_output=True, text=True, timeout=60, check=True
        )
    assert "ends, as one of its methods raised" in done.stderr
    assert "KeyError: 'tokens'" in done.stderr


def test_what_is_not_there_is_an_attribute_error() -> None:
    assert "Listener" in dir(anthropix_actors.subscribers)
    with pytest.raises(AttributeError, match=r"module 'anthropix_actors\.subscribers' has no attribute 'to_moon'"):
        _ = anthropix_actors.subscribers.to_moon


def test_it_says_its_public_name() -> None:
    assert Listener.__module__ == "anthropix_actors.subscribers"


class Forgetful(Listener):
    def __init__(self) -> None:  # pyright: ignore[reportMissingSuperCall]
        self.said = ""


def test_who_forgets_the_init_of_the_base_class_is_told_so() -> None:
    with pytest.raises(AttributeError, match=r"^'Forgetful' object .*: call super\(\)\.__init__\(\) first in"):
        Forgetful.start()
    wrong: Any = Forgetful()
    with pytest.raises(AttributeError, match=r"^'Forgetful' object has no attribute 'sayed'$"):
        _ = wrong.sayed
