"""A chat that is written into a log: by one, once, in order, whatever the store does."""

from __future__ import annotations

import gc
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    CancelledError,
    ChatCancelled,
    ChatDone,
    ChatFailed,
    Client,
    ConfigurationError,
    Hub,
    OverloadedError,
    ParameterError,
)
from anthropix_actors.stores import Held, Lost, MemoryStore, StoreError

from actors import ASK, HELLO, Inbox, until_blocked
from servers import BUSY, DEADLINE, Flood, Gated, Halt, Replies, Server, answer, answering, until, wait, whole
from stores_for_tests import Gate, Shaky, raising

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors import AnthropixError
    from anthropix_actors.stores import Append, Entry, Store


def kinds(store: Store, name: str) -> list[str]:
    return [entry.data["kind"] for entry in store.read(name)]


def text_of_log(entries: list[Entry]) -> str:
    deltas = [entry.data["event"].get("delta", {}) for entry in entries if entry.data["kind"] == "event"]
    return "".join(delta.get("text", "") for delta in deltas)


def closed(hub: Hub, name: str) -> None:
    until(lambda: hub.status(name).state in {"done", "failed", "cancelled"})


# The log


def test_a_chat_is_in_its_log_event_by_event_and_its_end_once(
    any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    hub = hubs(any_store)
    with Server(Replies(BUSY, whole("Hel", "lo"))) as server:
        client = connect(server, max_retries=1)
        chat = client.chat(**ASK, stream=(writer := hub.to("a", tag="night")))
        message = chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)
    entries = any_store.read("a")
    assert kinds(any_store, "a") == ["begin", "retrying", *["event"] * len(answer("Hel", "lo")), "done"]
    assert entries[0].data == {"kind": "begin", "format": 1, "attempt": 1, "holder": hub.holder, "tag": "night"}
    assert [entry.data["event"] for entry in entries[2:-1]] == answer("Hel", "lo")
    assert entries[2].data["request_id"] == "req_test"
    assert entries[-1].data["message"] == message
    assert entries[-1].data["usage"]["output_tokens"] == 9
    state = any_store.state("a")
    assert state is not None
    assert state.closed
    assert (writer.outcome, writer.name, writer.attempt) == ("closed", "a", 1)
    assert repr(writer) == "<LogWriter of <log 'a', closed, 0 waiting>>"


def test_a_failure_is_the_end_of_its_log(connect: Callable[..., Client], hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    with Server(Replies(BUSY)) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        with pytest.raises(OverloadedError):
            chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)
    (end,) = [entry.data for entry in hub.store.read("a") if entry.data["kind"] == "failed"]
    assert end["error"]["class"] == "OverloadedError"
    assert end["attempts"] == 1


def test_a_subscriber_that_comes_late_writes_all_of_it(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    hub, gated = hubs(), Gated(answer("Hel", "lo"))
    with Server(gated) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        until(lambda: chat.snapshot() is not None)
        chat.subscribe(hub.to("a"))
        gated.go_on.set()
        assert hub.result("a", timeout=DEADLINE) == chat.result(timeout=DEADLINE)


def test_the_log_lives_for_its_time_and_no_longer(connect: Callable[..., Client], hubs: Callable[..., Hub]) -> None:
    hub = hubs(ttl=0.05)
    with Server(answering("Hi")) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)
        until(lambda: hub.store.names() == [])


def test_its_parts_show_their_state(hubs: Callable[..., Hub]) -> None:
    hub = hubs(holder="me")
    writer = hub.to("a")
    assert repr(writer) == "<LogWriter of <log 'a', open, 0 waiting>>"
    assert repr(hub) == "<Hub me, writes 1, reads 1>"
    metrics = hub.metrics()
    assert (metrics.writing, metrics.reading, metrics.behind, metrics.lag) == (1, 1, 0, 0.0)


# Names


