"""A conversation that outlives who runs it: it goes on where it was, and nothing is asked for, done or heard twice."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pykka
import pytest

from anthropix_actors import Agent, Client, Conversations, Limits, ParameterError
from anthropix_actors.conversation.record import fold
from anthropix_actors.emulator import Emulator, Reply, Stall, ToolCall
from anthropix_actors.errors import CancelledError, ConfigurationError
from anthropix_actors.messages import (
    ApprovalNeeded,
    ToolDone,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnSuspended,
)
from anthropix_actors.stores import Held, MemoryStore, StoreError
from anthropix_actors.tools import Call, tool

from actors import Inbox
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MODEL = "claude-sonnet-5"
ENDS = (TurnDone, TurnFailed, TurnCancelled, TurnSuspended)


@pytest.fixture
def connect(emulator: Emulator) -> Iterator[Callable[[], Client]]:
    """Make clients, each for what would be a process of its own."""
    clients: list[Client] = []

    def make() -> Client:
        clients.append(Client("key", base_url=emulator.url))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    pykka.ActorRegistry.stop_all(timeout=DEADLINE)


class Dying(MemoryStore):
    """A store that shows each process what it would see of it: one that has died writes nothing more."""

    def dies(self) -> None:
        """Have all claims so far be those of processes that have died."""
        for name in self.names():
            if not name.endswith("/inbox"):
                self.claim(name)


def recorded(store: MemoryStore, name: str = "a") -> list[Any]:
    return [entry.data for entry in store.read(name)]


def kinds(store: MemoryStore) -> list[str]:
    return [entry["kind"] for entry in recorded(store)]


class Worker:
    """A tool that works until it is let go, and counts."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.let = threading.Event()
        self.ran: list[str] = []

    def works(self, *, call: Call) -> str:
        """Work."""
        self.ran.append(call.id)
        self.began.release()
        wait(self.let)
        return "worked"


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.let.set()


def interrupted(
    emulator: Emulator, connect: Callable[[], Client], worker: Worker, **options: Any
) -> tuple[Dying, Agent]:
    """Return the store of a conversation whose owner has died while a tool ran."""
    store, agent = Dying(), Agent(model=MODEL, tools=[tool(worker.works, **options)])
    emulator.queue(Reply([ToolCall("works", {})]))
    connect().converse(agent, store=store, id="a").say("Go")
    assert worker.began.acquire(timeout=DEADLINE)
    store.dies()
    return store, agent


def results(talk: Any) -> list[Any]:
    return [
        block.get("content")
        for message in talk.history()
        if message["role"] == "user"
        for block in message["content"]
        if block["type"] == "tool_result"
    ]


def test_the_model_is_told_that_the_outcome_of_an_interrupted_call_is_unknown(
    emulator: Emulator, connect: Callable[[], Client], worker: Worker
) -> None:
    store, agent = interrupted(emulator, connect, worker)
    emulator.queue(Reply(["I see."]))
    inbox = Inbox()
    talk = connect().converse(agent, store=store, id="a", stream=inbox, take_over=True)
    told = inbox.until_end(ENDS)
    assert isinstance(told[-1], TurnDone)
    assert results(talk) == ["interrupted: what came of it is unknown; it may have taken effect"]
    assert [message.is_error for message in told if isinstance(message, ToolDone)] == [True]
    assert len(worker.ran) == 1
    assert len(emulator.requests) == 2


def test_an_idempotent_call_runs_again_with_the_same_id(
    emulator: Emulator, connect: Callable[[], Client], worker: Worker
) -> None:
    store, agent = interrupted(emulator, connect, worker, idempotent=True)
    worker.let.set()
    emulator.queue(Reply(["I see."]))
    talk = connect().converse(agent, store=store, id="a", take_over=True)
    [turn] = talk.turns
    turn.result(DEADLINE)
    assert results(talk) == ["worked"]
    assert len(worker.ran) == 2
    assert len({*worker.ran}) == 1


