"""Chats that are followed of their logs: from anywhere, from any point, by any number."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import (
    BlockPiece,
    CancelledError,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatResumed,
    ChatRetrying,
    Client,
    DeadlockError,
    Hub,
    OverloadedError,
    ParameterError,
    TextPiece,
)
from anthropix_actors.hub._read import follower
from anthropix_actors.hub._read.follower import Follower, Reading
from anthropix_actors.stores import Lost, MemoryStore, StoreError

from actors import ASK, Blocking, Inbox, task_of
from servers import (
    BUSY,
    DEADLINE,
    Gated,
    Halt,
    Replies,
    Server,
    answer,
    answering,
    block_start,
    block_stop,
    start,
    text_delta,
    until,
    wait,
    whole,
)
from stores_for_tests import Shaky, Written, raising

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anthropix_actors.hub import Followed
    from anthropix_actors.stores import Entry, Store

TEXTS = [f"word {number} " for number in range(40)]


@pytest.fixture
def written(connect: Callable[..., Client], any_store: Store) -> Store:
    """A store with the log of a whole chat, `a`."""
    with Server(answering(*TEXTS)) as server, Hub(any_store) as hub:
        connect(server).chat(**ASK, stream=(writer := hub.to("a"))).result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)
    return any_store


def text_of(messages: list[Any]) -> str:
    events: list[Any] = [message.data for message in messages if isinstance(message, ChatEvent)]
    deltas = [event.get("delta", {}) for event in events]
    return "".join(delta.get("text", "") for delta in deltas)


# Loops


def test_a_loop_gets_the_messages_of_the_chat_live(
    any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    gated = Gated(answer(*TEXTS))
    here, there = hubs(any_store), hubs(any_store)
    with Server(gated) as server:
        chat = connect(server).chat(**ASK, stream=here.to("a", tag="night"))
        followed = there.follow("a")
        assert [followed.chat.state] == ["queued"]
        messages = iter(followed)
        first = [next(messages) for _ in range(3)]
        assert followed.chat.state == "answering"
        assert followed.cursor == first[-1].cursor
        assert followed.chat.snapshot() == chat.snapshot()
        gated.go_on.set()
        rest = list(messages)
    told = [*first, *rest]
    assert [message.data for message in told[:-1] if isinstance(message, ChatEvent)] == answer(*TEXTS)
    end = told[-1]
    assert isinstance(end, ChatDone)
    assert end.message == chat.result()
    assert {message.chat for message in told} == {followed.chat}
    assert (followed.chat.state, followed.chat.tag, followed.chat.request_id) == ("done", "night", "req_test")
    assert followed.chat.attempts == 1
    assert followed.chat.result() == chat.result()
    assert end.usage.output_tokens == 9
    assert repr(followed.chat) == "<LogRef 'a', done>"
    assert "<Followed <LogRef 'a', done> at " in repr(followed)


def test_a_late_loop_gets_all_of_it(written: Store, hubs: Callable[..., Hub]) -> None:
    hub = hubs(written)
    messages = list(hub.follow("a"))
    assert text_of(messages) == "".join(TEXTS)
    assert not [thread for thread in threading.enumerate() if thread.name == "anthropix-follower"]


def test_from_each_cursor_on_nothing_is_missed_and_nothing_comes_twice(
    written: Store, hubs: Callable[..., Hub]
) -> None:
    hub = hubs(written)
    messages = list(hub.follow("a"))
    assert all(a.cursor != b.cursor for a, b in pairwise(messages))
    for place, message in enumerate(messages[:-1]):
        more = list(hub.follow("a", after=message.cursor))
        assert [each.cursor for each in more] == [each.cursor for each in messages[place + 1 :]]


def test_after_the_end_the_end_comes_again(written: Store, hubs: Callable[..., Hub]) -> None:
    hub = hubs(written)
    followed = hub.follow("a")
    end: Any = None
    again: Any = None
    for _ in range(2):
        *_, end = followed
        (again,) = hub.follow("a", after=end.cursor)
        assert isinstance(again, ChatDone)
    assert followed.message() == again.message
    ref = hub.ref("a", after=end.cursor)
    assert ref.snapshot() == again.message
    assert ref.result(timeout=DEADLINE) == ref.snapshot()


def test_a_loop_that_was_left_goes_on_where_it_was(written: Store, hubs: Callable[..., Hub]) -> None:
    hub = hubs(written)
    followed = hub.follow("a")
    messages: list[Any] = []
    while not messages or not isinstance(messages[-1], ChatDone):
        for message in followed:  # left after each
            messages.append(message)
            break
    assert text_of(messages) == "".join(TEXTS)


def test_leaving_cancels_nothing(any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]) -> None:
    gated = Gated(answer("Hel", "lo"))
    here, there = hubs(any_store), hubs(any_store)
    with Server(gated) as server:
        chat = connect(server).chat(**ASK, stream=here.to("a"))
        followed = there.follow("a")
        for _ in followed:
            break
        until(lambda: not there.metrics().reading)
        until(lambda: followed.chat.state == "cancelled")  # here: it is followed no longer
        inbox = Inbox()
        ref = there.follow("a", to=inbox)
        inbox.next()
        ref.unsubscribe(inbox)
        until(lambda: not there.metrics().reading)
        assert ref.stop()
        gated.go_on.set()
        assert ref.result(timeout=DEADLINE) == chat.result(timeout=DEADLINE)
        assert followed.result(timeout=DEADLINE) == chat.result()


def test_a_closed_loop_ends_in_another_thread(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    Written(store)
    hub = hubs(store)
    told: list[Any] = []
    with hub.follow("a") as followed:
        thread = threading.Thread(target=lambda: told.extend(followed))
        thread.start()
        until(lambda: hub.metrics().reading)
    thread.join(DEADLINE)
    (end,) = told
    assert isinstance(end, ChatCancelled)
    followed.close()


def test_text_and_pieces_and_the_message(written: Store, hubs: Callable[..., Hub]) -> None:
    hub = hubs(written)
    assert list(hub.follow("a").text) == TEXTS
    pieces = list(hub.follow("a").pieces)
    assert [piece.text for piece in pieces if isinstance(piece, TextPiece)] == TEXTS
    assert isinstance(pieces[-1], BlockPiece)
    message = hub.follow("a").message()
    assert message["content"] == [{"type": "text", "text": "".join(TEXTS)}]
    assert hub.result("a", timeout=DEADLINE) == message


def test_a_failure_is_raised_as_the_same_class(
    any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    hub = hubs(any_store)
    with Server(Replies(BUSY)) as server:
        connect(server).chat(**ASK, stream=hub.to("a"))
        for wait_for in (
            lambda: hub.result("a", DEADLINE),
            hub.follow("a").message,
            lambda: list(hub.follow("a").text),
        ):
            with pytest.raises(OverloadedError) as caught:
                wait_for()
            assert (caught.value.status, caught.value.attempts) == (529, 1)


def test_a_result_that_does_not_come_in_time_leaves_the_chat_alone(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere = Written(store)
    hub = hubs(store)
    with pytest.raises(TimeoutError, match="it goes on"):
        hub.result("a", timeout=0.01)
    until(lambda: not hub.metrics().reading)
    elsewhere.end("Hi")
    assert hub.result("a", timeout=DEADLINE)["content"]


def test_retries_and_lost_answers_are_told(connect: Callable[..., Client], hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    with Server(Replies(BUSY, BUSY, whole("Hi"))) as server:
        connect(server, max_retries=2).chat(**ASK, stream=hub.to("a")).result(timeout=DEADLINE)
    told = list(hub.follow("a"))
    assert [message.attempt for message in told if isinstance(message, ChatRetrying)] == [1, 2]
    assert told[-1].chat.attempts == 3


def test_pieces_of_an_answer_that_was_begun_again_have_no_block_that_is_void(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere = Written(store)
    elsewhere.tell(start(), block_start(), text_delta("He"))
    elsewhere.add({"kind": "begin", "format": 1, "attempt": 2})
    elsewhere.tell(*answer("Hello"))
    elsewhere.end("Hello")
    pieces = list(hubs(store).follow("a").pieces)
    assert [piece.text for piece in pieces if isinstance(piece, TextPiece)] == ["He", "Hello"]
    assert [piece.block for piece in pieces if isinstance(piece, BlockPiece)] == [{"type": "text", "text": "Hello"}]


# Subscribers


def test_a_subscriber_is_told_the_same_and_an_actor_too(written: Store, hubs: Callable[..., Hub]) -> None:
    hub = hubs(written)
    inbox = Inbox()
    ref = hub.follow("a", to=inbox)
    assert [message.cursor for message in inbox.until_end()] == [message.cursor for message in hub.follow("a")]
    assert ref.result(timeout=DEADLINE) == inbox.messages[-1].message
    after = Inbox()
    hub.follow("a", to=after, after=inbox.messages[5].cursor)
    assert len(after.until_end()) == len(inbox.messages) - 6


def test_a_second_subscriber_is_told_what_rebuilds_the_answer(any_store: Store, hubs: Callable[..., Hub]) -> None:
    elsewhere, hub = Written(any_store), hubs(any_store)
    elsewhere.tell(start(), block_start(), text_delta("Hel"), text_delta("lo"))
    first, second = Inbox(), Inbox()
    ref = hub.follow("a", to=first)
    until(lambda: first.queue.qsize() == 4)
    ref.subscribe(second)
    elsewhere.tell(text_delta("!"), block_stop())
    elsewhere.end("Hello!")
    assert text_of(first.until_end()) == text_of(second.until_end()) == "Hello!"
    assert second.messages[0].cursor is None
    assert len(second.messages) < len(first.messages)
    assert second.messages[-1] is first.messages[-1]


def test_after_a_cursor_there_is_one_subscriber(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store)
    elsewhere.tell(start(), block_start(), text_delta("Hel"))
    cursor = store.read("a")[2].cursor
    inbox = Inbox()
    ref = hub.follow("a", to=inbox, after=cursor)
    assert inbox.next().data == text_delta("Hel")
    assert hub.ref("a").snapshot() is None  # nobody follows by it
    with pytest.raises(ParameterError, match="expected one subscriber where a chat is followed from a cursor"):
        ref.subscribe(Inbox())
    ref.subscribe(inbox)  # which it is
    snapshot = ref.snapshot()
    assert snapshot is not None
    assert snapshot["content"] == [{"type": "text", "text": "Hel"}]
    elsewhere.add({"kind": "begin", "format": 1, "attempt": 2})
    assert inbox.until(ChatResumed).attempt == 2


def test_many_at_different_places_of_one_log_all_get_the_rest(any_store: Store, hubs: Callable[..., Hub]) -> None:
    elsewhere, hub = Written(any_store), hubs(any_store)
    elsewhere.tell(start(), block_start(), *map(text_delta, TEXTS))
    cursors = [entry.cursor for entry in any_store.read("a")]
    inboxes = {cursor: Inbox() for cursor in cursors}
    for cursor, inbox in inboxes.items():
        hub.follow("a", to=inbox, after=cursor)
    odd = Inbox()
    generation, _, number = cursors[-1].rpartition(".")
    hub.follow("a", to=odd, after=f"{generation}.00{number}")  # the same place, written in another way
    until(lambda: hub.metrics().reading == len(cursors) + 1)
    elsewhere.tell(text_delta("!"), block_stop())
    elsewhere.end()
    for place, cursor in enumerate(cursors):
        told = inboxes[cursor].until_end()
        assert len(told) == len(cursors) - place - 1 + 3
    assert len(odd.until_end()) == 3


def test_one_that_joins_later_is_read_for_from_its_own_place(any_store: Store, hubs: Callable[..., Hub]) -> None:
    """More than one read has, so that the follower itself has to catch up."""
    elsewhere, hub = Written(any_store), hubs(any_store)
    elsewhere.tell(start(), block_start())
    first = Inbox()
    hub.follow("a", to=first)
    for _ in range(3):
        elsewhere.tell(*[text_delta("x")] * 900)
    until(lambda: first.queue.qsize() == 2702)
    second = Inbox()
    hub.follow("a", to=second)
    until(lambda: second.queue.qsize() == 2702)
    elsewhere.end()
    assert len(second.until_end()) == len(first.until_end()) == 2703


def test_an_actor_that_is_behind_makes_nobody_else_wait(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    logs = {name: Written(store, name) for name in ("slow", "quick")}
    hub = hubs(store, window=8)
    slow, quick = Blocking(), Inbox()
    hub.follow("slow", to=slow)
    hub.follow("quick", to=quick)
    for log in logs.values():
        log.tell(start(), block_start(), *[text_delta("x")] * 500)
    wait(slow.began)
    more = [text_delta("y")] * 500
    logs["slow"].tell(*more)
    for log in logs.values():
        log.end()
    assert len(quick.until_end()) == 503
    assert slow.queue.empty()
    slow.let.set()
    assert len(slow.until_end()) == 1003


def test_what_waits_for_a_slow_one_is_bounded(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    elsewhere, hub = Written(store), hubs(store, window=8)
    slow = Blocking()
    ref = hub.follow("a", to=slow)
    elsewhere.tell(start(), block_start(), *[text_delta("x")] * 3000)
    wait(slow.began)
    task: Any = task_of(ref)
    until(lambda: len(task._arrived) > 8)
    reads = store.calls["read_many"]
    for _ in range(5):
        elsewhere.tell(text_delta("z"))
    Written(store, "other").end()
    assert hub.result("other", timeout=DEADLINE)
    assert len(task._arrived) <= 1008
    assert store.calls["read_many"] < reads + 50
    slow.let.set()
    elsewhere.end()
    assert len(slow.until_end()) == 3008


def test_one_that_raises_or_has_died_is_told_no_more_and_nobody_else_is_hurt(
    hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    class Bad:
        def tell(self, _: Any) -> None:
            raise SystemExit

    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store)
    good = Inbox()
    hub.follow("a", to=Bad())
    hub.follow("a", to=good)
    elsewhere.tell(start())
    good.next()
    until(lambda: hub.metrics().reading == 1)
    elsewhere.end()
    good.until_end()
    assert "failed to take a message" in caplog.text


def test_what_is_no_subscriber_is_refused(written: Store, hubs: Callable[..., Hub]) -> None:
    hub = hubs(written)
    with pytest.raises(ParameterError, match="to: expected something with a tell method"):
        hub.follow("a", to=7)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="subscriber"):
        hub.ref("a").subscribe(7)  # type: ignore[arg-type]


def test_a_done_callback_is_enough_to_be_read(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store)
    called = threading.Event()
    ref = hub.ref("a")
    ref.add_done_callback(lambda _: called.set())
    until(lambda: hub.metrics().reading)
    elsewhere.end("Hi")
    wait(called)
    assert ref.state == "done"


def test_a_wait_in_a_handler_is_refused(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store)
    caught: list[BaseException] = []
    over = threading.Event()

    class Waits:
        def tell(self, message: Any) -> None:
            try:
                message.chat.result(timeout=1)
            except DeadlockError as exc:
                caught.append(exc)
            over.set()

    hub.follow("a", to=Waits())
    elsewhere.tell(start())
    wait(over)
    assert len(caught) == 1
    elsewhere.end()


def test_it_has_no_mailbox(written: Store, hubs: Callable[..., Hub]) -> None:
    ref = hubs(written).ref("a")
    for call in (ref.tell, ref.ask):
        with pytest.raises(pykka.ActorDeadError, match="runs elsewhere"):
            call("hello")  # type: ignore[arg-type]
    assert ref.is_alive()
    ref.result(timeout=DEADLINE)
    assert not ref.is_alive()


def test_a_cancel_through_the_ref_reaches_the_chat(
    any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    here, there = hubs(any_store), hubs(any_store)
    with Server(Halt()) as server:
        connect(server).chat(**ASK, stream=here.to("a"))
        inbox = Inbox()
        ref = there.follow("a", to=inbox)
        assert ref.cancel("enough")
        end = inbox.until_end()[-1]
    assert isinstance(end, ChatCancelled)
    assert (end.reason, end.cursor is None) == ("enough", False)
    assert end.usage.output_tokens == 0
    with pytest.raises(CancelledError, match="enough"):
        ref.result()


# What is lost


def test_what_is_not_there_or_not_it_is_lost(written: Store, hubs: Callable[..., Hub]) -> None:
    hub = hubs(written)
    cursor = written.read("a")[3].cursor
    with pytest.raises(Lost, match="there is no log"):
        hub.follow("nothing")
    with pytest.raises(ParameterError, match="after: expected the cursor"):
        hub.follow("a", after="7")
    hub.delete("a")
    Written(written).tell(start(), block_start(), text_delta("x"), text_delta("y"))
    with pytest.raises(Lost, match="made anew"):
        hub.follow("a", after=cursor)


def test_a_log_that_is_deleted_meanwhile_is_lost(any_store: Store, hubs: Callable[..., Hub]) -> None:
    elsewhere, hub = Written(any_store), hubs(any_store)
    inbox = Inbox()
    hub.follow("a", to=inbox)
    elsewhere.tell(*answer("Hi")[:3])
    inbox.next()
    hub.delete("a")
    end = inbox.until_end()[-1]
    assert isinstance(end, ChatFailed)
    assert isinstance(end.error, Lost)
    assert end.error.partial is not None


def test_a_log_whose_writer_has_died_is_lost_after_the_lease(any_store: Store, hubs: Callable[..., Hub]) -> None:
    elsewhere, hub = Written(any_store, holder="dying"), hubs(any_store, lease=0.1)
    inbox = Inbox()
    hub.follow("a", to=inbox)
    elsewhere.tell(*answer("Hi")[:3])
    assert inbox.until(ChatEvent)
    any_store.beat("dying", 0)
    end = inbox.until_end()[-1]
    assert isinstance(end, ChatFailed)
    assert "has died" in str(end.error)
    assert isinstance(end.error, Lost)
    with pytest.raises(Lost):
        hub.result("a", timeout=DEADLINE)
    assert hub.status("a").state == "lost"


def test_a_log_that_expires_in_the_middle_is_lost(any_store: Store, hubs: Callable[..., Hub]) -> None:
    Written(any_store)
    hub = hubs(any_store, lease=0.1)
    inbox = Inbox()
    hub.follow("a", to=inbox)
    any_store.expire("a", 0.01)
    end = inbox.until_end()[-1]
    assert isinstance(end.error, Lost)


def test_a_job_that_waits_is_not_lost(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    hub = hubs(store, lease=0.06)
    inbox = Inbox()
    hub.submit(ASK, id="a")
    ref = hub.follow("a", to=inbox)
    looks = store.calls.get("state", 0)
    until(lambda: store.calls["state"] > looks + 2)
    assert ref.state == "queued"
    assert hub.cancel("a", "enough")
    assert inbox.until_end()[-1].reason == "enough"


def test_a_log_of_a_newer_version_is_refused(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    store.append("a", store.claim("a"), 0, [{"kind": "begin", "format": 2}])
    with pytest.raises(ParameterError, match="expected a log of format 1, got 2"):
        hubs(store).result("a", timeout=DEADLINE)


def test_entries_of_a_newer_kind_are_skipped(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere = Written(store)
    elsewhere.add({"kind": "brand_new"})
    elsewhere.end("Hi")
    (end,) = hubs(store).follow("a")
    assert isinstance(end, ChatDone)


# Stores that are away


@pytest.mark.parametrize("exc", [StoreError("away"), SystemExit("foreign")], ids=repr)
def test_a_reader_waits_for_a_store_that_is_away(exc: BaseException, hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    elsewhere, hub = Written(store), hubs(store)
    inbox = Inbox()
    store.faults["read_many"] = raising(exc, times=3)
    hub.follow("a", to=inbox)
    elsewhere.tell(*answer("Hi"))
    elsewhere.end("Hi")
    assert text_of(inbox.until_end()) == "Hi"
    assert hub.metrics().read_failures == 3


def test_a_reader_is_told_of_a_store_that_stays_away(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    Written(store)
    hub = hubs(store, patience=0.1)
    inbox = Inbox()
    store.faults["read_many"] = raising(OSError("no route"))
    ref = hub.follow("a", to=inbox)
    end = inbox.until_end()[-1]
    assert isinstance(end.error, StoreError)
    assert "could not be read for 0.1 s: no route" in str(end.error)
    assert isinstance(end.error.__cause__, OSError)
    with pytest.raises(StoreError):
        ref.result(timeout=DEADLINE)


def test_who_follows_later_has_patience_of_its_own(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    elsewhere, hub = Written(store), hubs(store, patience=0.3)
    store.faults["read_many"] = raising(StoreError("away"))
    inbox = Inbox()
    hub.follow("a", to=inbox)
    assert isinstance(inbox.until_end()[-1], ChatFailed)
    store.faults["read_many"] = raising(StoreError("away"), times=2)
    later = Inbox()
    hub.follow("a", to=later)
    until(lambda: hub.metrics().read_failures > 3)
    elsewhere.end("Hi")
    assert isinstance(later.until_end()[-1], ChatDone)


def test_a_store_that_loses_what_wakes_the_follower_is_read_on(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store, holder="me")
    inbox = Inbox()
    hub.follow("a", to=inbox)
    until(lambda: "me/wake" in store.names())
    store.delete("me/wake")
    elsewhere.tell(start())
    inbox.next()
    for number in range(3):
        Written(store, f"b{number}").end()
        assert hub.result(f"b{number}", timeout=DEADLINE)
    elsewhere.end()
    inbox.until_end()
    until(lambda: "me/wake" not in store.names())


def test_a_wake_that_fails_only_comes_late(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    elsewhere, other = Written(store), Written(store, "b")
    hub = hubs(store, lease=0.3)
    first, second = Inbox(), Inbox()
    hub.follow("a", to=first)
    elsewhere.tell(start())
    first.next()
    store.faults["post"] = raising(OSError("no route"))
    hub.follow("b", to=second)
    other.tell(start())
    second.next()
    for log in (elsewhere, other):
        log.end()
    first.until_end()
    second.until_end()


def test_a_hub_that_is_closed_tells_those_who_follow() -> None:
    store = MemoryStore()
    Written(store)
    inbox, late = Inbox(), Inbox()
    with Hub(store) as hub:
        hub.follow("a", to=inbox)
        ref = hub.ref("a")
    end = inbox.until_end()[-1]
    assert isinstance(end, ChatCancelled)
    assert (end.reason, end.cursor) == ("the hub was closed", None)
    with pytest.raises(Exception, match="the hub is closed"):
        ref.subscribe(late)


def test_a_thousand_are_followed_by_one_thread(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    logs = [Written(store, f"log-{number}") for number in range(1000)]
    hub = hubs(store)
    inboxes = [Inbox() for _ in logs]
    for log, inbox in zip(logs, inboxes, strict=True):
        hub.follow(log.name, to=inbox)
    for log in logs:
        log.tell(start())
        log.end(log.name)
    for log, inbox in zip(logs, inboxes, strict=True):
        assert inbox.until_end()[-1].message["content"][0]["text"] == log.name
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("anthropix-follower") <= 1


class Asked(Reading):
    """Notes what it takes, and counts how often it is asked."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked = 0
        self.taken: list[Any] = []

    def wants_more(self) -> bool:
        self.asked += 1
        return True

    def take(self, entries: Sequence[Entry]) -> bool:
        self.taken += entries
        return True


