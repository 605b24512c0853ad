"""What others post for a conversation is obeyed once, by whoever runs it; whatever becomes of the store meanwhile."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Agent, Client, Conversations, Limits, ParameterError
from anthropix_actors.conversation.inbox import inboxes_of
from anthropix_actors.conversation.record import fold
from anthropix_actors.emulator import Emulator, Reply, ToolCall
from anthropix_actors.errors import ConfigurationError
from anthropix_actors.messages import ApprovalGiven, ApprovalNeeded, TurnDone
from anthropix_actors.stores import MemoryStore, StoreError
from anthropix_actors.tools import Toolbox, tool

from actors import Inbox
from redis_servers import RedisServer
from servers import DEADLINE, until, wait
from stores_for_tests import Shaky

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.stores import Log
    from anthropix_actors.stores.log import Reads
    from anthropix_actors.stores.redis import RedisStore

MODEL = "claude-sonnet-5"


def recorded(store: Log) -> list[Any]:
    return [entry.data for entry in store.read("a")]


def is_free(store: MemoryStore) -> bool:
    state = store.state("a")
    return state is not None and state.holder is None


def said(store: Log) -> list[str]:
    return [entry["said"]["content"][0]["text"] for entry in recorded(store) if entry["kind"] == "say"]


@tool(approve=True)
def send(to: str) -> str:
    """Send it."""
    return f"sent to {to}"


def waiting(emulator: Emulator, client: Client, store: MemoryStore, **limits: Any) -> Any:
    """Return a conversation that waits for an approval, and what it waits for."""
    inbox = Inbox()
    emulator.queue(Reply([ToolCall("send", {"to": "Ada"})]))
    agent = Agent(model=MODEL, tools=[send], limits=Limits(**limits))
    talk = client.converse(agent, store=store, id="a", stream=inbox)
    talk.say("Write to Ada.")
    return talk, inbox.until(ApprovalNeeded).approval, inbox


def test_it_goes_on_when_the_store_was_away(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    store = Shaky()
    failed = threading.Event()
    talk = client.converse(Agent(model=MODEL), store=store, id="a")

    def fail() -> None:
        failed.set()
        raise StoreError("away")

    store.faults["read_many"] = fail
    wait(failed)
    Conversations(store).say("a", "Hello?")
    store.faults.clear()
    until(lambda: said(store) == ["Hello?"])
    assert "inboxes wait for their store" in caplog.text
    caplog.clear()
    failed.clear()

    def stop_and_fail() -> None:
        talk.stop(timeout=DEADLINE)
        fail()

    store.faults["read_many"] = stop_and_fail
    wait(failed)
    wait(talk.actor_stopped)
    until(lambda: "anthropix-inboxes" not in [thread.name for thread in threading.enumerate()])
    assert "inboxes wait" not in caplog.text


def test_an_inbox_that_was_deleted_is_made_anew(client: Client) -> None:
    store = MemoryStore()
    first = client.converse(Agent(model=MODEL), store=store, id="a")
    other = client.converse(Agent(model=MODEL), store=store, id="b")
    talks = Conversations(store)
    talks.say("a", "One")
    until(lambda: said(store) == ["One"])
    store.delete("a/inbox")
    until(lambda: store.state("a/inbox") is not None)
    talks.say("a", "Two")
    until(lambda: said(store) == ["One", "Two"])
    first.stop(timeout=DEADLINE)
    store.delete("a/inbox")
    talks.say("a", "Three")
    again = client.converse(Agent(model=MODEL), store=store, id="a")
    until(lambda: said(store) == ["One", "Two", "Three"])
    again.stop(timeout=DEADLINE)
    other.stop(timeout=DEADLINE)


def has_said(store: Log, text: str) -> bool:
    return text in said(store)


def forget_the_last(redis: RedisServer, store: RedisStore, name: str) -> None:
    """Let a log lack its last entry, as in a replica that became the primary."""
    keys = store._keys.log(name)
    [[last, _]] = redis.run("XREVRANGE", keys.stream, "+", "-", "COUNT", 1)
    redis.run("XDEL", keys.stream, last)
    [[before, _]] = redis.run("XREVRANGE", keys.stream, "+", "-", "COUNT", 1)
    redis.run("XSETID", keys.stream, before)
    redis.run("HINCRBY", keys.meta, "length", -1)
    redis.run("HDEL", keys.posted, redis.run("HKEYS", keys.posted)[-1])


def test_what_was_obeyed_is_not_obeyed_again_when_its_inbox_has_lost_the_last_of_it(client: Client) -> None:
    with RedisServer() as redis:
        store = redis.store()
        talks = Conversations(store)
        first = client.converse(Agent(model=MODEL), store=store, id="a")
        for text in ("One", "Two"):
            talks.say("a", text)
            until(partial(has_said, store, text))
        forget_the_last(redis, store, "a/inbox")
        talks.say("a", "Three")
        until(lambda: has_said(store, "Three"))
        assert said(store) == ["One", "Two", "Three"]
        first.stop(timeout=DEADLINE)
        forget_the_last(redis, store, "a/inbox")
        talks.say("a", "Four")
        again = client.converse(Agent(model=MODEL), store=store, id="a")
        until(lambda: has_said(store, "Four"))
        talks.say("a", "Five")
        until(lambda: has_said(store, "Five"))
        assert said(store) == ["One", "Two", "Three", "Four", "Five"]
        again.stop(timeout=DEADLINE)
        store.close()


class Slow(MemoryStore):
    """A store whose next reader of inboxes gets what was there late, when others have read it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_armed = False
        self.read_it, self.let = threading.Event(), threading.Event()

    def read_many(self, cursors: Mapping[str, str | None], *, wait: float = 0.0) -> Reads:
        found = super().read_many(cursors, wait=wait)
        if found and self.is_armed:
            self.is_armed = False
            self.read_it.set()
            assert self.let.wait(DEADLINE)
        return found


