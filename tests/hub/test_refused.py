"""Entries that a store does not take: the answer ends once, says which and why, and is not paid for again."""

from __future__ import annotations

import json
import queue
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import CancelledError, ChatCancelled, ChatEvent, ChatRetrying, Client, Hub, Worker, text_of
from anthropix_actors.emulator import Raw
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.hub import WorkerMetrics
from anthropix_actors.hub._write.refused import instead_of
from anthropix_actors.stores import Lost, MemoryStore, SQLiteStore, StoreError
from anthropix_actors.subscribers import to_queue

from actors import ASK
from servers import DEADLINE, Paused, Server, answer, message_delta, until
from stores_for_tests import Shaky, raising

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anthropix_actors.emulator import Emulator
    from anthropix_actors.stores import Store

DEEP: Any = json.loads("[" * 198 + "]" * 198)
"""What nests deeper than a store takes, within an event."""


def raw(*events: dict[str, Any]) -> Raw:
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return Raw(text.encode(), content_type="text/event-stream")


def deep_answer() -> Raw:
    *most, last, stop = answer("Red")
    return raw(*most, {**last, "usage": {"output_tokens": 5, "new": DEEP}}, stop)


def kinds(store: Store, name: str = "a") -> list[str]:
    return [entry.data["kind"] for entry in store.read(name)]


