"""Flow control: how far a subscriber may be behind, and what happens then."""

from __future__ import annotations

import contextlib
import queue
import threading
from operator import length_hint
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pykka.messages import ProxyGetAttr

from anthropix_actors import CancelledError, ChatDone, ChatEvent, ChatFailed, ChatRetrying, Client, TruncatedError
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._tasks.delivery import Delivery, Gone
from anthropix_actors._tasks.mailbox import Mailbox, delivery_to
from anthropix_actors.chat.coalescing import CoalescingMailbox
from anthropix_actors.chat.event_queue import EventQueue
from anthropix_actors.chat.merging import MOST_CHARS

from actors import ASK, Blocking, Inbox, Mortal, Reader, text_of, unread, until_blocked, waiting_in
from servers import (
    DEADLINE,
    Server,
    answering,
    block_start,
    block_stop,
    stalling,
    start,
    text_delta,
    until,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHAT: Any = object()
DONE = ChatDone(CHAT, {})  # type: ignore[typeddict-item]


def event(text: str = "x", index: int = 0) -> ChatEvent:
    return ChatEvent(CHAT, text_delta(text, index))  # type: ignore[arg-type]


def handled(ref: pykka.ActorRef[Any]) -> None:
    """Wait until an actor has handled all it was told so far: a mailbox is first in, first out."""
    ref.ask(ProxyGetAttr(attr_path=("actor_urn",)), timeout=DEADLINE)


def say_last(delivery: Delivery, message: Any) -> None:
    delivery.close(message)
    delivery.drain()


class Held:
    """An actor that handles nothing until it is let, and a thread that tells it as much as it can."""

    def __init__(self, kind: type[Mailbox | CoalescingMailbox], window: int) -> None:
        self.inbox = Inbox()
        self.gate, self.began = threading.Event(), threading.Event()
        self.ref = Reader.start(self.inbox, gate=self.gate, began=self.began)
        self.scope = CancelScope()
        self.delivery = kind(self.ref, self.scope, window)
        self.told = 0
        self.stopped_by: BaseException | None = None

    def tell_all(self, messages: list[Any]) -> threading.Thread:
        def run() -> None:
            try:
                for message in messages:
                    self.delivery.tell(message)
                    self.told += 1
            except (Gone, Exception) as exc:  # noqa: BLE001
                self.stopped_by = exc

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def wait_until_full(self) -> None:
        until(lambda: self.told)  # in a window of one it waits before the first message, too
        until_blocked(self.scope)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 8, 100, 256])
def test_an_actor_is_never_more_than_a_window_behind(window: int) -> None:
    held = Held(Mailbox, window)
    telling = held.tell_all([event(str(number)) for number in range(3 * window)])
    held.wait_until_full()
    assert held.ref.actor_inbox.empty() is False
    assert max(1, window - 1) <= held.told <= window  # one less if it was full before the actor had begun
    held.gate.set()
    telling.join(DEADLINE)
    handled(held.ref)
    assert held.told == held.inbox.queue.qsize() == 3 * window
    held.ref.stop()


@pytest.mark.parametrize("window", [4, 100])
def test_an_actor_that_kept_up_and_then_stalls_is_no_more_than_a_window_behind(window: int) -> None:
    held = Held(Mailbox, window)
    held.gate.set()
    held.tell_all([event()] * 10 * window).join(DEADLINE)
    handled(held.ref)
    held.gate.clear()
    telling = held.tell_all([event()] * 3 * window)
    held.wait_until_full()
    assert window - 1 <= held.told - 10 * window <= window
    held.gate.set()
    telling.join(DEADLINE)
    held.ref.stop()


def test_messages_are_handled_in_the_order_they_were_told() -> None:
    held = Held(Mailbox, 4)
    held.gate.set()
    messages = [event(str(number)) for number in range(100)]
    held.tell_all(messages).join(DEADLINE)
    handled(held.ref)
    assert [held.inbox.next() for _ in messages] == messages
    held.ref.stop()


def test_a_probe_is_not_seen_by_the_actor() -> None:
    held = Held(Mailbox, 1)
    held.gate.set()
    held.tell_all([event(), event()]).join(DEADLINE)
    handled(held.ref)
    assert held.inbox.queue.qsize() == 2
    held.ref.stop()


