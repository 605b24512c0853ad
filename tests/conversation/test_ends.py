"""What ends conversations from outside: the exit, a fork, missing threads, a lost log; and odd moments."""

from __future__ import annotations

import copy
import os
import queue
import signal
import threading
import time
from typing import Any, ClassVar

import pykka
import pytest

from anthropix_actors import Agent, AnthropixError, Client, ConversationRef, Limits, Timeout
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors.conversation import request
from anthropix_actors.conversation.core.moves import Cancel
from anthropix_actors.conversation.core.state import Call as StateCall
from anthropix_actors.conversation.core.state import Phase
from anthropix_actors.conversation.follower import MessageQueue
from anthropix_actors.conversation.sub_agent import SubAgentCall
from anthropix_actors.conversation.talk import Effects
from anthropix_actors.emulator import Drop, Emulator, Reply, Stall, Status, ToolCall
from anthropix_actors.errors import CancelledError, ConfigurationError
from anthropix_actors.messages import (
    ApprovalNeeded,
    ChatEvent,
    ToolDone,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnSuspended,
)
from anthropix_actors.stores import MemoryStore
from anthropix_actors.tools import tool

from actors import Blocking, Inbox, Reader, SlowEnd, no_thread_for, task_of
from servers import DEADLINE, until, wait

MODEL = "claude-sonnet-5"
ENDS = (TurnDone, TurnFailed, TurnCancelled, TurnSuspended)