def test_who_follows_many_asks_those_alone_for_whom_something_has_come() -> None:
    store = MemoryStore()
    logs = [Written(store, f"log-{number}") for number in range(50)]
    reads = Follower(store, "me", silence=1000, patience=1)
    readings = [Asked(log.name) for log in logs]
    for reading in readings:
        reads.add(reading)
    until(lambda: all(reading.taken for reading in readings))
    reads.drop(readings[3])
    logs[7].tell(start())
    until(lambda: len(readings[7].taken) == 2)
    asked = [reading.asked for reading in readings]
    for number in range(3, 6):
        logs[3].tell(text_delta("for nobody"))
        logs[7].tell(text_delta("x"))
        until(lambda number=number: len(readings[7].taken) == number)  # type: ignore[misc]
    more = [reading.asked - before for reading, before in zip(readings, asked, strict=True)]
    assert [number for number, times in enumerate(more) if times] == [7]
    assert len(readings[3].taken) == 1
    reads.close()


class Looked(Asked):
    """Does something whenever its silent log is looked at."""

    def __init__(self, name: str, look: Callable[[], object] = list) -> None:
        super().__init__(name)
        self.looks = 0
        self.does = look

    def look(self) -> None:
        self.looks += 1
        self.does()


def test_silent_logs_are_looked_at_a_few_at_a_time_and_others_are_read_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follower, "_LOOKING", 0.0)
    store, happened = MemoryStore(), []
    busy = Written(store, "busy")

    class Busy(Asked):
        def take(self, entries: Sequence[Entry]) -> bool:
            happened.append(f"takes {len(entries)}")
            return True

    def look() -> None:
        happened.append("looks")
        busy.tell(start())

    reads = Follower(store, "me", silence=0.05, patience=1)
    reads.add(Busy("busy"))
    for number in range(10):
        reads.add(Looked(Written(store, f"log-{number}").name, look))
    until(lambda: happened.count("looks") > 20)
    reads.close()
    assert ("looks", "looks") not in pairwise(happened)