@pytest.mark.parametrize("kind", [Mailbox, CoalescingMailbox])
def test_the_wait_for_an_actor_ends_when_it_dies(kind: type[Mailbox | CoalescingMailbox]) -> None:
    held = Held(kind, 4)
    odd: Any = {"type": "odd"}
    telling = held.tell_all([ChatEvent(CHAT, odd)] * 100)
    held.wait_until_full()
    held.ref.stop(block=False)
    held.gate.set()
    telling.join(DEADLINE)
    assert not telling.is_alive()
    assert isinstance(held.stopped_by, Gone)
    assert held.delivery.detached
    assert not held.delivery.is_alive()


@pytest.mark.parametrize("kind", [Mailbox, CoalescingMailbox])
def test_the_last_message_does_not_wait_for_room(kind: type[Mailbox | CoalescingMailbox]) -> None:
    held = Held(kind, 4)
    odd: Any = {"type": "odd"}
    telling = held.tell_all([ChatEvent(CHAT, odd)] * 100)
    held.wait_until_full()
    say_last(held.delivery, DONE)
    held.gate.set()
    telling.join(DEADLINE)
    held.ref.stop()


def test_a_subscriber_that_is_no_actor_paces_the_chat_by_returning(connect: Callable[..., Client]) -> None:
    release = threading.Semaphore(0)

    class Slow(Inbox):
        def tell(self, message: Any, /) -> None:
            assert release.acquire(timeout=DEADLINE)
            super().tell(message)

    with Server(answering("a", "b")) as server:
        inbox = Slow()
        connect(server).chat(**ASK, stream=inbox)
        for _ in range(8):
            release.release()
        assert isinstance(inbox.until_end()[-1], ChatDone)


def test_a_subscriber_may_say_that_it_is_no_longer_alive(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        inbox = Mortal()
        chat = connect(server).chat(**ASK, stream=inbox)
        inbox.until(ChatEvent)
        inbox.alive = False
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError):
            chat.result(0)


def test_a_delivery_fits_its_subscriber() -> None:
    scope = CancelScope()
    ref = Reader.start(Inbox())
    assert type(delivery_to(ref, scope, window=8)) is Mailbox
    assert type(delivery_to(ref, scope, window=1)) is Mailbox
    assert type(delivery_to(Inbox(), scope, window=8)) is Delivery
    assert type(delivery_to(ref, scope, window=8, to_actor=CoalescingMailbox)) is CoalescingMailbox
    assert type(delivery_to(Inbox(), scope, window=8, to_actor=CoalescingMailbox)) is Delivery
    ref.stop()


def telling(delivery: Delivery, *messages: Any) -> threading.Thread:
    thread = threading.Thread(target=delivery.tell_all, args=(messages,))
    thread.start()
    return thread


def test_what_comes_while_a_message_is_told_is_told_by_the_same_thread_after_it() -> None:
    class Talks(Inbox):
        def tell(self, message: Any, /) -> None:
            if message == "first":
                delivery.put("second")
                delivery.drain()  # does nothing: this thread has the turn
            super().tell(message)

    inbox = Talks()
    delivery = Delivery(inbox, CancelScope())
    delivery.tell_all(["first"])
    assert [inbox.next(), inbox.next()] == ["first", "second"]
    assert delivery.is_told


def test_what_comes_just_as_a_thread_gives_up_its_turn_is_told() -> None:
    class Late(Delivery):
        """Something comes from another thread when nothing is left to tell, and before the turn is over."""

        def _is_due(self) -> bool:
            if not self._waiting and late:
                self.put(late.pop())
                other = threading.Thread(target=self.drain)
                other.start()
                other.join(DEADLINE)
                return False
            return super()._is_due()

    inbox, late = Inbox(), ["second"]
    delivery = Late(inbox, CancelScope())
    delivery.put("first")
    delivery.drain()
    assert [inbox.next(), inbox.next()] == ["first", "second"]