@tool(approve=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def test_at_exit_a_turn_is_cancelled_and_one_that_waits_for_people_is_suspended(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    emulator.queue(Stall(Reply(["Well, well."]), after_events=4))
    client.converse(Agent(model=MODEL), stream=inbox).say("Go")
    inbox.until(ChatEvent)
    waiting = Inbox()
    emulator.queue(Reply([ToolCall("pay", {"amount": 3})]))
    client.converse(Agent(model=MODEL, tools=[pay]), stream=waiting).say("Pay")
    approval = waiting.until(ApprovalNeeded).approval
    SWEEPER.cancel_all("the interpreter exits", patience=DEADLINE)
    end = inbox.until_end(ENDS)[-1]
    assert isinstance(end, TurnCancelled)
    assert end.reason == "the interpreter exits"
    end = waiting.until_end(ENDS)[-1]
    assert isinstance(end, TurnSuspended)
    assert end.approvals == (approval,)
    with pytest.raises(CancelledError, match=r"suspended, .* the approval of "):
        end.turn.result()
    assert end.turn.state == "suspended"


def test_a_turns_result_is_there_when_all_have_been_told(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    """So an actor that follows it may be stopped then."""
    end = SlowEnd(*ENDS)
    emulator.queue(Stall("Hi", after_events=2))
    turn = client.converse(Agent(model=MODEL), stream=end).say("Go")
    turn.subscribe(inbox)
    task_of(turn).patience = DEADLINE
    emulator.release()
    turn.result(DEADLINE)
    end.returned.set()
    assert end.early == [False]
    assert not inbox.queue.empty()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_no_conversations(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(Stall(Reply(["Well, well."]), after_events=4))
    talk = client.converse(Agent(model=MODEL), stream=inbox)
    turn = talk.say("Go")
    inbox.until(ChatEvent)
    reads, writes = os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover - another process
        told = "nothing"
        try:
            talk.history()
            talk.say("Hello?")
        except ConfigurationError as exc:
            told = str(exc)
        try:
            turn.result(1)
        except CancelledError as exc:
            told += f"; {exc}"
        told += f"; {talk.stop()}; {[type(each).__name__ for each in turn]}"
        os.write(writes, told.encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    assert "the conversation has stopped" in told
    assert "the process was forked" in told
    assert told.endswith("['TurnCancelled']")
    turn.cancel()
    assert isinstance(inbox.until_end(ENDS)[-1], TurnCancelled)


def test_a_fork_may_come_while_a_conversation_is_made(client: Client) -> None:
    talk = copy.copy(client.converse(Agent(model=MODEL))._talk)
    talk.actor = None
    talk.after_fork()
    assert talk.state.phase is Phase.STOPPED


def test_a_turn_for_which_there_is_no_thread_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = client.converse(Agent(model=MODEL))
    until(lambda: SWEEPER._thread is None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread_for("anthropix-sweeper"))
        with pytest.raises(AnthropixError, match="no thread"):
            talk.say("Go")
    assert talk.say("Go").result(DEADLINE)["role"] == "assistant"


def test_a_request_for_which_there_is_no_thread_fails_its_own_turn_only(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = client.converse(Agent(model=MODEL))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread_for("ChatActor"))
        with pytest.raises(AnthropixError, match="no thread for another chat"):
            talk.say("Go").result(DEADLINE)
    assert talk.say("Go on").result(DEADLINE)["role"] == "assistant"


def test_a_conversation_for_which_there_is_no_thread_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread_for("ConversationActor"))
        with pytest.raises(AnthropixError, match="no thread for another conversation"):
            client.converse(Agent(model=MODEL))
    assert not pykka.ActorRegistry.get_all()


def test_a_call_that_cannot_be_started_is_an_error_of_that_call(
    emulator: Emulator, client: Client, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.queue(Reply([ToolCall("look", {})]), Reply(["I see."]))

    def look() -> str:
        """Look."""
        return "seen"

    def breaks(_: object) -> None:
        raise ZeroDivisionError

    talk = client.converse(Agent(model=MODEL, tools=[look]), stream=inbox)
    monkeypatch.setattr("anthropix_actors.conversation.actor.ToolCall.start", breaks, raising=True)
    talk.say("Go")
    [done] = [message for message in inbox.until_end(ENDS) if isinstance(message, ToolDone)]
    assert done.is_error
    assert "ZeroDivisionError" in str(done.result)


def test_a_sub_agent_with_nothing_to_do_is_an_error_of_its_call(emulator: Emulator, client: Client) -> None:
    child = Agent(model=MODEL).as_tool("child", "Helps.")
    emulator.queue(Reply([ToolCall("child", {"task": ""})]), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[child]))
    talk.say("Go").result(DEADLINE)
    [result] = talk.history()[2]["content"]
    assert "not started: content[0].text" in result["content"]


def test_the_approval_of_a_sub_agents_call_is_given_to_the_conversation(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    child = Agent(model=MODEL, tools=[pay]).as_tool("child", "Helps.")
    middle = Agent(model=MODEL, tools=[child]).as_tool("middle", "Helps.")
    emulator.queue(
        Reply([ToolCall("middle", {"task": "Pay"})]),
        Reply([ToolCall("child", {"task": "Pay"})]),
        Reply([ToolCall("pay", {"amount": 3})]),
        *[Reply([text]) for text in ("Paid.", "It is paid.", "Done.")],
    )
    talk = client.converse(Agent(model=MODEL, tools=[middle]), stream=inbox)
    turn = talk.say("Pay")
    needed = inbox.until(ApprovalNeeded)
    assert needed.path == ("middle", "child")
    talk.answer(needed.approval, allow=True)
    assert isinstance(inbox.until_end(ENDS)[-1], TurnDone)
    assert not talk._talk.askers
    assert turn.result()["stop_reason"] == "end_turn"


def test_the_usage_of_a_sub_agent_that_was_cancelled_is_counted(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    child = Agent(model=MODEL).as_tool("child", "Helps.")
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Stall(Reply(["word " * 50]), after_events=30))
    talk = client.converse(Agent(model=MODEL, tools=[child]), stream=inbox)
    turn = talk.say("Go")
    emulator.wait_for_requests(2, timeout=DEADLINE)
    [below] = [ref for ref in pykka.ActorRegistry.get_all() if isinstance(ref, ConversationRef) and ref != talk]
    until(lambda: "word word" in str(below._talk.turns[1].ref.snapshot()))
    before = talk.usage().total_tokens
    turn.cancel()
    inbox.until_end(ENDS)
    until(lambda: talk.usage().total_tokens > before)
    assert talk.usage() == turn.usage


def test_time_that_runs_out_while_an_answer_streams_ends_its_calls(emulator: Emulator, client: Client) -> None:
    go_on = threading.Event()

    @tool(safe=True)
    def works() -> str:
        """Work."""
        wait(go_on)
        return "worked"

    agent = Agent(model=MODEL, tools=[works, pay], limits=Limits(seconds=0.1))
    slow = Stall(Reply([ToolCall("works", {}), "and"]), after_events=6)
    emulator.queue(slow, Reply(["That is all."]))
    talk = client.converse(agent)
    turn = talk.say("Go")
    emulator.wait_for_requests(1, timeout=DEADLINE)
    deadline: Any = talk._talk.turns[1].budget.deadline
    until(lambda: talk._talk.turns[1]._time_is_up)
    assert deadline is not None
    emulator.release()
    turn.result(DEADLINE)
    assert "'content': 'cancelled'" in str(talk.history())  # it is safe
    go_on.set()


def test_a_turn_that_waits_for_another_has_its_own_time(emulator: Emulator, client: Client) -> None:
    emulator.queue(Stall(Reply(["One."]), after_events=3), Reply(["Two."]))
    talk = client.converse(Agent(model=MODEL, limits=Limits(seconds=60)))
    first, second = talk.say("Go"), talk.say("Go on", when="idle")
    emulator.wait_for_requests(1, timeout=DEADLINE)
    assert talk._talk.turns[2].budget.deadline is None
    emulator.release()
    first.result(DEADLINE)
    second.result(DEADLINE)


def test_who_leaves_gets_nothing_more_of_the_answer_that_streams(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    emulator.queue(Stall(Reply(["word " * 20]), after_events=5))
    talk = client.converse(Agent(model=MODEL), stream=inbox)
    other = Inbox()
    talk.subscribe(other)
    turn = talk.say("Go")
    inbox.until(ChatEvent)
    other.until(ChatEvent)
    talk.unsubscribe(inbox)
    while not inbox.queue.empty():
        inbox.next()
    emulator.release()
    assert isinstance(other.until_end(ENDS)[-1], TurnDone)
    assert inbox.queue.empty()
    assert turn.state == "done"


def test_a_cancel_of_a_turn_that_is_over_does_nothing(client: Client) -> None:
    talk = client.converse(Agent(model=MODEL))
    turn = talk.say("Go")
    turn.result(DEADLINE)
    assert not turn.cancel()
    talk._talk.happens(Cancel(1, "late"))
    assert turn.state == "done"


def test_a_queue_that_was_left_takes_what_comes_and_is_never_full() -> None:
    messages = MessageQueue(1)
    assert messages.window.room(1)
    messages.tell("a")
    assert not messages.window.room(1)
    assert messages.is_alive()
    messages.close()
    assert messages.window.room(1)
    assert not messages.is_alive()


def test_an_agent_may_do_without_the_cache(emulator: Emulator, client: Client) -> None:
    client.converse(Agent(model=MODEL, cache=False)).say("Go").result(DEADLINE)
    client.converse(Agent(model=MODEL)).say("Go").result(DEADLINE)
    assert ["cache_control" in request.body for request in emulator.requests] == [False, True]


def test_whoever_cancels_a_chat_of_a_turn_cancels_the_turn(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(Stall(Reply(["Well, well."]), after_events=4))
    client.converse(Agent(model=MODEL), stream=inbox).say("Go")
    inbox.until(ChatEvent).chat.cancel()
    end = inbox.until_end(ENDS)[-1]
    assert isinstance(end, TurnCancelled)
    assert end.reason == "the chat was cancelled"


def test_the_chats_of_a_turn_have_results_of_their_own(client: Client, inbox: Inbox) -> None:
    turn = client.converse(Agent(model=MODEL), stream=inbox).say("Go")
    chat = inbox.until(ChatEvent).chat
    assert chat.result(DEADLINE) == turn.result(DEADLINE)
    assert isinstance(inbox.until_end(ENDS)[-1], TurnDone)
    late = Inbox()
    chat.subscribe(late)  # its turn has told all of it
    assert late.queue.empty()


def test_a_subscriber_may_join_in_the_middle_and_leave_by_another_ref(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    emulator.queue(Stall(Reply(["word " * 20]), after_events=5))
    talk = client.converse(Agent(model=MODEL), stream=Inbox())
    turn = talk.say("Go")
    emulator.wait_for_requests(1, timeout=DEADLINE)
    reader = Reader.start(inbox)
    talk.subscribe(reader)
    inbox.until(ChatEvent)
    [same] = pykka.ActorRegistry.get_by_class(Reader)
    talk.unsubscribe(same)
    emulator.release()
    turn.result(DEADLINE)
    reader.stop()
    assert not any(isinstance(message, ENDS) for message in inbox.messages)


def test_a_turn_whose_log_is_lost_in_its_middle_is_cancelled(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    let, began, store = threading.Event(), threading.Event(), MemoryStore()

    def works() -> None:
        """Work."""
        began.set()
        wait(let)

    agent = Agent(model=MODEL, tools=[works])
    for moment in ("while a tool runs", "while the answer streams"):
        store.claim(moment)
        talk = client.converse(agent, stream=inbox, store=store, id=moment)
        streams = moment.endswith("streams")
        answer = Reply([ToolCall("works", {}), "and"] if not streams else ["and", ToolCall("works", {})])
        emulator.queue(Stall(answer, after_events=4) if streams else answer)
        talk.say("Go")
        if streams:
            inbox.until(ChatEvent)
        else:
            wait(began)
        store.claim(moment)
        emulator.release()
        let.set()
        end = inbox.until_end(ENDS)[-1]
        assert isinstance(end, TurnCancelled)
        assert "claimed by another writer" in end.reason
        until(lambda: not talk.is_alive())  # noqa: B023 - called at once
    assert len(emulator.requests) == 2


def test_a_turn_that_is_cancelled_before_its_chat_begins_is_cancelled(client: Client, inbox: Inbox) -> None:
    talk = client.converse(Agent(model=MODEL), stream=inbox)

    def new_chat(*_: Any) -> Any:
        talk.cancel("never mind")
        raise AnthropixError("no chat")

    talk._talk.new_chat = new_chat
    talk.say("Go")
    end = inbox.until_end(ENDS)[-1]
    assert isinstance(end, TurnCancelled)
    assert end.reason == "never mind"


def test_a_sub_agent_that_may_not_even_ask_once_says_so(emulator: Emulator, client: Client) -> None:
    child = Agent(model=MODEL).as_tool("child", "Helps.")
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Reply(["I ran out."]))
    talk = client.converse(Agent(model=MODEL, tools=[child], limits=Limits(requests=1)))
    talk.say("Go").result(DEADLINE)
    [result] = talk.history()[2]["content"]
    assert result["content"] == "(ended early: requests)"
    assert len(emulator.requests) == 2


def test_a_sub_agent_that_cannot_be_started_is_an_error_of_its_call(emulator: Emulator, client: Client) -> None:
    child = Agent(model=MODEL).as_tool("child", "Helps.")
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[child]))

    def start(*_: Any, **__: Any) -> Any:
        raise AnthropixError("no thread")

    talk._talk.start = start
    talk.say("Go").result(DEADLINE)
    assert talk.history()[2]["content"][0]["content"] == "not started: no thread"
    turn: Any = None
    never = SubAgentCall(talk._talk, turn, child, StateCall("toolu_1", "child", {}), print)
    never.cancel_and_join("never begun")(0)
    never.after_fork()
    never.sweep(0)


def test_a_tool_that_returns_nothing_has_an_empty_result(emulator: Emulator, client: Client) -> None:
    def nothing() -> None:
        """Do nothing."""

    emulator.queue(Reply([ToolCall("nothing", {})]), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[nothing]))
    talk.say("Go").result(DEADLINE)
    assert "content" not in talk.history()[2]["content"][0]


def test_an_answer_that_is_resumed_is_one_answer_of_its_turn(emulator: Emulator, client: Client) -> None:
    emulator.queue(Drop(Reply(["One two three four."]), after_events=6), Reply([" And five."]))
    talk = client.converse(Agent(model="claude-sonnet-4-5", params={"resume": True}))
    text = "".join(getattr(piece, "text", "") for piece in talk.say("Count").pieces)
    assert text.startswith("One")
    assert text.endswith(" And five.")
    assert len(talk.history()) == 2


def test_foreign_messages_do_a_conversation_no_harm(client: Client) -> None:
    talk = client.converse(Agent(model=MODEL))
    pykka.ActorRegistry.broadcast("hello")
    assert talk.proxy().actor_urn.get(timeout=DEADLINE) == talk.actor_urn
    assert {talk, copy.copy(talk)} == {talk}
    assert talk.say("Go").result(DEADLINE)["role"] == "assistant"
    assert talk.stop()
    assert not talk.stop()


def test_what_the_sweeper_ends_has_an_end_too(client: Client) -> None:
    stuck = Blocking()
    talk = client.converse(Agent(model=MODEL), stream=stuck)
    turn = talk.say("Go")
    wait(stuck.began)
    task: Any = turn._task
    assert task.cancelled_message(CancelledError("enough")).reason == "enough"
    assert isinstance(task.failed_message(AnthropixError("bug")).error, AnthropixError)
    turn.cancel()
    until(lambda: task.terminal is not None)
    task.sweep(time.monotonic())  # not delivered yet
    stuck.let.set()
    assert isinstance(stuck.until_end(ENDS)[-1], TurnCancelled)
    talk._talk.after_fork()
    with pytest.raises(ConfigurationError):
        talk.say("Hello?")
    talk.actor_stopped.clear()  # its thread runs: this is no child
    pykka.ActorRef.tell(talk, Effects((), last=True))
    wait(talk.actor_stopped)


def test_a_loop_waits_in_slices() -> None:
    messages = MessageQueue(8)

    class Late:
        """A queue that has nothing at first."""

        def __init__(self) -> None:
            self.empty = True

        def get(self, timeout: float) -> None:  # noqa: ARG002 - as a queue's
            if self.empty:
                self.empty = False
                raise queue.Empty

        def put(self, _: None) -> None:
            pass

    messages._news = Late()  # type: ignore[assignment]
    messages.tell("a")
    assert messages.get() == "a"


def test_an_attempt_that_timed_out_before_any_answer_makes_the_usage_an_estimate(
    emulator: Emulator, client: Client
) -> None:
    emulator.queue(Stall(), Reply(["Hello."]), Status(529), Reply(["Hello."]))
    options = {"timeout": Timeout(first_byte=0.2), "max_retries": 1}
    turn = client.converse(Agent(model=MODEL, params=options)).say("Hello")
    turn.result(DEADLINE)
    assert turn.usage.estimate  # it may be billed, nobody knows how much
    turn = client.converse(Agent(model=MODEL, params=options)).say("Hello")
    turn.result(DEADLINE)
    assert not turn.usage.estimate  # what was refused is not billed


class Late(Reader):
    """An actor whose mailbox keeps whoever tells it an event until the test lets it."""

    reached: ClassVar[threading.Event]
    go_on: ClassVar[threading.Event]

    @classmethod
    def begin(cls, inbox: Inbox) -> pykka.ActorRef[Any]:
        cls.reached, cls.go_on = threading.Event(), threading.Event()
        return cls.start(inbox)

    @staticmethod
    def _create_actor_inbox() -> Any:
        return LateMailbox()


class LateMailbox(queue.Queue[Any]):
    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002 - queue's
        if isinstance(getattr(item, "message", None), ChatEvent):
            Late.reached.set()
            wait(Late.go_on)
        super().put(item, block, timeout)


def test_no_event_comes_after_a_turns_end_where_the_thread_that_tells_it_is_late(
    emulator: Emulator, client: Client
) -> None:
    """As on a machine with too much to do: it stops in the middle of a `tell`, for longer than it has."""
    emulator.queue(Stall("Well, well.", after_events=4))
    reader = Late.begin(inbox := Inbox())
    turn = client.converse(Agent(model=MODEL), stream=reader).say("Go")
    wait(Late.reached)
    chat = task_of(turn).chat
    turn.cancel()
    assert chat.finished.wait(DEADLINE)
    assert not task_of(turn).finished.wait(0.2)
    Late.go_on.set()
    assert isinstance(inbox.until_end(ENDS)[-1], TurnCancelled)
    assert turn.state == "cancelled"
    reader.stop()


def test_a_turn_ends_though_a_mailbox_makes_the_thread_wait_that_tells_it(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "_LATEST", 0.0)
    emulator.queue(Stall("Well, well.", after_events=4))
    reader = Late.begin(Inbox())
    turn = client.converse(Agent(model=MODEL), stream=reader).say("Go")
    wait(Late.reached)
    turn.cancel()
    with pytest.raises(CancelledError):
        turn.result(DEADLINE)
    Late.go_on.set()
    reader.stop()


class Interrupting(MemoryStore):
    """A store that has the main thread interrupted while it claims the first log, until the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def claim(self, *args: Any, **more: Any) -> Any:
        if not self.go_on.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            wait(self.go_on)
        return super().claim(*args, **more)


def test_a_conversation_that_an_interrupt_kept_from_its_caller_is_stopped(client: Client) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    store = Interrupting()
    try:
        with pytest.raises(KeyboardInterrupt):
            client.converse(Agent(model=MODEL), store=store, id="a")
    finally:
        signal.signal(signal.SIGUSR1, before)
    store.go_on.set()
    until(lambda: (state := store.state("a")) is not None and state.epoch > 0 and state.holder is None)