@pytest.mark.parametrize("is_lost", [False, True])
def test_what_was_read_for_the_one_before_is_not_obeyed_by_the_next_one(client: Client, *, is_lost: bool) -> None:
    store = Slow()
    talks = Conversations(store)
    other = client.converse(Agent(model=MODEL), store=store, id="b")
    first = client.converse(Agent(model=MODEL), store=store, id="a")
    talks.say("a", "One")
    until(lambda: said(store) == ["One"])
    store.is_armed = True
    if is_lost:
        store.delete("a/inbox")
    talks.say("a", "Two")
    wait(store.read_it)
    first.stop(timeout=DEADLINE)
    again = client.converse(Agent(model=MODEL), store=store, id="a")
    until(lambda: said(store) == ["One", "Two"])
    store.let.set()
    talks.say("a", "Three")
    until(lambda: "Three" in said(store))
    assert said(store) == ["One", "Two", "Three"]
    again.stop(timeout=DEADLINE)
    other.stop(timeout=DEADLINE)


ODD: list[dict[str, Any]] = [
    {},
    {"kind": ["say"]},
    {"kind": "say"},
    {"kind": "say", "content": [{"type": []}], "when": {}},
    {"kind": "say", "content": "Hi", "when": ["now"]},
    {"kind": "answer"},
    {"kind": "answer", "approval": [1], "allow": "yes", "by": {}},
    {"kind": "answer", "approval": {"call_id": [], "digest": {}}},
    {"kind": "cancel", "turn": [1], "reason": {}},
    {"kind": "cancel", "turn": "first"},
    {"kind": "of a later version"},
]


def test_an_odd_entry_costs_itself_and_nobodys_conversation(client: Client) -> None:
    store = MemoryStore()
    talks = [client.converse(Agent(model=MODEL), store=store, id=name) for name in "ab"]
    for number, odd in enumerate(ODD):
        store.post("a/inbox", odd, key=str(number))
    web = Conversations(store)
    for name in "ab":
        web.say(name, "Hello")
    until(lambda: [len(talk.history()) for talk in talks] == [2, 2])
    assert web.approvals("a") == []
    passed = [entry for entry in recorded(store) if entry["kind"] == "passed"]
    assert [bool(entry.get("why")) for entry in passed] == [True] * len(ODD)
    talks[0].stop(timeout=DEADLINE)
    again = client.converse(Agent(model=MODEL), store=store, id="a")
    assert [message["role"] for message in again.history()] == ["user", "assistant"]


@pytest.mark.parametrize("turn", [[1], "1", True, -1, 1.0])
def test_a_turn_that_is_no_number_is_refused(turn: Any) -> None:
    store = MemoryStore()
    with pytest.raises(ParameterError, match="turn: expected the number of a turn, or None, got"):
        Conversations(store).cancel("a", turn=turn)
    assert store.names() == []


def test_what_comes_after_a_stop_is_for_the_next_owner(client: Client) -> None:
    store = MemoryStore()
    talk = client.converse(Agent(model=MODEL), store=store, id="a")
    talks = Conversations(store)
    with talk._talk._lock:  # so that both are read at once
        talks.stop("a")
        talks.say("a", "Hello?")
    wait(talk.actor_stopped)
    assert said(store) == []
    again = client.converse(Agent(model=MODEL), store=store, id="a")
    until(lambda: said(store) == ["Hello?"])
    again.stop(timeout=DEADLINE)


def test_one_that_has_stopped_is_not_followed(client: Client) -> None:
    store = MemoryStore()
    talk = client.converse(Agent(model=MODEL), store=store, id="a")
    talk.stop(timeout=DEADLINE)
    reader = inboxes_of(store)
    reader.follow("a", talk._talk, None)
    assert not reader._cursors
    reader.leave("a", talk._talk)


def test_a_forked_child_reads_nothing(client: Client) -> None:
    store = MemoryStore()
    talk = client.converse(Agent(model=MODEL), store=store, id="a")
    reader = inboxes_of(store)
    reader.after_fork()  # as in a child; the thread ends, as it finds nothing
    Conversations(store).say("a", "Hello?")
    until(lambda: "anthropix-inboxes" not in [thread.name for thread in threading.enumerate()])
    assert said(store) == []
    talk.stop(timeout=DEADLINE)