def test_what_waits_for_a_turn_is_bounded() -> None:
    inbox, scope = Blocking(), CancelScope()
    delivery = Delivery(inbox, scope, 3)
    first = telling(delivery, 0)
    wait(inbox.began)
    second = telling(delivery, *range(1, 6))
    until_blocked(scope)
    assert waiting_in(delivery) == 3
    assert not delivery.is_told
    assert not delivery.is_held_up  # a thread is about it
    inbox.let.set()
    first.join(DEADLINE)
    second.join(DEADLINE)
    assert [inbox.next() for _ in range(6)] == list(range(6))


def test_after_the_last_messages_nothing_is_told() -> None:
    inbox = Blocking()
    delivery = Delivery(inbox, CancelScope())
    thread = telling(delivery, "first")
    wait(inbox.began)
    delivery.close("last")
    delivery.tell_all(["late"])
    inbox.let.set()
    thread.join(DEADLINE)
    assert [inbox.next(), inbox.next()] == ["first", "last"]
    assert inbox.queue.empty()


def test_to_settle_is_to_wait_until_an_actor_has_handled_all_or_time_is_up() -> None:
    held = Held(Mailbox, 4)
    held.tell_all([event()]).join(DEADLINE)
    held.delivery.flush(0.01)
    assert held.inbox.queue.empty()
    threading.Timer(0.05, held.gate.set).start()
    held.delivery.flush(DEADLINE)
    assert held.inbox.queue.qsize() == 1
    held.ref.stop()


# coalesce


def test_a_slow_actor_gets_merged_deltas_and_loses_nothing() -> None:
    held = Held(CoalescingMailbox, 64)
    told: list[Any] = [
        ChatEvent(CHAT, start()),  # type: ignore[arg-type]
        *[event(str(number)) for number in range(50)],
        ChatEvent(CHAT, block_stop()),  # type: ignore[arg-type]
        event("a", 1),
        event("b", 1),
        event("c", 2),
        ChatRetrying(CHAT, 1, 0.5, TruncatedError("odd")),
    ]
    held.tell_all(told).join(DEADLINE)
    assert held.told == len(told)
    say_last(held.delivery, DONE)
    held.gate.set()
    handled(held.ref)
    messages = held.inbox.until_end()
    assert text_of(messages) == "".join(map(str, range(50))) + "abc"
    assert len(messages) == 7
    assert messages[1].data == text_delta("".join(map(str, range(50))))
    assert messages[3].data == text_delta("ab", 1)
    held.ref.stop()


def test_a_fast_actor_gets_every_delta_for_itself() -> None:
    held = Held(CoalescingMailbox, 64)
    held.gate.set()
    for number in range(20):
        held.delivery.tell(event(str(number)))
        handled(held.ref)
    assert held.inbox.queue.qsize() == 20
    held.ref.stop()


def test_what_was_kept_is_told_as_soon_as_the_actor_is_free_again() -> None:
    held = Held(CoalescingMailbox, 64)
    for text in ("one ", "two ", "three"):
        held.delivery.tell(event(text))
    held.gate.set()
    assert held.inbox.next().data == text_delta("one ")
    assert held.inbox.next().data == text_delta("two three")
    held.ref.stop()


def test_thinking_and_tool_input_merge_too_and_never_with_text() -> None:
    def delta(kind: str, key: str, piece: str) -> ChatEvent:
        data: Any = {"type": "content_block_delta", "index": 0, "delta": {"type": kind, key: piece}}
        return ChatEvent(CHAT, data)

    held = Held(CoalescingMailbox, 64)
    held.delivery.tell(event("first"))
    for piece in ("a", "b"):
        held.delivery.tell(delta("thinking_delta", "thinking", piece))
    for piece in ("c", "d"):
        held.delivery.tell(delta("input_json_delta", "partial_json", piece))
    held.delivery.tell(delta("signature_delta", "signature", "e"))
    held.delivery.tell(delta("signature_delta", "signature", "f"))
    held.gate.set()
    deltas = [held.inbox.next().data["delta"] for _ in range(5)]
    assert deltas[1:] == [
        {"type": "thinking_delta", "thinking": "ab"},
        {"type": "input_json_delta", "partial_json": "cd"},
        {"type": "signature_delta", "signature": "e"},
        {"type": "signature_delta", "signature": "f"},
    ]
    held.ref.stop()