def test_a_name_that_is_held_or_has_ended_is_an_error_before_a_request(
    any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    here, there = hubs(any_store), hubs(any_store)
    halt = Halt()
    with Server(halt) as server:
        client = connect(server)
        writer = here.to("a")
        for hub in (here, there):
            with pytest.raises(Held, match="which lives") as held:
                hub.to("a")
            assert held.value.holder == here.holder
        chat = client.chat(**ASK, stream=writer)
        chat.cancel("enough")
        assert writer.wait(DEADLINE)
        for hub in (here, there):
            with pytest.raises(ParameterError, match="the log 'a' is closed: its chat has ended"):
                hub.to("a")
        assert server.connections <= 1


def test_a_log_that_vanishes_while_it_is_claimed_is_an_error(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    store.faults["state"] = lambda: store.delete("a")
    with pytest.raises(Held, match="deleted"):
        hubs(store).to("a")


def test_a_name_is_free_again_where_the_store_failed(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    hub = hubs(store)
    for method in ("beat", "claim", "post"):
        store.faults[method] = raising(StoreError("away"), times=1)
        with pytest.raises(StoreError, match="away"):
            hub.to("a")
    assert hub.to("a").name == "a"


def test_a_log_that_no_chat_is_told_to_write_is_given_up(any_store: Store, hubs: Callable[..., Hub]) -> None:
    here, there = hubs(any_store), hubs(any_store)
    writer = here.to("a")
    writer.release()
    assert writer.wait(DEADLINE)
    assert writer.outcome == "released"
    writer.release()
    again = there.to("a")
    assert again.attempt == 1
    del again  # lost, as by a ParameterError of the chat that it was meant for
    gc.collect()
    until(lambda: here.status("a").holder is None)
    assert here.to("a").attempt == 1


def test_a_log_whose_chat_was_refused_is_free(connect: Callable[..., Client], hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    with pytest.raises(ParameterError):
        connect("http://127.0.0.1:9").chat(model="", messages=HELLO, stream=hub.to("a"))
    gc.collect()
    until(lambda: not hub.metrics().writing)
    assert hub.to("a").attempt == 1


def test_one_writer_is_for_one_chat(
    connect: Callable[..., Client], hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    hub, gated = hubs(), Gated(answer("Hi"))
    with Server(gated) as server:
        client, writer = connect(server), hub.to("a")
        first = client.chat(**ASK, stream=writer)
        until(lambda: "event" in kinds(hub.store, "a"))
        second = client.chat(**ASK, stream=writer)
        until(lambda: second.state == "cancelled")
        gated.go_on.set()
        assert hub.result("a", timeout=DEADLINE) == first.result(timeout=DEADLINE)
    assert "expected one chat for each hub.to" in caplog.text


def test_a_conversation_is_refused(hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    with pytest.raises(ParameterError, match=r"store= of client\.converse"):
        hub.to("a").tell("no message of a chat")


def test_a_worker_may_write_an_end_without_a_chat(hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    nobody: Any = None
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    writer = hub.to("a")
    writer.add_done_callback(ended.put)
    writer.tell(ChatFailed(nobody, Lost("the worker died")))
    writer.tell(ChatFailed(nobody, Lost("again")))  # nothing follows an end
    assert ended.get(timeout=DEADLINE) == "closed"
    assert writer.wait(DEADLINE)
    writer.add_done_callback(ended.put)
    assert ended.get(timeout=DEADLINE) == "closed"
    assert kinds(hub.store, "a") == ["failed"]
    with pytest.raises(Lost, match="the worker died"):
        hub.result("a", timeout=DEADLINE)


def test_a_callback_that_raises_is_logged(hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture) -> None:
    writer = hubs().to("a")
    writer.add_done_callback(lambda _: 1 / 0)
    writer.release()
    until(lambda: "the callback of a log raised" in caplog.text)


# Stores that are slow, away, or refuse


def test_while_one_append_is_on_its_way_the_next_ones_fill(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store, gate, texts = Shaky(), Gate(), [str(number) for number in range(100)]
    hub = hubs(store)
    store.faults["append"] = gate
    with Server(answering(*texts)) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        wait(gate.reached)
        until(lambda: hub.metrics().behind > 50)
        assert hub.metrics().lag > 0
        gate.open.set()
        chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)
    assert text_of_log(store.read("a")) == "".join(texts)
    metrics = hub.metrics()
    assert metrics.entries == len(store.read("a"))
    assert metrics.batches < 20
    assert metrics.bytes > 1000
    assert (metrics.logs, metrics.writing, metrics.reading) == (1, 0, 0)


def test_a_slow_store_makes_the_chat_and_the_server_wait(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store, gate, flood = Shaky(), Gate(), Flood()
    hub = hubs(store)
    store.faults["append"] = gate
    with Server(flood) as server:
        chat = connect(server, window=16).chat(**ASK, stream=(writer := hub.to("a")))
        wait(gate.reached)
        until_blocked(chat)
        assert 16 <= hub.metrics().behind <= 18  # and what was on its way
        chat.cancel("enough")
        gate.open.set()
        assert writer.wait(DEADLINE)
        assert flood.sent < flood.all
        assert hub.metrics().behind == 0
    assert kinds(store, "a")[-1] == "cancelled"


@pytest.mark.parametrize("exc", [StoreError("away"), OSError("foreign"), SystemExit("foreign")], ids=repr)
def test_a_store_that_is_away_for_a_while_misses_nothing(
    exc: BaseException, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = Shaky()
    hub = hubs(store)
    store.faults["append"] = raising(exc, times=3)
    store.faults["expire"] = lambda: None
    with Server(answering("Hel", "lo")) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)
    assert text_of_log(store.read("a")) == "Hello"
    assert writer.outcome == "closed"
    assert hub.metrics().write_failures == 3


def test_an_append_whose_reply_was_lost_is_there_once(connect: Callable[..., Client], hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    hub = hubs(store)
    store.faults["appended"] = raising(StoreError("the connection was cut"), times=3)
    with Server(answering("Hel", "lo")) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)
    assert text_of_log(store.read("a")) == "Hello"
    assert kinds(store, "a").count("done") == 1


def test_an_end_whose_expiry_failed_is_expired_all_the_same(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = Shaky()
    hub = hubs(store, ttl=0.05)
    with Server(answering("Hi")) as server:
        writer = hub.to("a")
        store.faults["expire"] = raising(StoreError("away"), times=2)
        connect(server).chat(**ASK, stream=writer).result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)
    until(lambda: store.names() == [])


def test_a_store_that_stays_away_is_given_up_and_the_chat_is_cancelled(
    connect: Callable[..., Client], hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    store = Shaky()
    hub = hubs(store, patience=0.1)
    with Server(Halt(b"")) as server:
        writer = hub.to("a")
        store.faults["append"] = raising(StoreError("away"))
        chat = connect(server).chat(**ASK, stream=writer)
        until(lambda: chat.state == "cancelled")
    assert writer.outcome == "gone"
    assert "could not be written, and is given up" in caplog.text
    assert not hub.metrics().writing


def test_a_log_that_was_given_up_is_anybodys_though_its_hub_lives_on(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = Shaky()
    hub, other = hubs(store, patience=0.1), hubs(store)
    with hub.lives(), Server(Halt(b"")) as server:
        writer = hub.to("a")
        store.faults["append"] = raising(StoreError("away"))
        store.faults["state"] = raising(StoreError("away"), times=3)
        connect(server).chat(**ASK, stream=writer)
        assert writer.wait(DEADLINE)
        until(lambda: (state := MemoryStore.state(store, "a")) and state.holder is None)
        assert store.state("a").holder is None
        assert other.to("a").attempt == 1


def test_a_log_that_was_given_up_is_left_alone_where_another_writes_it(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = Shaky()
    hub = hubs(store, patience=0.1)
    with hub.lives(), Server(Halt(b"")) as server:
        writer = hub.to("a")
        store.faults["append"] = raising(StoreError("away"))
        looks = store.calls["state"]
        store.faults["state"] = raising(StoreError("away"), times=3)
        connect(server).chat(**ASK, stream=writer)
        assert writer.wait(DEADLINE)
        store.claim("a")
        epoch = store.claim("a", "another")
        until(lambda: store.calls["state"] > looks + 3)
        until(lambda: not hub.metrics().behind)
        assert store.state("a").epoch == epoch


def test_a_hub_ends_though_it_could_not_let_go_of_a_log(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = Shaky()
    hub = hubs(store, patience=0.1)
    with Server(Halt(b"")) as server:
        writer = hub.to("a")
        store.faults["append"] = store.faults["state"] = raising(StoreError("away"))
        connect(server).chat(**ASK, stream=writer)
        assert writer.wait(DEADLINE)
        hub.close()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "anthropix-appender"])


def test_a_chat_that_others_follow_outlives_its_log(connect: Callable[..., Client], hubs: Callable[..., Hub]) -> None:
    store, gated, inbox = Shaky(), Gated(answer("Hi")), Inbox()
    hub = hubs(store, patience=0.05)
    with Server(gated) as server:
        writer = hub.to("a")
        chat = connect(server).chat(**ASK, stream=inbox)
        store.faults["append"] = raising(StoreError("away"))
        chat.subscribe(writer)
        assert writer.wait(DEADLINE)
        gated.go_on.set()
        assert isinstance(inbox.until_end()[-1], ChatDone)
    writer.tell(inbox.messages[0])  # as a thread that had not heard of it might


def test_a_log_that_fails_alone_does_not_stop_the_others(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    class Picky(MemoryStore):
        def append_many(self, appends: Mapping[str, Append]) -> dict[str, AnthropixError]:
            found = super().append_many({name: each for name, each in appends.items() if name != "bad"})
            return {**found, "bad": StoreError("this one is broken")}

    store = Picky()
    hub = hubs(store, patience=0.3)
    with Server(answering("Hi")) as server:
        client = connect(server)
        bad = hub.to("bad")
        chats = [client.chat(**ASK, stream=bad)]
        good = [hub.to(f"good-{number}") for number in range(5)]
        chats += [client.chat(**ASK, stream=writer) for writer in good]
        assert all(writer.wait(DEADLINE) for writer in (bad, *good))
    assert {writer.outcome for writer in good} == {"closed"}
    assert bad.outcome == "gone"


def test_an_entry_that_the_store_refuses_is_the_end_of_the_log(
    connect: Callable[..., Client], hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    hub = hubs(MemoryStore(max_entry_bytes=2000))
    with Server(answering("x" * 3000)) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        chat.add_done_callback(lambda _: None)
        assert writer.wait(DEADLINE)
    assert writer.outcome == "gone"
    assert "expected 2,000 bytes" in caplog.text


# Fencing


def test_a_chat_that_loses_its_log_is_cancelled_even_if_others_follow(
    connect: Callable[..., Client], hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    store, gated, inbox = MemoryStore(), Gated(answer("Hel", "lo")), Inbox()
    hub = hubs(store)
    with Server(gated) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        chat.subscribe(inbox)
        until(lambda: "event" in kinds(store, "a"))
        there = len(store.read("a"))
        store.claim("a")
        gated.go_on.set()
        end = inbox.until_end()[-1]
        assert writer.wait(DEADLINE)
    assert isinstance(end, (ChatCancelled, ChatDone))  # it may have been faster
    assert writer.outcome == "fenced"
    assert len(store.read("a")) == there
    assert "is not ours any more" in caplog.text


@pytest.mark.parametrize("how", ["claimed", "deleted"])
def test_a_chat_in_the_middle_is_cancelled_when_its_log_is_taken(
    any_store: Store, how: str, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    hub = hubs(any_store)
    with Server(Flood()) as server:
        chat = connect(server).chat(**ASK, stream=hub.to("a"))
        until(lambda: "event" in kinds(any_store, "a"))
        if how == "claimed":
            any_store.claim("a")
        else:
            hubs(any_store).delete("a")
        with pytest.raises(CancelledError, match="claimed by another writer, or deleted"):
            chat.result(timeout=DEADLINE)


def test_what_a_dead_machine_began_is_gone_on_with_as_another_attempt(
    any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    hub = hubs(any_store)
    begin = {"kind": "begin", "format": 1, "attempt": 1, "holder": "dead"}
    any_store.append(
        "a", any_store.claim("a", "dead"), 0, [begin, *({"kind": "event", "event": e} for e in answer("He")[:3])]
    )
    reader = hubs(any_store)
    inbox = Inbox()
    reader.follow("a", to=inbox)
    with Server(answering("Hello")) as server:
        writer = hub.to("a")
        assert writer.attempt == 2
        message = connect(server).chat(**ASK, stream=writer).result(timeout=DEADLINE)
    names = [type(told).__name__ for told in inbox.until_end()]
    assert names == [*["ChatEvent"] * 3, "ChatResumed", *["ChatEvent"] * (len(answer("")) - 1), "ChatDone"]
    assert [m.data["type"] for m in inbox.messages if hasattr(m, "data")].count("message_start") == 1
    assert inbox.messages[3].kept == 0
    assert inbox.messages[-1].chat.snapshot() == message
    assert reader.status("a").attempts == 2


# Cancels


def test_a_cancel_from_another_hub_ends_the_chat(
    any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    here, there = hubs(any_store), hubs(any_store)
    with Server(Halt()) as server:
        chat = connect(server).chat(**ASK, stream=here.to("a"))
        assert there.cancel("a", "the user pressed Stop")
        with pytest.raises(CancelledError, match="the user pressed Stop"):
            chat.result(timeout=DEADLINE)
        with pytest.raises(CancelledError, match="the user pressed Stop"):
            there.result("a", timeout=DEADLINE)
        assert not there.cancel("a")
        assert there.status("a").state == "cancelled"


def test_a_cancel_comes_once(any_store: Store, hubs: Callable[..., Hub]) -> None:
    hub = hubs(any_store)
    hub.to("a")
    assert [hub.cancel("a"), hub.cancel("a")] == [True, False]


@pytest.mark.parametrize("when", ["before the log", "before the chat"])
def test_a_cancel_before_the_chat_has_begun_sends_nothing(
    any_store: Store, when: str, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    hub = hubs(any_store)
    with Server(answering("Hi")) as server:
        if when == "before the log":
            assert hub.cancel("a", "too late")
        writer = hub.to("a")
        if when == "before the chat":
            assert hub.cancel("a", "too late")
        until(lambda: not hub.metrics().reading)  # the cancel was read
        chat = connect(server).chat(**ASK, stream=writer)
        with pytest.raises(CancelledError, match="too late"):
            chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)
        assert not server.connections
    assert hub.status("a").state == "cancelled"


def test_a_cancel_of_what_was_never_there_leaves_nothing_for_ever(hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    assert hub.cancel("nothing")
    assert hub.names() == []


# The hub's end


def test_a_hub_that_is_closed_cancels_what_it_writes_and_writes_the_ends(connect: Callable[..., Client]) -> None:
    store = MemoryStore()
    with Server(Halt()) as server, Hub(store) as hub:
        chat = connect(server).chat(**ASK, stream=hub.to("a"))
        unjoined = hub.to("b")
    with pytest.raises(CancelledError, match="the hub was closed"):
        chat.result(timeout=DEADLINE)
    assert kinds(store, "a")[-1] == "cancelled"
    assert unjoined.outcome == "released"
    state = store.state("b")
    assert state is not None
    assert state.holder is None
    hub.close()
    for call in (lambda: hub.to("c"), lambda: hub.ref("a"), lambda: hub.submit(ASK), lambda: hub.lives().__enter__()):
        with pytest.raises(ConfigurationError, match="the hub is closed"):
            call()


def test_a_grace_lets_chats_end(connect: Callable[..., Client]) -> None:
    store, gated = MemoryStore(), Gated(answer("Hi"))
    hub = Hub(store)
    with Server(gated) as server:
        connect(server).chat(**ASK, stream=hub.to("a"))
        closing = threading.Thread(target=hub.close, args=(DEADLINE,))
        closing.start()
        gated.go_on.set()
        closing.join(DEADLINE)
    assert kinds(store, "a")[-1] == "done"


def test_a_hub_ends_though_its_store_is_away(connect: Callable[..., Client], caplog: pytest.LogCaptureFixture) -> None:
    store = Shaky()
    hub = Hub(store)
    with Server(Halt()) as server:
        writer = hub.to("a")
        connect(server).chat(**ASK, stream=writer)
        for method in ("append", "beat", "post", "read_many"):
            store.faults[method] = raising(StoreError("away"))
        hub.close()
    assert writer.outcome == "gone"
    assert "could not be said" in caplog.text


# The beat


def test_the_holder_lives_as_long_as_it_holds_anything(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    hub = hubs(store, lease=0.06)
    writer = hub.to("a")
    until(lambda: store.calls["beat"] > 4)
    until(lambda: hub.status("a").holder == hub.holder)  # a machine may be busy for longer than this lease
    writer.release()
    assert writer.wait(DEADLINE)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "anthropix-beat"])
    again = hub.to("a")
    until(lambda: hub.status("a").holder == hub.holder)
    assert again.attempt == 1


def test_a_beat_that_fails_is_tried_again(hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture) -> None:
    store = Shaky()
    hub = hubs(store, lease=0.3)
    with hub.lives():
        store.faults["beat"] = raising(SystemExit("foreign"), times=1)
        until(lambda: store.calls["beat"] > 2)
    assert any("the beat of" in record.message for record in caplog.records if record.levelno == logging.WARNING)


def test_what_a_hub_takes_while_it_lives_is_nobody_elses(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    here, there = hubs(store), hubs(store)
    here.submit(ASK, id="a")
    with here.lives():
        (job,) = store.take("jobs", here.holder, 1)
        assert job.data["params"]["model"] == ASK["model"]
        assert store.take("jobs", there.holder, 1) == []


# What breaks


def test_a_cancel_reaches_a_chat_whose_inbox_the_store_has_thrown_away(
    any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    here, there = hubs(any_store, lease=0.6), hubs(any_store)
    with Server(Halt()) as server:
        chat = connect(server).chat(**ASK, stream=(writer := here.to("a")))
        until(lambda: here.status("a").attempts)
        any_store.delete("a/inbox")
        until(lambda: any_store.state("a/inbox") is not None)  # it is made anew
        assert there.cancel("a", "enough")
        with pytest.raises(CancelledError, match="enough"):
            chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)


def test_a_cancel_that_came_when_the_inbox_was_away_is_found(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = Shaky()
    hub = hubs(store, lease=0.3)
    with Server(Halt()) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        until(lambda: hub.status("a").attempts)
        store.faults["post"] = raising(StoreError("full"), times=1)  # it cannot be made anew at once
        store.delete("a/inbox")
        until(lambda: store.calls["post"] > 3)
        assert hub.cancel("a", "enough")
        with pytest.raises(CancelledError, match="enough"):
            chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)


def test_a_chat_can_be_cancelled_after_the_store_was_away_for_long(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = Shaky()
    hub = hubs(store, lease=0.3, patience=0.1)
    with Server(Halt()) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        until(lambda: hub.status("a").attempts)
        store.faults["read_many"] = raising(StoreError("away"))
        until(lambda: hub.metrics().read_failures > 6)
        del store.faults["read_many"]
        assert hub.cancel("a", "enough")
        with pytest.raises(CancelledError, match="enough"):
            chat.result(timeout=DEADLINE)
        assert writer.wait(DEADLINE)


def test_what_is_given_up_late_is_not_taken_from_who_has_it_now(any_store: Store, hubs: Callable[..., Hub]) -> None:
    """A process may have stood still for longer than its lease, and another one have gone on."""
    here, there = hubs(any_store), hubs(any_store)
    late = here.to("a")
    any_store.beat(here.holder, 0)
    writer = there.to("a")
    late.release()
    assert late.wait(DEADLINE)
    assert late.outcome == "fenced"
    nobody: Any = None
    writer.tell(ChatCancelled(nobody, "enough", None))
    assert writer.wait(DEADLINE)
    assert writer.outcome == "closed"


def test_a_log_has_its_own_patience_though_another_was_given_up_before(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    hub = hubs(store, patience=0.3)
    nobody: Any = None
    store.faults["append"] = raising(StoreError("away"))
    first = hub.to("a")
    first.tell(ChatCancelled(nobody, "", None))
    assert first.wait(DEADLINE)
    assert first.outcome == "gone"
    store.faults["append"] = raising(StoreError("away"), times=2)
    second = hub.to("b")
    second.tell(ChatCancelled(nobody, "", None))
    assert second.wait(DEADLINE)
    assert second.outcome == "closed"


def test_the_log_of_something_else_is_left_alone(any_store: Store, hubs: Callable[..., Hub]) -> None:
    epoch = any_store.claim("poems")
    any_store.append("poems", epoch, 0, [{"kind": "run"}])
    with pytest.raises(ParameterError, match="'poems' is none of a chat"):
        hubs(any_store).to("poems")
    any_store.append("poems", epoch, 1, [{"kind": "end"}])  # who writes it goes on


def test_who_follows_a_log_that_was_given_up_is_told(connect: Callable[..., Client], hubs: Callable[..., Hub]) -> None:
    """Though the hub that wrote it lives, and has other chats."""
    store = Shaky(max_entry_bytes=2000)
    hub, inbox = hubs(store, lease=0.6), Inbox()
    with Server(answering("x" * 3000)) as server, hub.lives():
        connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        hubs(store, lease=0.6).follow("a", to=inbox)
        assert writer.wait(DEADLINE)
        assert writer.outcome == "gone"
        end = inbox.until_end()[-1]
        assert isinstance(end.error, Lost)
        assert hubs(store).to("a").attempt == 2


def test_a_log_that_was_given_up_and_taken_by_another_is_left_alone(hubs: Callable[..., Hub]) -> None:
    def fault() -> None:
        if threading.current_thread().name == "anthropix-beat":
            raise StoreError("away")

    store = Shaky(max_entry_bytes=500)
    here, there = hubs(store, lease=0.3), hubs(store)
    nobody: Any = None
    with here.lives():
        writer = here.to("a")
        store.faults["beat"] = fault
        writer.tell(ChatCancelled(nobody, "x" * 600, None))
        assert writer.wait(DEADLINE)
        until(lambda: not store._tables.lives(here.holder))
        later = there.to("a")
        del store.faults["beat"]
        beats, claims = store.calls["beat"], store.calls["claim"]
        until(lambda: store.calls["beat"] > beats + 2)
        assert store.calls["claim"] == claims
        later.tell(ChatCancelled(nobody, "enough", None))
        assert later.wait(DEADLINE)
        assert later.outcome == "closed"