@pytest.mark.parametrize("allow", [True, False])
def test_somebody_is_asked_whether_to_run_an_interrupted_call_again(
    emulator: Emulator,
    connect: Callable[[], Client],
    worker: Worker,
    allow: bool,  # noqa: FBT001 - a parameter of a test
) -> None:
    store, agent = interrupted(emulator, connect, worker, unknown="ask")
    worker.let.set()
    emulator.queue(Reply(["I see."]))
    inbox = Inbox()
    talk = connect().converse(agent, store=store, id="a", stream=inbox, take_over=True)
    [turn] = talk.turns
    asked = inbox.until(ApprovalNeeded).approval
    assert (asked.kind, len(worker.ran)) == ("unknown", 1)
    assert Conversations(store).approvals("a") == [asked]
    talk.answer(asked, allow=allow, by="eva")
    turn.result(DEADLINE)
    told = "interrupted: what came of it is unknown; it may have taken effect; to run it again was denied by eva"
    assert (results(talk), len(worker.ran)) == ((["worked"], 2) if allow else ([told], 1))


def test_who_allowed_a_call_to_run_again_is_asked_again_if_it_is_interrupted_again(
    emulator: Emulator, connect: Callable[[], Client], worker: Worker
) -> None:
    store, agent = interrupted(emulator, connect, worker, unknown="ask")
    digests = []
    for _ in range(2):
        inbox = Inbox()
        talk = connect().converse(agent, store=store, id="a", stream=inbox, take_over=True)
        asked = inbox.until(ApprovalNeeded).approval
        digests.append(asked.digest)
        talk.answer(asked, allow=True)
        assert worker.began.acquire(timeout=DEADLINE)
        store.dies()
    assert len({*digests}) == 2
    assert len(worker.ran) == 3


def test_a_request_that_was_under_way_is_asked_again_and_counted(
    emulator: Emulator, connect: Callable[[], Client]
) -> None:
    store, agent = Dying(), Agent(model=MODEL)
    emulator.queue(Stall(), Reply(["Hello."]))
    first = connect().converse(agent, store=store, id="a")
    first.say("Hello?")
    emulator.wait_for_requests(1, timeout=DEADLINE)
    first.say("And one more.")
    later = first.say("Later.", when="idle")
    assert later.state == "running"
    until(lambda: kinds(store).count("say") == 3)
    store.dies()
    emulator.queue(Reply(["Indeed."]), Reply(["Then."]))
    talk = connect().converse(agent, store=store, id="a", take_over=True)
    running, queued = talk.turns
    assert running.result(DEADLINE)["content"] == [{"type": "text", "text": "Indeed."}]
    queued.result(DEADLINE)
    bodies = [request.body["messages"] for request in emulator.requests]
    assert bodies[1] == bodies[0]
    said = [message["content"][0]["text"] for message in talk.history() if message["role"] == "user"]
    assert said == ["Hello?", "And one more.", "Later."]
    past = fold(recorded(store))
    assert [past.spent[turn].requests for turn in (1, 2)] == [3, 1]


def test_a_turn_that_waits_for_approval_waits_again(emulator: Emulator, connect: Callable[[], Client]) -> None:
    ran: list[str] = []

    @tool(approve=True)
    def send(to: str) -> str:
        """Send it."""
        ran.append(to)
        return "sent"

    store, agent, inbox = MemoryStore(), Agent(model=MODEL, tools=[send]), Inbox()
    emulator.queue(Reply([ToolCall("send", {"to": "Ada"})]), Reply(["Done."]))
    talk = connect().converse(agent, store=store, id="a", stream=inbox)
    turn = talk.say("Write to Ada.")
    first = inbox.until(ApprovalNeeded).approval
    with pytest.raises(Held, match=r"the log 'a' belongs to '.*', which lives; it is in use in this process"):
        connect().converse(agent, store=store, id="a")
    talk.stop(timeout=DEADLINE)
    assert isinstance(inbox.until_end(ENDS)[-1], TurnSuspended)
    with pytest.raises(CancelledError):
        turn.result()
    assert Conversations(store).approvals("a") == [first]
    again = Inbox()
    talk = connect().converse(agent, store=store, id="a", stream=again)
    [turn] = talk.turns
    asked = again.until(ApprovalNeeded).approval
    assert asked == first
    talk.answer(msgspec.json.decode(msgspec.json.encode(first), type=type(first)), allow=True)
    turn.result(DEADLINE)
    assert ran == ["Ada"]
    with pytest.raises(ParameterError, match="was decided before"):
        talk.answer(asked, allow=True)