def test_the_text_that_waits_for_a_slow_actor_is_bounded() -> None:
    held = Held(CoalescingMailbox, 64)
    telling = held.tell_all([event("x" * 1000)] * 1000)
    held.wait_until_full()
    assert held.told * 1000 <= MOST_CHARS + 2000
    held.gate.set()
    telling.join(DEADLINE)
    assert held.told == 1000
    held.ref.stop()


def test_the_messages_that_wait_for_a_slow_actor_are_bounded() -> None:
    held = Held(CoalescingMailbox, 4)
    telling = held.tell_all([ChatEvent(CHAT, block_start(number)) for number in range(20)])  # type: ignore[arg-type]
    held.wait_until_full()
    assert held.told + 1 == 1 + 4  # one of them is with the actor
    held.gate.set()
    telling.join(DEADLINE)
    handled(held.ref)
    assert held.inbox.queue.qsize() == 20
    held.ref.stop()


def test_what_was_kept_reaches_an_actor_with_a_bounded_mailbox() -> None:
    class Bounded(Reader):
        @staticmethod
        def _create_actor_inbox() -> Any:
            return queue.Queue(maxsize=1)

    inbox, gate = Inbox(), threading.Event()
    ref = Bounded.start(inbox, gate=gate)
    delivery = CoalescingMailbox(ref, CancelScope(), 64)
    messages: list[Any] = [ChatEvent(CHAT, block_start(number)) for number in range(5)]  # type: ignore[arg-type]
    for message in messages:
        delivery.tell(message)
    gate.set()  # in the actor's thread, from whose thread the others cannot be put
    assert [inbox.next() for _ in messages] == messages
    ref.stop()


def test_an_actor_that_stops_before_it_has_handled_all_is_not_failed_by_what_was_kept() -> None:
    held = Held(CoalescingMailbox, 64)
    held.ref.tell("something else")
    wait(held.began)
    held.ref.stop(block=False)
    held.delivery.tell(event("first"))
    held.delivery.tell(event("second"))
    held.gate.set()  # it stops, and its mailbox is emptied: so the probe is answered
    until(lambda: held.delivery.detached)


def test_a_coalescing_chat_that_is_cancelled_tells_no_more() -> None:
    held = Held(CoalescingMailbox, 64)
    held.scope.cancel(CancelledError("lunch"))
    with pytest.raises(CancelledError, match="lunch"):
        held.delivery.tell(event())
    held.gate.set()
    held.ref.stop()


def test_a_dead_actor_does_not_hold_up_a_coalescing_chat() -> None:
    held = Held(CoalescingMailbox, 64)
    held.gate.set()
    held.ref.stop()
    with pytest.raises(Gone):
        held.delivery.tell(event())


def test_coalescing_works_from_end_to_end(connect: Callable[..., Client]) -> None:
    texts = [f"{number} " for number in range(2000)]
    with Server(answering(*texts)) as server:
        inbox = Inbox()
        gate = threading.Event()
        reader = Reader.start(inbox, gate=gate)
        chat = connect(server).chat(**ASK, stream=reader, coalesce=True)
        assert chat.result(DEADLINE)["stop_reason"] == "end_turn"
        gate.set()
        messages = inbox.until_end()
        reader.stop()
    assert text_of(messages) == "".join(texts)
    assert len(messages) < 50
    assert isinstance(messages[-1], ChatDone)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("text"), st.integers(0, 2), st.text(max_size=3)),
            st.tuples(st.just("other"), st.integers(0, 2), st.just("")),
            st.tuples(st.just("let"), st.just(0), st.just("")),
        ),
        max_size=30,
    )
)
def test_merging_keeps_every_character_in_its_place(steps: list[tuple[str, int, str]]) -> None:
    """Whatever is told, and whenever the actor is free: the text and the order of all else are the same."""
    inbox = Inbox()
    allowed = threading.Semaphore(0)

    def wait_to_be_let(_: Any) -> None:
        assert allowed.acquire(timeout=DEADLINE)

    reader = Reader.start(inbox, wait_to_be_let)
    delivery = CoalescingMailbox(reader, CancelScope(), 1000)
    told: list[Any] = []
    for kind, index, text in steps:
        if kind == "let":
            allowed.release()
            continue
        message = event(text, index) if kind == "text" else ChatEvent(CHAT, block_start(index))  # type: ignore[arg-type]
        told.append(message)
        delivery.tell(message)
    say_last(delivery, DONE)
    for _ in range(len(told) + 1):
        allowed.release()
    got = inbox.until_end()[:-1]
    reader.stop()
    assert squeezed(got) == squeezed(told)