def test_who_left_or_is_behind_is_not_looked_at() -> None:
    class Behind(Looked):
        def wants_more(self) -> bool:
            return not self.taken

    store = MemoryStore()
    reads = Follower(store, "me", silence=0.02, patience=1)
    one, other = (Looked(Written(store, name).name) for name in ("one", "other"))
    one.does, other.does = (lambda: reads.drop(other)), (lambda: reads.drop(one))
    behind = Behind(Written(store, "behind").name)
    for reading in (one, other, behind):
        reads.add(reading)
    until(lambda: one.looks + other.looks > 3)
    reads.close()
    assert not one.looks or not other.looks
    assert behind.taken
    assert not behind.looks


def test_what_is_followed_next_is_read_at_once(any_store: Store, hubs: Callable[..., Hub]) -> None:
    first, second = Written(any_store, "a"), Written(any_store, "b")
    hub = hubs(any_store, lease=1000)  # without a wake, the follower would look again in some minutes
    inboxes = Inbox(), Inbox()
    hub.follow("a", to=inboxes[0])
    first.tell(start())
    inboxes[0].next()
    hub.follow("b", to=inboxes[1])
    second.tell(start())
    inboxes[1].next()
    for log, inbox in zip((first, second), inboxes, strict=True):
        log.end()
        inbox.until_end()


def test_a_loop_over_nothing_new_is_woken_by_what_comes(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store)
    followed: Followed = hub.follow("a")
    messages: Iterator[Any] = iter(followed)
    began = time.monotonic()
    elsewhere.tell(start())
    next(messages)
    elsewhere.tell(block_start())
    next(messages)
    assert time.monotonic() - began < DEADLINE
    elsewhere.end()
    list(messages)