def test_an_answer_that_is_given_while_nobody_runs_it_is_obeyed_once(
    emulator: Emulator, connect: Callable[[], Client]
) -> None:
    ran: list[str] = []

    def send(to: str) -> str:
        """Send it."""
        ran.append(to)
        return "sent"

    store, inbox = MemoryStore(), Inbox()
    agent = Agent(model=MODEL, tools=[tool(send, approve=True)])
    talks = Conversations(store)
    emulator.queue(Reply([ToolCall("send", {"to": "Ada"})]), Reply(["Done."]), Reply(["Yes?"]))
    talk = connect().converse(agent, store=store, id="a", stream=inbox)
    talk.say("Write to Ada.")
    inbox.until(ApprovalNeeded)
    talk.stop(timeout=DEADLINE)
    [asked] = talks.approvals("a")
    assert talks.answer("a", asked, allow=True, by="eva")
    assert not talks.answer("a", asked, allow=False, by="tom"), "the second one counts"
    assert talks.approvals("a") == []
    assert talks.say("a", "Are you there?", when="idle")
    for _ in range(3):
        talk = connect().converse(agent, store=store, id="a")
        for turn in talk.turns:
            turn.result(DEADLINE)
        until(lambda: not talk.turns)  # noqa: B023 - called at once
        talk.stop(timeout=DEADLINE)
    assert ran == ["Ada"]
    assert len(emulator.requests) == 3
    assert talks.history("a") == talk.history()
    assert [entry["by"] for entry in recorded(store) if entry["kind"] == "decided"] == ["eva"]


@pytest.mark.parametrize("changed", ["schema", "tool is gone", "needs no approval"])
def test_an_approval_of_a_call_that_has_changed_is_none(
    emulator: Emulator, connect: Callable[[], Client], changed: str
) -> None:
    ran: list[str] = []

    def send(to: str) -> str:
        """Send it."""
        ran.append(to)
        return "sent"

    def send_more(to: str, copy: str = "") -> str:
        """Send it."""
        return send(to + copy)

    store, inbox, again = MemoryStore(), Inbox(), Inbox()
    emulator.queue(Reply([ToolCall("send", {"to": "Ada"})]), Reply(["Done."]))
    talk = connect().converse(Agent(model=MODEL, tools=[tool(send, approve=True)]), store=store, id="a", stream=inbox)
    talk.say("Write to Ada.")
    old = inbox.until(ApprovalNeeded).approval
    talk.stop(timeout=DEADLINE)
    Conversations(store).answer("a", old, allow=True)
    tools: dict[str, list[Any]] = {
        "schema": [tool(send_more, name="send", approve=True)],
        "tool is gone": [],
        "needs no approval": [send],
    }
    talk = connect().converse(Agent(model=MODEL, tools=tools[changed]), store=store, id="a", stream=again)
    [turn] = talk.turns
    if changed == "schema":
        new = again.until(ApprovalNeeded).approval
        assert new.digest != old.digest
        assert not ran
        talk.answer(new, allow=True)
    turn.result(DEADLINE)
    told = "not started: there is no tool 'send', but none" if changed == "tool is gone" else "sent"
    assert results(talk) == [told]


def test_what_is_in_the_log_is_heard_by_the_new_owner_and_not_handed_back_by_the_one_before(
    emulator: Emulator, connect: Callable[[], Client]
) -> None:
    store, agent, inbox = MemoryStore(), Agent(model=MODEL), Inbox()
    emulator.queue(Stall(), Reply(["One."]), Reply(["Two."]))
    first = connect().converse(agent, store=store, id="a", stream=inbox)
    turn = first.say("First")
    emulator.wait_for_requests(1, timeout=DEADLINE)
    first.say("Second", when="idle")
    until(lambda: kinds(store).count("say") == 2)
    second = connect().converse(agent, store=store, id="a", take_over=True)
    running, queued = second.turns
    running.result(DEADLINE)
    queued.result(DEADLINE)
    turn.cancel()
    ends = [inbox.until(TurnCancelled) for _ in range(2)]
    assert [end.undelivered for end in ends] == [(), ()]
    said = [message["content"][0]["text"] for message in second.history() if message["role"] == "user"]
    assert said == ["First", "Second"]
    assert running.usage.estimate  # what the first request has cost is not known
    assert not queued.usage.estimate