def squeezed(messages: list[Any]) -> list[Any]:
    """Merge all neighbouring text: what is equal then differs in nothing but where it was cut."""
    result: list[Any] = []
    for message in messages:
        data = message.data
        if data["type"] == "content_block_delta" and result and result[-1][0] == ("text", data["index"]):
            result[-1][1] += data["delta"]["text"]
        elif data["type"] == "content_block_delta":
            result.append([("text", data["index"]), data["delta"]["text"]])
        else:
            result.append([("other", data["index"]), ""])
    return result


# the channel of an iterator


def test_a_channel_gives_its_end_to_everyone_for_ever() -> None:
    channel = EventQueue(CancelScope(), 4)
    first: Any = text_delta("x")
    channel.tell_events([first])
    channel.tell(ChatRetrying(CHAT, 1, 0.5, TruncatedError("odd")))
    channel.close(ChatEvent(CHAT, first), DONE)
    channel.close(ChatFailed(CHAT, TruncatedError("later")))
    assert [channel.get() for _ in range(4)] == [first, first, DONE, DONE]
    assert not channel.is_alive()


def test_whoever_waits_for_a_channel_waits_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.chat.event_queue.SLICE", 0.001)
    channel = EventQueue(CancelScope(), 4)
    threading.Timer(0.1, channel.close, (DONE,)).start()
    assert channel.get() is DONE


def test_a_full_channel_waits_until_half_of_it_is_taken() -> None:
    scope = CancelScope()
    channel = EventQueue(scope, 4)

    def put() -> None:
        channel.tell_events([event().data] * 6)

    putting = threading.Thread(target=put)
    putting.start()
    until_blocked(scope)
    assert unread(channel) == 4
    for _ in range(6):
        channel.get()
    putting.join(DEADLINE)
    assert not putting.is_alive()


def test_several_messages_at_once_are_told_in_order_until_the_actor_leaves_or_dies() -> None:
    inbox, scope = Inbox(), CancelScope()
    reader = Reader.start(inbox)
    delivery = Mailbox(reader, scope, 8)
    delivery.tell_all(range(20))
    assert [inbox.next() for _ in range(20)] == list(range(20))
    delivery.detached = True
    delivery.tell_all(["never"])
    delivery.detached = False
    delivery.flush(5)
    assert inbox.queue.empty()
    scope.cancel(CancelledError("lunch"))
    with pytest.raises(CancelledError):
        delivery.tell_all(["never"])
    reader.stop()
    delivery.flush(5)
    with pytest.raises(Gone):
        Mailbox(reader, CancelScope(), 8).tell_all(["nobody"])


class Counted:
    """An iterator of results of a function, that knows how many are left, as a list's does."""

    def __init__(self, make: Callable[[int], Any], count: int) -> None:
        self._make = make
        self._numbers = iter(range(count))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._make(next(self._numbers))

    def __length_hint__(self) -> int:
        return length_hint(self._numbers)


@pytest.mark.parametrize("kind", [Delivery, Mailbox])
@pytest.mark.parametrize("ends", ["cancelled", "detached"])
def test_a_message_is_taken_only_when_nothing_keeps_it_from_being_told(kind: Any, ends: str) -> None:
    inbox, scope = Inbox(), CancelScope()
    reader = Reader.start(inbox)
    delivery = Delivery(inbox, scope) if kind is Delivery else Mailbox(reader, scope, 8)
    taken: list[int] = []

    def take(number: int) -> int:
        taken.append(number)
        if number == 1 and ends == "cancelled":
            scope.cancel(CancelledError("lunch"))
        elif number == 1:
            delivery.detach()
        return number

    with pytest.raises(CancelledError) if ends == "cancelled" else contextlib.nullcontext():
        delivery.tell_all(Counted(take, 5))
    assert taken == [0, 1]
    assert [inbox.next(), inbox.next()] == [0, 1]
    reader.stop()
    assert inbox.queue.empty()


