"""The end of a client, or a store, under conversations: others go on with them at once. And logs of something else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import Agent, Client, Conversations, Hub, Limits, ParameterError
from anthropix_actors.conversation.inbox import inboxes_of
from anthropix_actors.emulator import Emulator, Reply, ToolCall
from anthropix_actors.messages import ChatEvent
from anthropix_actors.stores import MemoryStore, SQLiteStore, StoreClosedError, open_store
from anthropix_actors.stores.holder import HOLDERS
from anthropix_actors.subscribers import to_function
from anthropix_actors.tools import tool

from actors import ASK
from servers import DEADLINE, until, wait
from stores_for_tests import Shaky

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AGENT = Agent(model="claude-sonnet-5")


def is_free(store: MemoryStore | SQLiteStore, name: str = "a") -> bool:
    state = store.state(name)
    return state is not None and state.holder is None


def test_a_closed_client_has_given_its_conversations_up(client: Client) -> None:
    store, closed, seen = Shaky(), threading.Event(), []
    talk = client.converse(AGENT, store=store, id="a")
    talk.say("Hi").result(DEADLINE)
    store.faults["state"] = lambda: seen.append(closed.wait(0.05))
    client.close()
    closed.set()
    assert seen == [False]
    store.faults.clear()
    assert is_free(store)


def test_a_store_that_does_not_answer_delays_the_end_of_a_client_for_a_moment_only(client: Client) -> None:
    store, go_on = Shaky(), threading.Event()
    talk = client.converse(AGENT, store=store, id="a")
    store.faults["state"] = lambda: wait(go_on)
    client.close()
    client.close()
    assert talk.is_alive()
    go_on.set()
    wait(talk.actor_stopped)
    assert is_free(store)


def in_a_tell(close: Callable[[], None], ended: threading.Event) -> Any:
    def tell(message: Any) -> None:
        if isinstance(message, ChatEvent) and not ended.is_set():
            close()
            ended.set()

    return tell


class Closes(pykka.ThreadingActor):
    """Calls what it is made with as it is told the first event."""

    use_daemon_thread = True

    def __init__(self, tell: Callable[[Any], None]) -> None:
        super().__init__()
        self._tell = tell

    def on_receive(self, message: Any) -> None:
        self._tell(message)


@pytest.mark.parametrize("where", ["tell", "actor", "tool"])
def test_a_thread_that_a_conversation_needs_does_not_wait_for_it(
    client: Client, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr("anthropix_actors.client._PARTING", 100 * DEADLINE)
    store, ended, go_on = Shaky(), threading.Event(), threading.Event()
    tell = in_a_tell(client.close, ended)

    def close() -> str:
        """Close."""
        client.close()
        ended.set()
        return "closed"

    emulator.queue(Reply([ToolCall("close", {})]))
    agent = Agent(model="claude-sonnet-5", tools=[tool(close)] if where == "tool" else [])
    stream: Any = None
    if where != "tool":
        stream = to_function(tell) if where == "tell" else Closes.start(tell)
    store.faults["state"] = lambda: wait(go_on)
    talk = client.converse(agent, store=store, id="a", stream=stream)
    talk.say("Hi")
    wait(ended)
    go_on.set()
    wait(talk.actor_stopped)
    assert is_free(store)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert not [record for record in caplog.records if record.exc_info]
    return [record.getMessage() for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


def has_threads(*names: str) -> bool:
    return any(thread.name in names for thread in threading.enumerate())


def test_a_store_may_be_closed_right_after_the_client(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(f"sqlite:{tmp_path}/talks.db") as store:
        talk = client.converse(AGENT, store=store, id="a")
        talk.say("Hi").result(DEADLINE)
        client.close()
    wait(talk.actor_stopped)
    until(lambda: not has_threads("anthropix-beat", "anthropix-inboxes"))
    assert logged(caplog) == []
    with SQLiteStore(tmp_path / "talks.db") as again:
        assert is_free(again)


def test_a_conversation_ends_quietly_when_its_store_is_closed(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SQLiteStore(tmp_path / "talks.db")
    talk = client.converse(AGENT, store=store, id="a", lease=0.3)
    talk.say("Hi").result(DEADLINE)
    store.close()
    wait(talk.actor_stopped)
    until(lambda: not has_threads("anthropix-beat", "anthropix-inboxes"))
    assert logged(caplog) == [
        "the log 'a' could not be given up: its store was closed first; it is free when the lease is over"
    ]


def closed() -> None:
    raise StoreClosedError("the store is closed")


def test_what_is_said_over_a_closed_store_fails_at_once(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    store = Shaky()
    talk = client.converse(Agent(model="claude-sonnet-5", limits=Limits(store=None)), store=store, id="a")
    store.faults["append"] = closed
    with pytest.raises(StoreClosedError):
        talk.say("Hi").result(DEADLINE)
    wait(talk.actor_stopped)
    assert logged(caplog) == []
    assert is_free(store)


def test_a_beat_ends_when_the_store_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    store = Shaky()
    holder = HOLDERS.of(store, 0.1)
    epoch = holder.claim("a")
    store.faults["beat"] = closed
    until(lambda: not has_threads("anthropix-beat"))
    assert logged(caplog) == []
    store.faults.clear()
    beats = store.calls["beat"]
    other = holder.claim("b")
    until(lambda: store.calls["beat"] > beats + 1)  # it beats anew
    holder.release("a", epoch)
    holder.release("b", other)


# Logs of something else

OTHERS: dict[str, Callable[[MemoryStore], object]] = {
    "of a chat": lambda store: store.append("a", store.claim("a"), 0, [{"kind": "begin", "format": 1}]),
    "of a job": lambda store: Hub(store).submit(ASK, id="a"),
    "of a batch": lambda store: store.append("a", store.claim("a"), 0, [{"kind": "run"}]),
    "of a program": lambda store: store.append("a", store.claim("a"), 0, [{"n": 1}]),
    "that is posted to": lambda store: store.post("a", {}, key="any"),
}


@pytest.mark.parametrize("what", [*OTHERS])
@pytest.mark.parametrize("take_over", [True, False])
def test_a_log_of_something_else_is_refused_and_left_alone(client: Client, what: str, *, take_over: bool) -> None:
    store = MemoryStore()
    OTHERS[what](store)
    before = store.state("a")
    with pytest.raises(ParameterError, match="id: the log 'a' is none of a conversation: take another name"):
        client.converse(AGENT, store=store, id="a", take_over=take_over)
    assert store.state("a") == before


@pytest.mark.parametrize("name", ["", "a/inbox", "x" * 251, "a\n", 7])
def test_a_name_that_leaves_no_room_for_an_inbox_is_refused(client: Client, name: Any) -> None:
    store = MemoryStore()
    with pytest.raises(ParameterError, match="id: expected 1 to 250 printable characters that do not end with /inbox"):
        client.converse(AGENT, store=store, id=name)
    with pytest.raises(ParameterError, match="id: expected 1 to 250 printable characters"):
        Conversations(store).say(name, "Hello")
    assert store.names() == []


def test_a_conversation_may_have_the_name_of_a_job_that_is_its_own(client: Client) -> None:
    store = MemoryStore()
    store.put("jobs", "a", {"say": "Hi"})
    talk = client.converse(AGENT, store=store, id="a")
    talk.stop(timeout=DEADLINE)
    store.delete("a")
    store.claim("b")  # by one that has died before it began
    client.converse(AGENT, store=store, id="b").stop(timeout=DEADLINE)


def test_no_chat_is_submitted_under_the_name_of_a_conversation(client: Client) -> None:
    store = MemoryStore()
    client.converse(AGENT, store=store, id="a")
    with Hub(store) as hub:
        with pytest.raises(ParameterError, match="the log 'a' is none of a chat: take another name"):
            hub.submit(ASK, id="a")
        assert store.job("jobs", "a") is None


@pytest.mark.parametrize("url", ["sqlite:talks.db", "redis://:secret@host"])
def test_a_text_in_place_of_a_store_is_refused(client: Client, url: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: Conversations(url),
        lambda: Hub(url),
        lambda: client.converse(AGENT, store=url, id="a"),
        lambda: client.batches.run([], to_function(print), store=url, id="a"),
    ]
    for call in calls:
        with pytest.raises(ParameterError, match=r"store: expected a store, got a text: open_store\(...\)") as caught:
            call()
        assert "secret" not in str(caught.value)


def test_a_reader_of_inboxes_begins_anew_after_a_closed_store(client: Client) -> None:
    store = Shaky()
    talk = client.converse(AGENT, store=store, id="a")
    store.faults["read_many"] = closed
    wait(talk.actor_stopped)
    until(lambda: not has_threads("anthropix-inboxes"))
    store.faults.clear()
    inboxes = inboxes_of(store)
    again = client.converse(AGENT, store=store, id="a")
    assert inboxes_of(store) is inboxes
    Conversations(store).stop("a")
    wait(again.actor_stopped)