def test_without_resume_only_the_history_goes_on(
    emulator: Emulator, connect: Callable[[], Client], worker: Worker
) -> None:
    store, agent = interrupted(emulator, connect, worker)
    Conversations(store).say("a", "Next.")
    inbox = Inbox()
    talk = connect().converse(agent, store=store, id="a", stream=inbox, resume=False, take_over=True)
    end = inbox.until_end(ENDS)[-1]
    assert isinstance(end, TurnCancelled)
    assert end.reason == "it was not resumed"
    assert results(talk) == ["interrupted: what came of it is unknown; it may have taken effect"]


@dataclass
class Address:
    """Where somebody is."""

    name: str


def test_the_value_of_a_turn_is_plain_after_a_restart(emulator: Emulator, connect: Callable[[], Client]) -> None:
    store, agent = Dying(), Agent(model=MODEL)
    emulator.queue(Stall(), Reply(['{"name": "Ada"}']), Reply(["no JSON"]))
    talk = connect().converse(agent, store=store, id="a")
    talk.say("Who?", output=Address)
    emulator.wait_for_requests(1, timeout=DEADLINE)
    talk.say("And then?", output=Address, when="idle")
    until(lambda: kinds(store).count("say") == 2)
    store.dies()
    talk = connect().converse(agent, store=store, id="a", take_over=True)
    first, second = talk.turns
    emulator.release()
    assert first.output(DEADLINE) == {"name": "Ada"}
    assert emulator.requests[1].body["output_config"] == emulator.requests[0].body["output_config"]
    with pytest.raises(Exception, match="the answer is not JSON"):
        second.result(DEADLINE)


class Away(MemoryStore):
    """A store that can be away, or slow."""

    def __init__(self) -> None:
        super().__init__()
        self.there = threading.Event()
        self.there.set()
        self.slow = threading.Event()
        self.slow.set()

    def append(
        self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
    ) -> None:
        assert self.slow.wait(4 * DEADLINE)
        if not self.there.is_set():
            raise StoreError("away")
        super().append(name, epoch, first, entries, close=close)


def test_a_turn_waits_for_a_store_that_is_away(emulator: Emulator, connect: Callable[[], Client]) -> None:
    store = Away()
    talk = connect().converse(Agent(model=MODEL), store=store, id="a")
    store.there.clear()
    turn = talk.say("Hello?")
    recorder: Any = talk._talk.recorder
    until(lambda: recorder._writing)
    assert talk.proxy().actor_urn.get(timeout=DEADLINE)  # what the actor was told before is done
    task: Any = turn._task
    assert task.chat is None
    assert not emulator.requests
    store.there.set()
    assert turn.result(DEADLINE)["role"] == "assistant"


def test_a_store_that_stays_away_fails_the_turn_and_hands_back_what_was_said(
    emulator: Emulator, connect: Callable[[], Client]
) -> None:
    store, inbox = Away(), Inbox()
    agent = Agent(model=MODEL, limits=Limits(store=0.05))
    talk = connect().converse(agent, store=store, id="a", stream=inbox)
    store.there.clear()
    turn = talk.say("Hello?")
    later = talk.say("Later", when="idle")
    with pytest.raises(StoreError, match="away"):
        turn.result(DEADLINE)
    with pytest.raises(StoreError if later.state == "failed" else CancelledError):
        later.result(DEADLINE)
    ends = {message.turn: message for message in inbox.until_end((TurnCancelled,)) if isinstance(message, ENDS)}
    assert ends[later].undelivered == ([{"type": "text", "text": "Later"}],)
    assert not emulator.requests
    with pytest.raises(ConfigurationError, match="has stopped"):
        talk.say("Hello?")