@pytest.mark.parametrize("kind", [Delivery, Mailbox])
def test_nothing_is_told_after_a_cancel(kind: Any) -> None:
    inbox, scope = Inbox(), CancelScope()
    reader = Reader.start(inbox)
    delivery = Delivery(inbox, scope) if kind is Delivery else Mailbox(reader, scope, 8)
    scope.cancel(CancelledError("lunch"))
    with pytest.raises(CancelledError):
        delivery.tell_all(["never"])
    reader.stop()
    assert inbox.queue.empty()


def test_a_message_is_not_taken_while_too_many_wait_for_their_turn() -> None:
    inbox, scope = Blocking(), CancelScope()
    delivery = Delivery(inbox, scope, 2)
    telling = threading.Thread(target=delivery.tell, args=("a",))
    telling.start()
    wait(inbox.began)
    delivery.put("b", "c")
    taken: list[str] = []

    def messages() -> Iterator[str]:
        taken.append("d")
        yield "d"

    behind = threading.Thread(target=delivery.tell_all, args=(messages(),))
    behind.start()
    until_blocked(scope)
    assert taken == []
    inbox.let.set()
    for thread in (telling, behind):
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert [inbox.next() for _ in range(4)] == ["a", "b", "c", "d"]


def test_several_messages_at_once_reach_any_subscriber() -> None:
    inbox, scope = Inbox(), CancelScope()
    delivery = Delivery(inbox, scope)
    delivery.tell_all("abc")
    assert [inbox.next() for _ in range(3)] == ["a", "b", "c"]
    delivery.detached = True
    delivery.tell_all("d")
    assert inbox.queue.empty()


def test_a_delivery_that_is_closed_takes_nothing_that_comes_later() -> None:
    inbox = Blocking()
    delivery = Delivery(inbox, CancelScope(), 4)
    delivery.put("a")
    draining = threading.Thread(target=delivery.drain)
    draining.start()
    wait(inbox.began)
    delivery.close("end")
    delivery.tell_all(["late"])
    inbox.let.set()
    draining.join(DEADLINE)
    assert [inbox.next(), inbox.next()] == ["a", "end"]
    assert inbox.queue.empty()
    assert delivery.is_told


@pytest.mark.parametrize("kind", [Delivery, CoalescingMailbox])
def test_who_has_left_is_left_nothing(kind: Any) -> None:
    reader = Reader.start(inbox := Inbox())
    delivery = Delivery(inbox, CancelScope()) if kind is Delivery else kind(reader, CancelScope(), 4)
    delivery.detach()
    delivery.put(event())
    delivery.close(DONE)
    delivery.drain()
    assert delivery.is_told
    handled(reader)
    assert inbox.queue.empty()
    reader.stop()


def test_who_leaves_in_the_middle_of_what_was_kept_is_told_no_more() -> None:
    class Leaver(pykka.ThreadingActor):
        use_daemon_thread = True

        def on_receive(self, message: Any) -> None:
            inbox.tell(message)

    class Leaving(CoalescingMailbox):
        def _tell_now(self, message: Any) -> None:
            super()._tell_now(message)
            self.detach()  # by another thread, just now

    inbox = Inbox()
    leaver = Leaver.start()
    delivery = Leaving(leaver, CancelScope(), 8)
    delivery.close(event("a"), DONE)
    delivery.drain()
    handled(leaver)
    assert inbox.next() == event("a")
    assert inbox.queue.empty()
    leaver.stop()


def test_an_actor_with_a_bounded_inbox_is_told_the_rest_by_another_thread() -> None:
    class Bounded(Reader):
        def _create_actor_inbox(self) -> queue.Queue[Any]:  # type: ignore[override]
            return queue.Queue(maxsize=2)

    inbox, gate, began = Inbox(), threading.Event(), threading.Event()
    reader = Bounded.start(inbox, gate=gate, began=began)
    mailbox = CoalescingMailbox(reader, CancelScope(), 8)
    mailbox.tell(event("a"))
    wait(began)
    for text in "bcd":
        mailbox.tell(event(text))
    gate.set()
    assert inbox.next() == event("a")
    assert inbox.next() == event("bcd")
    reader.stop()