@pytest.fixture
def client(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(anthropix_emulator.url)


@pytest.fixture
def tight() -> Iterator[MemoryStore]:
    with MemoryStore(max_entry_bytes=2000) as store:
        yield store


@pytest.mark.parametrize("retry_lost", [False, True])
def test_an_answer_that_a_store_does_not_take_is_asked_once(
    any_store: Store, client: Client, anthropix_emulator: Emulator, hubs: Callable[..., Hub], *, retry_lost: bool
) -> None:
    anthropix_emulator.queue(deep_answer())
    hub = hubs(any_store)
    with Worker(client, any_store) as worker:
        hub.submit(ASK, id="a", retry_lost=retry_lost)
        with pytest.raises(
            StoreError, match="not take entry 5 of the log, the event message_delta: expected JSON, got"
        ) as caught:
            hub.result("a", timeout=DEADLINE)
        assert text_of(caught.value.partial or {}) == "Red"
        until(lambda: worker.metrics() == WorkerMetrics(taken=1, failed=1))
    assert any_store.job("jobs", "a") is None
    assert hub.status("a").state == "failed"
    assert kinds(any_store) == ["begin", *["event"] * 4, "failed"]
    assert len(anthropix_emulator.requests) == 1


def test_a_chat_whose_entry_is_refused_is_cancelled_unless_another_follows(
    tight: MemoryStore, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    hub = hubs(tight)
    both = [Paused(answer("x" * 3000), 3), Paused(answer("x" * 3000), 3)]
    with Server(both[0]) as first, Server(both[1]) as second:
        alone = connect(first).chat(**ASK, stream=(writer := hub.to("alone")))
        assert writer.wait(DEADLINE)
        assert writer.outcome == "refused"
        until(lambda: alone.state == "cancelled")
        writer = hub.to("followed")
        followed = connect(second).chat(**ASK, stream=to_queue(queue.SimpleQueue()))
        followed.subscribe(writer)
        assert writer.wait(DEADLINE)
        for each in both:
            each.go_on.set()
        assert text_of(followed.result(timeout=DEADLINE)) == "x" * 3000
    for name in ("alone", "followed"):
        with pytest.raises(StoreError, match="content_block_delta: expected 2,000 bytes"):
            hub.result(name, timeout=DEADLINE)


def test_an_end_that_is_too_large_is_told_in_fewer_words(
    tight: MemoryStore, client: Client, anthropix_emulator: Emulator, hubs: Callable[..., Hub]
) -> None:
    hub = hubs(tight)
    parts = ["x" * 900, "y" * 900, "z" * 900]
    events = answer(*parts)
    anthropix_emulator.queue(raw(*events), raw(*events[:5]))
    writers = [hub.to("done"), hub.to("failed")]
    for writer in writers:
        client.chat(**ASK, stream=writer)
        assert writer.wait(DEADLINE)
    assert [writer.outcome for writer in writers] == ["refused", "closed"]
    with pytest.raises(StoreError, match="the log, done: expected 2,000 bytes") as caught:
        hub.result("done", timeout=DEADLINE)
    assert text_of(caught.value.partial or {}) == "".join(parts)
    assert tight.read("done")[-1].data["usage"]["output_tokens"] == message_delta()["usage"]["output_tokens"]
    messages: list[Any] = [*hub.follow("failed")]
    assert sum(isinstance(message, ChatEvent) for message in messages) == len(events[:5])
    assert type(messages[-1].error).__name__ == "TruncatedError"
    assert text_of(messages[-1].error.partial) == "".join(parts)


def test_a_cancel_is_in_the_log_without_what_was_too_large(
    tight: MemoryStore, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    hub = hubs(tight)
    paused = Paused(answer("x" * 900, "y" * 900, "z" * 900), 5)
    with Server(paused) as server:
        connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        until(lambda: tight.state("a").length == 6)  # type: ignore[union-attr]
        assert hub.cancel("a", "Stop")
        assert writer.wait(DEADLINE)
        paused.go_on.set()
    assert (writer.outcome, tight.read("a")[-1].data["partial"]) == ("closed", None)
    with pytest.raises(CancelledError, match="Stop") as caught:
        hub.result("a", timeout=DEADLINE)
    assert len(text_of(caught.value.partial or {})) == 2700
    tail = [*hub.follow("a", after=tight.read("a")[3].cursor)][-1]
    assert isinstance(tail, ChatCancelled)
    assert tail.partial is None


def test_a_retry_whose_error_is_too_large_costs_no_answer(
    anthropix_emulator: Emulator, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    hub = hubs()
    body = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Busy", "more": DEEP}})
    anthropix_emulator.queue(Raw(body.encode(), 529), "Red")
    connect(anthropix_emulator.url, max_retries=1).chat(**ASK, stream=(writer := hub.to("a")))
    assert writer.wait(DEADLINE)
    assert writer.outcome == "closed"
    assert text_of(hub.result("a", timeout=DEADLINE)) == "Red"
    (retry,) = [message for message in hub.follow("a") if isinstance(message, ChatRetrying)]
    assert (type(retry.error).__name__, retry.attempt) == ("OverloadedError", 1)
    assert "Busy" in str(retry.error)


def test_a_beginning_that_is_too_large_is_told(tight: MemoryStore, client: Client, hubs: Callable[..., Hub]) -> None:
    hub = hubs(tight)
    client.chat(**ASK, stream=(writer := hub.to("a", tag="x" * 3000)))
    assert writer.wait(DEADLINE)
    with pytest.raises(StoreError, match="entry 0 of the log, begin: expected 2,000 bytes"):
        hub.result("a", timeout=DEADLINE)


def test_an_answer_of_which_nothing_can_be_written_is_lost(client: Client, hubs: Callable[..., Hub]) -> None:
    hub = hubs(MemoryStore(max_entry_bytes=90), holder="me", lease=0.3)
    client.chat(**ASK, stream=(writer := hub.to("a")))
    assert writer.wait(DEADLINE)
    assert (writer.outcome, kinds(hub.store)) == ("refused", ["begin"])
    with pytest.raises(Lost):
        hub.result("a", timeout=DEADLINE)


def test_a_store_that_is_away_while_an_entry_is_refused_is_waited_for(
    client: Client, anthropix_emulator: Emulator, hubs: Callable[..., Hub]
) -> None:
    store = Shaky()
    hub = hubs(store)
    anthropix_emulator.queue(deep_answer())
    store.faults["appended"] = raising(StoreError("away"), times=3)
    client.chat(**ASK, stream=(writer := hub.to("a")))
    assert writer.wait(DEADLINE)
    assert (writer.outcome, kinds(store)) == ("refused", ["begin", *["event"] * 4, "failed"])


def test_a_log_is_given_up_at_once_when_its_store_is_closed(
    tmp_path: Path, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = SQLiteStore(tmp_path / "chats.db")
    hub = hubs(store, patience=3600)
    paused = Paused(answer("Red"), 3)
    with Server(paused) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        until(lambda: store.state("a").length == 4)  # type: ignore[union-attr]
        store.close()
        paused.go_on.set()
        assert writer.wait(DEADLINE)
        assert writer.outcome == "gone"
        until(lambda: chat.state in {"cancelled", "done"})


def test_what_stands_for_an_entry_is_small_and_is_json() -> None:
    refusal = ParameterError([Problem("entries[0]", "no")])
    odd = {"kind": "failed", "error": {"class": "Lost", "says": "\ud800" + "x" * 9000, "body": DEEP, "status": 500}}
    shorter = instead_of(odd, 0, refusal)
    assert shorter == {"kind": "failed", "error": {"class": "Lost", "says": "?" + "x" * 499, "status": 500}}
    assert instead_of(shorter or {}, 0, refusal) is None


class TakesNothing(MemoryStore):
    """A store that has lost entries, as it may say: what follows them would leave a gap."""

    refusal = ParameterError([Problem("first", "expected 0 at most")])

    def append(self, *_: Any, **__: Any) -> None:
        raise self.refusal

    def append_many(self, appends: Any) -> Any:
        return dict.fromkeys(appends, self.refusal)


def test_a_log_of_which_a_store_takes_nothing_at_all_is_given_up(hubs: Callable[..., Hub]) -> None:
    nobody: Any = None
    writer = hubs(TakesNothing()).to("a")
    event: Any = {"type": "ping"}
    writer.tell(ChatEvent(nobody, event))
    assert writer.wait(DEADLINE)
    assert writer.outcome == "gone"


def test_a_forked_child_works_on_nothing(client: Client) -> None:
    with MemoryStore() as store:
        worker = Worker(client, store)
        worker.after_fork()  # as in a child
        worker.stop()
        assert worker.metrics() == WorkerMetrics()