@pytest.mark.parametrize("phase", ["asking", "acting", "approval", "next"])
def test_a_slow_store_does_not_delay_a_cancel(
    emulator: Emulator, connect: Callable[[], Client], worker: Worker, phase: str
) -> None:
    store, inbox = Away(), Inbox()
    agent = Agent(model=MODEL, tools=[tool(worker.works, approve=phase == "approval")])
    emulator.queue(Reply([ToolCall("works", {})]))
    talk = connect().converse(agent, store=store, id="a", stream=inbox)
    if phase == "asking":
        store.slow.clear()
    turn = talk.say("Go")
    if phase == "approval":
        inbox.until(ApprovalNeeded)
    elif phase != "asking":
        assert worker.began.acquire(timeout=DEADLINE)
    store.slow.clear()
    if phase == "next":
        worker.let.set()
        until(lambda: len(talk._talk.state.messages) == 3)  # it would ask, but for the log
    turn.cancel("enough")
    with pytest.raises(CancelledError, match="enough"):
        turn.result(DEADLINE)
    assert isinstance(inbox.until_end(ENDS)[-1], TurnCancelled)
    until(lambda: not talk._talk.turns)  # by the conversation itself
    assert len(emulator.requests) == (0 if phase == "asking" else 1)
    store.slow.set()
    talk.stop(timeout=DEADLINE)
    assert fold(recorded(store)).history == tuple(talk.history())


def test_what_is_said_now_does_not_wait_for_a_slow_store_but_is_asked_only_when_it_is_written(
    emulator: Emulator, connect: Callable[[], Client]
) -> None:
    store = Away()
    talk = connect().converse(Agent(model=MODEL), store=store, id="a")
    store.slow.clear()
    turn = talk.say("Hello?")
    talk.say("Now!", when="now")
    until(lambda: len(talk._talk.state.messages) == 2)
    assert not emulator.requests
    store.slow.set()
    turn.result(DEADLINE)
    [request] = emulator.requests
    assert [message["content"][0]["text"] for message in request.body["messages"]] == ["Hello?", "Now!"]


def test_others_say_cancel_and_stop_from_anywhere(emulator: Emulator, connect: Callable[[], Client]) -> None:
    store, inbox = MemoryStore(), Inbox()
    talks = Conversations(store)
    assert talks.names() == []
    assert talks.history("a") == []
    assert talks.approvals("a") == []
    talks.stop("a")  # nobody runs it
    talks.cancel("a")
    assert talks.say("a", "Hello", key="1")
    assert not talks.say("a", "Hello", key="1")
    emulator.queue(Reply(["Hello."]), Stall(), Reply(["Yes."]))
    talk = connect().converse(Agent(model=MODEL), store=store, id="a", stream=inbox)
    assert isinstance(inbox.until_end(ENDS)[-1], TurnDone)
    assert talks.names() == ["a"]
    assert talks.names("b") == []
    talks.say("a", "And now?")
    emulator.wait_for_requests(2, timeout=DEADLINE)
    talks.cancel("a", reason="enough")
    end = inbox.until_end(ENDS)[-1]
    assert isinstance(end, TurnCancelled)
    assert end.reason == "enough"
    talks.cancel("a", turn=17)
    store.post("a/inbox", {"kind": "sing"}, key="x")
    store.post("a/inbox", {"kind": "answer", "approval": {"digest": 3}, "allow": True}, key="y")
    store.post("a/inbox", {"kind": "say", "content": []}, key="z")
    talks.stop("a", reason="good night")
    wait(talk.actor_stopped)
    passed = [entry.get("why", "") for entry in recorded(store) if entry["kind"] == "passed"]
    assert [why.partition(":")[0] for why in passed] == ["", "", "", "kind", "approval", "content"]


def test_a_conversation_is_followed_from_anywhere(connect: Callable[[], Client]) -> None:
    store = MemoryStore()
    talks = Conversations(store)
    assert [*talks.follow("a", timeout=0.05)] == []
    seen: list[str] = []
    cursors: list[str] = []

    def follow() -> None:
        for entry in talks.follow("a", timeout=DEADLINE):
            seen.append(entry.data["kind"])
            cursors.append(entry.cursor)
            if "ends" in entry.data:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    talk = connect().converse(Agent(model=MODEL), store=store, id="a")
    talk.say("Hello").result(DEADLINE)
    follower.join(DEADLINE)
    assert seen == ["conversation", "say", "answered"]
    [last] = talks.follow("a", after=cursors[-2], timeout=0.01)
    assert last.cursor == cursors[-1]
    talk.stop(timeout=DEADLINE)
    store.delete("a")
    with pytest.raises(Exception, match="no log"):
        next(talks.follow("a", after=cursors[-1], timeout=1))