def test_entries_that_come_as_a_conversation_leaves_are_left(client: Client) -> None:
    store = MemoryStore()
    talk = client.converse(Agent(model=MODEL), store=store, id="a")
    reader = inboxes_of(store)
    talk.stop(timeout=DEADLINE)
    Conversations(store).say("a", "Hello?")
    reader._found("a/inbox", talk._talk, store.read("a/inbox"))
    assert said(store) == []


def test_where_the_inbox_cannot_be_made_the_conversation_does_not_begin(client: Client) -> None:
    store = Shaky()

    def fail() -> None:
        raise StoreError("away")

    store.faults["post"] = fail
    with pytest.raises(StoreError):
        client.converse(Agent(model=MODEL), store=store, id="a")
    store.faults.clear()
    until(lambda: is_free(store))
    client.converse(Agent(model=MODEL), store=store, id="a").stop(timeout=DEADLINE)


def test_a_client_that_is_closed_meanwhile_resumes_nothing_and_gives_the_conversation_up(
    emulator: Emulator, client: Client
) -> None:
    store = MemoryStore()
    talk, _, _ = waiting(emulator, client, store)
    talk.say("And Mary.", when="idle")
    past = fold(recorded(store))
    talk.stop(timeout=DEADLINE)
    closed = Client("key", base_url=emulator.url)
    other: Any = closed.converse(Agent(model=MODEL, tools=[send]), store=store, id="b")
    closed._core.registry.close()
    with pytest.raises(ConfigurationError, match="closed"):
        other._talk.load(past, go_on=True)
    wait(other.actor_stopped)
    assert [entry.data["kind"] for entry in store.read("b")] == ["conversation"]
    until(lambda: is_free(store))


@pytest.mark.parametrize("patience", [5.0, 1000.0])
def test_the_time_of_an_approval_goes_on_while_nobody_runs_it(
    emulator: Emulator, client: Client, patience: float
) -> None:
    store, later = MemoryStore(), MemoryStore()
    talk, _, _ = waiting(emulator, client, store, approval=1000.0)
    talk.stop(timeout=DEADLINE)
    entries = [{**entry, "at": entry["at"] - 100.0} if "at" in entry else entry for entry in recorded(store)]
    later.append("a", later.claim("a"), 0, entries)
    inbox = Inbox()
    agent = Agent(model=MODEL, tools=[send], limits=Limits(approval=patience))
    talk = client.converse(agent, store=later, id="a", stream=inbox)
    asked = inbox.until(ApprovalNeeded).approval
    if patience < 100:
        given = inbox.until(ApprovalGiven)
        assert (given.allow, given.by) == (False, "a timeout: nobody decided in time")
    else:
        talk.answer(asked, allow=True)
    inbox.until(TurnDone)


def test_a_call_that_is_not_as_it_was_approved_does_not_start(emulator: Emulator, client: Client) -> None:
    store = Shaky()
    talk, asked, inbox = waiting(emulator, client, store)
    let = threading.Event()
    store.faults["append"] = lambda: wait(let)
    talk.answer(asked, allow=True)

    def send_more(to: str, copy: str = "") -> str:
        """Send it."""
        raise AssertionError(to + copy)

    talk._talk.toolbox = Toolbox([tool(send_more, name="send", approve=True)])
    let.set()
    inbox.until(TurnDone)
    results = [block for message in talk.history() for block in message["content"] if block["type"] == "tool_result"]
    assert [block["content"] for block in results] == ["not started: it is not as it was approved"]


def test_a_log_that_cannot_be_given_up_is_free_when_its_lease_is_over(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    store = Shaky()
    talk = client.converse(Agent(model=MODEL), store=store, id="a", lease=0.2)

    def fail() -> None:
        raise StoreError("away")

    store.faults["state"] = fail
    talk.stop(timeout=DEADLINE)
    store.faults.clear()
    assert "the log 'a' could not be given up" in caplog.text
    until(lambda: is_free(store))


def test_without_a_thread_the_conversations_own_writes(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    store, start = MemoryStore(), threading.Thread.start

    def no_recorder(thread: threading.Thread) -> None:
        if thread.name == "anthropix-recorder":
            raise RuntimeError("can't start new thread")  # as at the interpreter's exit
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_recorder)
    talk = client.converse(Agent(model=MODEL), store=store, id="a")
    talk.say("Hello").result(DEADLINE)
    talk.stop(timeout=DEADLINE)
    assert [entry["kind"] for entry in recorded(store)] == ["conversation", "say", "answered", "stop"]


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"resume": 1}, "resume"),
        ({"take_over": "yes"}, "take_over"),
        ({"lease": 0}, "lease"),
        ({"lease": True}, "lease"),
    ],
)
def test_wrong_options_are_refused(client: Client, wrong: Any, place: str) -> None:
    with pytest.raises(ParameterError, match=f"{place}: expected"):
        client.converse(Agent(model=MODEL), store=MemoryStore(), id="a", **wrong)
