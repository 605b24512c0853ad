"""Conversations over real sockets, with the emulator's refusals on: turns, tools, steering, limits, ends."""

from __future__ import annotations

import gc
import itertools
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pykka
import pytest

from anthropix_actors import AnthropixError, CancelledError, Client, ParameterError
from anthropix_actors import text_of as text_of_message
from anthropix_actors._tasks.waits import task_of
from anthropix_actors.content import image
from anthropix_actors.conversation.agent import Agent, Limits
from anthropix_actors.conversation.messages import (
    AnswerDone,
    ApprovalGiven,
    ApprovalNeeded,
    LimitReached,
    Steered,
    ToolDone,
    ToolProgress,
    ToolStarted,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnSuspended,
)
from anthropix_actors.emulator import Compaction, Emulator, Pace, PauseTurn, Reply, Stall, Status, ToolCall
from anthropix_actors.errors import BadRequestError, ConfigurationError, DeadlockError, OutputError
from anthropix_actors.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed
from anthropix_actors.tools import Call, ToolError, tool

from actors import Blocking, Inbox, Mortal, Reader, text_of, until_blocked
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.conversation.ref import ConversationRef

ENDS = (TurnDone, TurnFailed, TurnCancelled, TurnSuspended)
MODEL = "claude-sonnet-5"


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    client = Client("key", base_url=emulator.url, max_retries=1)
    yield client
    client.close(grace=0)
    pykka.ActorRegistry.stop_all(timeout=DEADLINE)


def calls(*named: tuple[str, dict[str, Any]] | str, text: str = "") -> Reply:
    parts = [ToolCall(each, {}) if isinstance(each, str) else ToolCall(*each) for each in named]
    return Reply([*([text] if text else []), *parts])


def kinds(messages: list[Any]) -> list[str]:
    """Return the types of a turn's own messages."""
    return [type(message).__name__ for message in messages if not isinstance(message, ChatEvent)]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def hears(emulator: Emulator, talk: ConversationRef) -> None:
    """Assert that the next thing that is said is accepted: the history is legal."""
    emulator.queue(Reply(["Yes."]))
    assert talk.say("Do you hear me?").result(DEADLINE)["stop_reason"] == "end_turn"


def test_a_turn_asks_runs_the_calls_and_asks_again(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(calls(("add", {"a": 1, "b": 2}), text="Let me see."), Reply(["It is 3."]))
    talk = client.converse(Agent(model=MODEL, tools=[add]), stream=inbox)
    turn = talk.say("What is 1 + 2?")
    messages = inbox.until_end(ENDS)
    assert kinds(messages) == ["AnswerDone", "ToolStarted", "ToolDone", "AnswerDone", "TurnDone"]
    assert text_of(messages) == "Let me see.It is 3."
    assert not any(isinstance(message, ChatDone | ChatFailed | ChatCancelled) for message in messages)
    assert {message.turn for message in messages if not isinstance(message, ChatEvent)} == {turn}
    done = messages[-1]
    assert done.message == turn.result()
    assert done.stopped is None
    assert done.usage == turn.usage == talk.usage()
    result = next(message for message in messages if isinstance(message, ToolDone))
    assert (result.result, result.is_error, result.call.name) == ("3", False, "add")
    roles = [message["role"] for message in talk.history()]
    assert roles == ["user", "assistant", "user", "assistant"]


def test_each_request_extends_the_one_before(emulator: Emulator, client: Client) -> None:
    emulator.queue(
        calls(("add", {"a": 1, "b": 2})),
        calls(("add", {"a": 3, "b": 4}), ("add", {"a": "five", "b": 4})),
        PauseTurn(),
        Reply(["It is 3."]),
        Reply(["Nothing."]),
    )
    web = {"type": "web_search_20260209", "name": "web_search"}
    talk = client.converse(Agent(model=MODEL, system="Count.", tools=[add, web]))
    talk.say("What is 1 + 2?").result(DEADLINE)
    talk.say("And else?").result(DEADLINE)
    bodies = [request.body for request in emulator.requests]
    assert len(bodies) == 5
    for before, after in itertools.pairwise(bodies):
        count = len(before["messages"])
        assert json.dumps(after["messages"][:count]) == json.dumps(before["messages"])
        assert {**before, "messages": 0} == {**after, "messages": 0}


def test_what_a_tool_raises_is_an_answer_to_the_model(emulator: Emulator, client: Client) -> None:
    def refuses() -> str:
        """Refuse."""
        raise ToolError("not today")

    def breaks() -> str:
        """Break."""
        raise SystemExit(3)

    emulator.queue(calls("refuses", "breaks", "unknown", ("add", {"a": "x", "b": 1})), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[refuses, breaks, add]))
    assert talk.say("Go").result(DEADLINE)["stop_reason"] == "end_turn"
    results = talk.history()[2]["content"]
    assert [block["is_error"] for block in results] == [True] * 4
    assert results[0]["content"] == "not today"
    assert "SystemExit" in results[1]["content"]
    assert "there is no tool 'unknown', but" in results[2]["content"]
    assert "`int`" in results[3]["content"]
    hears(emulator, talk)


def test_a_hung_tool_costs_its_own_call_only(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    let = threading.Event()

    @tool(timeout=0.1)
    def hangs() -> str:
        """Hang."""
        wait(let)
        return "too late"

    emulator.queue(calls(*[("add", {"a": n, "b": 0}) for n in range(4)], "hangs"), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[hangs, add]), stream=inbox)
    talk.say("Go")
    done = [message for message in inbox.until_end(ENDS) if isinstance(message, ToolDone)]
    assert sorted(str(message.result) for message in done[:4]) == ["0", "1", "2", "3"]
    assert "timed out" in str(done[4].result)
    let.set()


def test_a_tool_tells_how_far_it_is(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    def counts(*, call: Call) -> str:
        """Count."""
        for number in range(3):
            call.progress(number)
        return call.id

    emulator.queue(calls("counts"), Reply(["I see."]))
    client.converse(Agent(model=MODEL, tools=[counts]), stream=inbox).say("Go")
    messages = inbox.until_end(ENDS)
    assert [message.data for message in messages if isinstance(message, ToolProgress)] == [0, 1, 2]
    [started] = [each for each in messages if isinstance(each, ToolStarted)]
    [done] = [each for each in messages if isinstance(each, ToolDone)]
    assert started.call == done.call
    assert done.result == done.call.id


def test_what_a_tool_says_while_another_thread_ends_its_call_is_not_told_after_the_end(
    emulator: Emulator, client: Client
) -> None:
    class Late:
        """What is told while the end is: as a tool's thread that was just about to."""

        told: list[Any]

        def __init__(self) -> None:
            self.told = []

        def tell(self, message: Any) -> None:
            self.told.append(message)
            if isinstance(message, ToolDone):
                task: Any = task_of(message.turn)
                task.tell_progress(message.call, None, "late")

    late = Late()
    emulator.queue(calls(("add", {"a": 1, "b": 2})), Reply(["I see."]))
    client.converse(Agent(model=MODEL, tools=[add]), stream=late).say("Go").result(DEADLINE)
    until(lambda: isinstance(late.told[-1], TurnDone))
    assert not [message for message in late.told if isinstance(message, ToolProgress)]


def test_a_safe_call_starts_while_the_answer_streams(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    ran = threading.Event()

    @tool(safe=True)
    def look() -> str:
        """Look."""
        ran.set()
        return "seen"

    emulator.queue(Stall(Reply([ToolCall("look"), "and then"]), after_events=6), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[look]), stream=inbox)
    turn = talk.say("Go")
    wait(ran)
    assert turn.state == "running"
    assert inbox.until(ToolDone).result == "seen"
    turn.cancel()
    inbox.until_end(ENDS)
    hears(emulator, talk)


class Phases:
    """A conversation with a tool in each phase of a turn."""

    def __init__(self, emulator: Emulator, client: Client, inbox: Inbox) -> None:
        self.emulator = emulator
        self.began = threading.Event()
        self.let = threading.Event()
        agent = Agent(model=MODEL, tools=[tool(self.works), tool(self.wants, approve=True), self.helper()])
        self.inbox = inbox
        self.talk = client.converse(agent, stream=inbox)

    def works(self) -> str:
        """Work."""
        self.began.set()
        wait(self.let)
        return "worked"

    def wants(self) -> str:
        """Want something."""
        raise AssertionError("nobody allowed it")

    def helper(self) -> Any:
        return Agent(model=MODEL, tools=[tool(self.works)], system="Help.").as_tool("help", "Helps.")

    def headers(self) -> None:
        self.emulator.queue(Stall())
        self.talk.say("Go")
        self.emulator.wait_for_requests(1, timeout=DEADLINE)

    def answering(self) -> None:
        self.emulator.queue(Stall(Reply(["Well, that is a long story."]), after_events=4))
        self.talk.say("Go")
        self.inbox.until(ChatEvent)

    def retrying(self) -> None:
        self.emulator.queue(Status(529, headers={"retry-after": "50"}))
        self.talk.say("Go")
        until(lambda: self.talk.history() and "retrying" in repr(self._chat()))

    def working(self) -> None:
        self.emulator.queue(calls("works", "works"))
        self.talk.say("Go")
        wait(self.began)

    def asking(self) -> None:
        self.emulator.queue(calls("wants"))
        self.talk.say("Go")
        self.inbox.until(ApprovalNeeded)

    def helping(self) -> None:
        self.emulator.queue(calls(("help", {"task": "Work"})), calls("works"))
        self.talk.say("Go")
        wait(self.began)

    def _chat(self) -> Any:
        [turn] = self.talk._talk.turns.values()
        return None if turn.chat is None else turn.chat.ref


PHASES = ["headers", "answering", "retrying", "working", "asking", "helping"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_cancel_ends_the_turn_in_any_phase_and_the_next_say_just_works(
    emulator: Emulator, client: Client, inbox: Inbox, phase: str
) -> None:
    phases = Phases(emulator, client, inbox)
    getattr(phases, phase)()
    assert phases.talk.cancel("enough")
    end = inbox.until_end(ENDS)[-1]
    assert isinstance(end, TurnCancelled)
    assert end.reason == "enough"
    with pytest.raises(CancelledError, match="enough"):
        end.turn.result()
    assert end.turn.state == "cancelled"
    assert not end.turn.cancel()
    hears(emulator, phases.talk)
    phases.let.set()
    inbox.until_end(ENDS)


@pytest.mark.parametrize("phase", PHASES)
def test_each_say_has_one_fate_when_the_conversation_is_stopped(
    emulator: Emulator, client: Client, inbox: Inbox, phase: str
) -> None:
    phases = Phases(emulator, client, inbox)
    getattr(phases, phase)()
    later = phases.talk.say("Later", when="idle")
    same = phases.talk.say("Next")
    assert phases.talk.stop(timeout=DEADLINE)
    ends = [message for message in _all(inbox) if isinstance(message, ENDS)]
    assert [type(end) for end in ends] == [TurnSuspended if phase == "asking" else TurnCancelled, TurnCancelled]
    assert [end.undelivered for end in ends] == [
        ([{"type": "text", "text": "Next"}],),
        ([{"type": "text", "text": "Later"}],),
    ]
    assert [end.turn for end in ends] == [same, later]
    with pytest.raises(ConfigurationError, match="has stopped"):
        phases.talk.say("Hello?")
    with pytest.raises(CancelledError):
        same.result()
    phases.let.set()


def _all(inbox: Inbox) -> list[Any]:
    messages = inbox.messages
    while not inbox.queue.empty():
        inbox.next()
    return messages


def test_stop_all_of_pykka_ends_conversations(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    phases = Phases(emulator, client, inbox)
    phases.working()
    pykka.ActorRegistry.stop_all(timeout=DEADLINE)
    assert isinstance(inbox.until_end(ENDS)[-1], TurnCancelled)
    phases.let.set()


def test_a_closed_client_takes_no_turns_and_ends_those_that_run(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    phases = Phases(emulator, client, inbox)
    phases.working()
    client.close()
    assert isinstance(inbox.until_end(ENDS)[-1], TurnCancelled)
    with pytest.raises(ConfigurationError, match="has stopped"):
        phases.talk.say("Hello?")
    phases.let.set()


def test_a_closed_client_lets_go_of_turns_that_wait_for_people(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    phases = Phases(emulator, client, inbox)
    phases.asking()
    client.close()
    assert isinstance(inbox.until_end(ENDS)[-1], TurnSuspended)
    wait(phases.talk.actor_stopped)


def test_a_conversation_is_over_when_its_block_is_left(client: Client) -> None:
    with client.converse(Agent(model=MODEL)) as talk:
        talk.say("Hello").result(DEADLINE)
    wait(talk.actor_stopped)


def test_a_fork_begins_before_a_turn(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    talk = client.converse(Agent(model=MODEL))
    turns = [talk.say(text) for text in ("One", "Two")]
    turns = [turns[0], talk.say("Three", when="idle")]
    turns[1].result(DEADLINE)
    again = talk.fork(at=turns[1])
    assert again.history() == talk.history()[:-2]
    with pytest.raises(ParameterError, match="a turn of this conversation"):
        again.fork(at=turns[1])
    phases = Phases(emulator, client, inbox)
    phases.working()
    with pytest.raises(ParameterError, match="that has begun"):
        phases.talk.fork(at=phases.talk.say("Later", when="idle"))
    phases.let.set()
    phases.talk.stop()


def test_what_is_said_in_the_middle_comes_after_the_results(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    phases = Phases(emulator, client, inbox)
    phases.working()
    emulator.queue(Reply(["En français."]))
    phases.talk.say("in French, please")
    phases.let.set()
    messages = inbox.until_end(ENDS)
    assert [message.text for message in messages if isinstance(message, Steered)] == ["in French, please"]
    last = emulator.requests[-1].body["messages"][-1]["content"]
    assert [block["type"] for block in last] == ["tool_result", "tool_result", "text"]


def test_what_is_said_after_the_last_answer_has_begun_is_one_more_request(emulator: Emulator, client: Client) -> None:
    emulator.queue(Pace(Reply(["One two three. " * 10]), tokens_per_second=200), Reply(["Four."]))
    talk = client.converse(Agent(model=MODEL))
    turn = talk.say("Count.")
    until(turn.snapshot)
    assert talk.say("Go on.") == turn
    turn.result(DEADLINE)
    assert len(emulator.requests) in {1, 2}  # it may have come too late for this turn
    until(lambda: len(emulator.requests) == 2)


def test_what_is_said_idle_is_a_turn_of_its_own_in_order(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    phases = Phases(emulator, client, inbox)
    phases.working()
    turns = [phases.talk.say(text, when="idle") for text in ("second", "third")]
    assert phases.talk.turns[1:] == turns
    assert turns[1].cancel("never mind")
    emulator.queue(Reply(["First."]), Reply(["Second."]))
    phases.let.set()
    assert text_of_message(turns[0].result(DEADLINE)) == "Second."
    with pytest.raises(CancelledError, match="never mind"):
        turns[1].result(DEADLINE)


@pytest.mark.parametrize("phase", ["headers", "answering", "working", "asking", "helping"])
def test_what_is_said_now_reaches_the_model_at_once(
    emulator: Emulator, client: Client, inbox: Inbox, phase: str
) -> None:
    phases = Phases(emulator, client, inbox)
    getattr(phases, phase)()
    emulator.queue(Reply(["I stop."]))
    phases.talk.say("Stop!", when="now")
    end = inbox.until_end(ENDS)[-1]
    assert isinstance(end, TurnDone)
    assert end.message is not None
    assert text_of_message(end.message) == "I stop."
    assert emulator.requests[-1].body["messages"][-1]["content"][-1] == {"type": "text", "text": "Stop!"}
    phases.let.set()


def test_an_approval_binds_one_call_and_the_first_answer_counts(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    @tool(approve=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    emulator.queue(calls(("pay", {"amount": 3})), Reply(["Done."]))
    talk = client.converse(Agent(model=MODEL, tools=[pay]), stream=inbox)
    talk.say("Pay 3")
    approval = inbox.until(ApprovalNeeded).approval
    assert (approval.name, approval.input) == ("pay", {"amount": 3})
    with pytest.raises(ParameterError, match="digest"):
        talk.answer(msgspec.structs.replace(approval, digest="0"), allow=True)
    barrier, won = threading.Barrier(8), []

    def answers(number: int) -> None:
        barrier.wait(DEADLINE)
        try:
            talk.answer(approval, allow=bool(number % 2), by=str(number))
        except ParameterError as exc:
            assert "was decided before" in str(exc)  # noqa: PT017 - the others
        else:
            won.append(number)

    racers = [threading.Thread(target=answers, args=(number,)) for number in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(DEADLINE)
    [number] = won
    messages = inbox.until_end(ENDS)
    [given] = [message for message in messages if isinstance(message, ApprovalGiven)]
    assert (given.allow, given.by) == (bool(number % 2), str(number))
    [result] = [message.result for message in messages if isinstance(message, ToolDone)]
    assert result == ("paid 3" if number % 2 else f"denied by {number}")


def test_an_approval_that_nobody_gives_is_denied_in_time(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    phases = Phases(emulator, client, inbox)
    phases.talk.stop()
    emulator.queue(calls("wants"), Reply(["Pity."]))
    agent = Agent(model=MODEL, tools=[tool(phases.wants, approve=True)], limits=Limits(approval=0.1))
    client.converse(agent, stream=inbox).say("Go")
    messages = inbox.until_end((TurnDone,))
    [given] = [message for message in messages if isinstance(message, ApprovalGiven)]
    assert not given.allow
    assert given.approval.expires == 0.1


def test_a_limit_is_followed_by_one_closing_request(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(*[calls(("add", {"a": n, "b": 0})) for n in range(3)], Reply(["That is all."]))
    talk = client.converse(Agent(model=MODEL, tools=[add], limits=Limits(requests=3)), stream=inbox)
    turn = talk.say("Go on and on.")
    end = inbox.until_end(ENDS)[-1]
    assert [message.limit for message in inbox.messages if isinstance(message, LimitReached)] == ["requests"]
    assert (end.stopped, len(emulator.requests)) == ("requests", 4)
    closing = emulator.requests[-1].body
    assert closing["tool_choice"] == {"type": "none"}
    assert closing["tools"] == emulator.requests[0].body["tools"]
    assert turn.result()["stop_reason"] == "end_turn"
    hears(emulator, talk)


def test_tokens_and_seconds_are_limits_too(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(calls(("add", {"a": 1, "b": 0})), Reply(["That is all."]))
    client.converse(Agent(model=MODEL, tools=[add], limits=Limits(tokens=1)), stream=inbox).say("Go")
    assert inbox.until_end(ENDS)[-1].stopped == "tokens"
    let = threading.Event()

    def works() -> None:
        """Work."""
        wait(let)

    emulator.queue(calls("works"), Reply(["That is all."]))
    agent = Agent(model=MODEL, tools=[works], limits=Limits(seconds=0.2))
    turn = client.converse(agent).say("Go")
    assert text_of_message(turn.result(DEADLINE)) == "That is all."
    assert "may have taken effect" in str(emulator.requests[-1].body["messages"])
    let.set()


def test_a_sub_agent_spends_of_its_parents_limits_and_tells_where_it_is(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    child = Agent(model=MODEL, tools=[add], system="Add.").as_tool("adder", "Adds.")
    emulator.queue(
        calls(("adder", {"task": "1 + 2"})), calls(("add", {"a": 1, "b": 2})), Reply(["It is 3."]), Reply(["3."])
    )
    talk = client.converse(Agent(model=MODEL, tools=[child]), stream=inbox)
    talk.say("What is 1 + 2?")
    messages = inbox.until_end(ENDS)
    inner = [message for message in messages if getattr(message, "path", ())]
    assert {message.path for message in inner} == {("adder",)}
    assert kinds(inner) == ["AnswerDone", "ToolStarted", "ToolDone", "AnswerDone"]
    [result] = [each.result for each in messages if isinstance(each, ToolDone) and not each.path]
    assert result == "It is 3."
    assert messages[-1].usage.output_tokens == sum(
        message.message["usage"]["output_tokens"] for message in messages if isinstance(message, AnswerDone)
    )
    assert "It is 3." not in text_of(messages)
    emulator.queue(calls(("adder", {"task": "1 + 2"})), calls(("add", {"a": 1, "b": 2})), Reply(["I ran out."]))
    limited = client.converse(Agent(model=MODEL, tools=[child], limits=Limits(requests=2)))
    count = len(emulator.requests)
    limited.say("What is 1 + 2?").result(DEADLINE)
    assert len(emulator.requests) == count + 3


def test_a_sub_agent_that_fails_is_an_error_of_its_call(emulator: Emulator, client: Client) -> None:
    child = Agent(model=MODEL).as_tool("child", "Helps.")
    emulator.queue(calls(("child", {"task": "Go"})), Status(400), Reply(["Pity."]))
    talk = client.converse(Agent(model=MODEL, tools=[child]))
    talk.say("Go").result(DEADLINE)
    [result] = talk.history()[2]["content"]
    assert result["is_error"]
    assert "BadRequestError" in result["content"]


@dataclass
class City:
    name: str


def test_a_turn_ends_with_a_value_of_the_type_asked_for(emulator: Emulator, client: Client) -> None:
    emulator.queue(calls(("add", {"a": 1, "b": 2})), Reply(['{"name": "Bergen"}']), Reply(["no JSON"]))
    talk = client.converse(Agent(model=MODEL, tools=[add]))
    assert talk.say("Which city?", output=City).output(DEADLINE) == City("Bergen")
    turn = talk.say("Which city?", output=City)
    with pytest.raises(OutputError):
        turn.result(DEADLINE)
    hears(emulator, talk)
    with pytest.raises(ParameterError, match="output"):
        talk.say("Which?", output=int)


def test_a_failed_request_ends_the_turn_with_its_error(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(Status(400, message="no such thing"))
    talk = client.converse(Agent(model=MODEL), stream=inbox)
    turn = talk.say("Go")
    end = inbox.until_end(ENDS)[-1]
    assert isinstance(end, TurnFailed)
    with pytest.raises(BadRequestError, match="no such thing"):
        turn.result()
    hears(emulator, talk)


def test_an_answer_that_was_compacted_is_sent_back(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(Compaction("They greeted each other."), Reply(["Hello again."]))
    params = {"beta": "compact-2026-01-12", "context_management": {"edits": [{"type": "compact_20260112"}]}}
    talk = client.converse(Agent(model=MODEL, params=params), stream=inbox)
    talk.say("Hello")
    assert kinds(inbox.until_end(ENDS)) == ["AnswerDone", "Compacted", "AnswerDone", "TurnDone"]
    hears(emulator, talk)


def test_a_fork_has_the_history_and_goes_its_own_way(emulator: Emulator, client: Client) -> None:
    emulator.queue(calls(("add", {"a": 1, "b": 2})), Reply(["Three."]), Reply(["Trois."]), Reply(["Hi."]))
    talk = client.converse(Agent(model=MODEL, tools=[add]))
    talk.say("What is 1 + 2?").result(DEADLINE)
    other = talk.fork()
    other.say("In French?").result(DEADLINE)
    assert (len(talk.history()), len(other.history())) == (4, 6)
    assert other.history()[:4] == talk.history()
    again = talk.fork(at=0)
    again.say("Hello").result(DEADLINE)
    assert len(again.history()) == 2
    with pytest.raises(ParameterError, match="message 2 has calls"):
        talk.fork(at=2)
    for at in (-1, 5, True, "1"):
        with pytest.raises(ParameterError, match="0 to 4 messages"):
            talk.fork(at=at)  # type: ignore[arg-type]


def test_a_history_goes_on_in_another_program(emulator: Emulator, client: Client, tmp_path: Any) -> None:
    picture = tmp_path / "dot.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(16))
    talk = client.converse(Agent(model=MODEL))
    talk.say([image(picture), {"type": "text", "text": "What is this?"}]).result(DEADLINE)
    picture.unlink()
    saved = talk.history_json()
    assert json.loads(saved)["format"] == 1
    again = client.converse(Agent(model=MODEL), history=saved)
    assert again.history() == talk.history()
    hears(emulator, again)
    hears(emulator, client.converse(Agent(model=MODEL), history=talk.history()))


def test_one_who_joins_late_is_told_what_was(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(calls(("add", {"a": 1, "b": 2})), Stall(Reply(["It is three."]), after_events=4))
    turn = client.converse(Agent(model=MODEL, tools=[add]), stream=inbox).say("Go")
    inbox.until(ToolDone)
    inbox.until(ChatEvent)
    late = Inbox()
    turn.subscribe(late)
    for kind in (AnswerDone, ToolStarted, ToolDone, ChatEvent):
        late.until(kind)
    turn.cancel()
    assert isinstance(late.until_end(ENDS)[-1], TurnCancelled)
    after = Inbox()
    turn.subscribe(after)
    assert isinstance(after.until_end(ENDS)[-1], TurnCancelled)


def test_an_actor_follows_a_turn_and_a_plain_object_gets_one_message_at_a_time(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    plain = _Strict()
    emulator.queue(calls(*[("add", {"a": n, "b": 0}) for n in range(20)]), Reply(["Well. " * 50]))
    reader = Reader.start(inbox)
    talk = client.converse(Agent(model=MODEL, tools=[add]), stream=reader)
    talk.subscribe(plain)
    talk.say("Go")
    assert kinds(inbox.until_end(ENDS))[-1] == "TurnDone"
    plain.until_end(ENDS)
    assert not plain.overlapped


class _Strict(Inbox):
    """Notes whether two threads tell it something at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.overlapped = False
        self._busy = threading.Lock()

    def tell(self, message: Any, /) -> None:
        if not self._busy.acquire(blocking=False):
            self.overlapped = True
            return
        try:
            super().tell(message)
        finally:
            self._busy.release()


def test_a_subscriber_that_is_stuck_delays_no_cancel(emulator: Emulator, client: Client) -> None:
    stuck, inbox = Blocking(), Inbox()
    emulator.queue(calls(("add", {"a": 1, "b": 2})))
    talk = client.converse(Agent(model=MODEL, tools=[add]), stream=stuck)
    turn = talk.say("Go")
    wait(stuck.began)
    turn.subscribe(inbox)
    turn.cancel()
    assert isinstance(inbox.until_end(ENDS)[-1], TurnCancelled)
    stuck.let.set()
    assert isinstance(stuck.until_end(ENDS)[-1], TurnCancelled)


def test_a_turn_whose_subscribers_have_all_left_is_cancelled(emulator: Emulator, client: Client) -> None:
    for leaves in ("unsubscribe", "die", "raise"):
        emulator.queue(Stall(Reply(["Well, well."]), after_events=3))
        inbox: Any = {"unsubscribe": Inbox, "die": Mortal, "raise": _Raising}[leaves]()
        talk = client.converse(Agent(model=MODEL), stream=inbox)
        turn = talk.say("Go")
        inbox.until(ChatEvent)
        if leaves == "unsubscribe":
            talk.unsubscribe(inbox)
        elif leaves == "die":
            inbox.alive = False
        until(lambda: turn.state == "cancelled")  # noqa: B023 - called at once
        hears(emulator, client.converse(Agent(model=MODEL), history=talk.history()))


class _Raising(Inbox):
    def tell(self, message: Any, /) -> None:
        super().tell(message)
        raise ValueError("no more")


def test_a_turn_is_looped_over_as_text_and_in_pieces(emulator: Emulator, client: Client) -> None:
    answers = [calls(("add", {"a": 1, "b": 2}), text="Let me see. "), Reply(["It is 3."])]
    emulator.queue(*answers, *answers)
    talk = client.converse(Agent(model=MODEL, tools=[add]))
    assert "".join(talk.say("Go").text) == "Let me see. It is 3."
    pieces = list(talk.say("Go").pieces)
    blocks = [piece.block["type"] for piece in pieces if type(piece).__name__ == "BlockPiece"]  # type: ignore[union-attr]
    assert blocks == ["text", "tool_use", "text"]


def test_a_loop_that_begins_late_gets_whole_answers(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(calls(("add", {"a": 1, "b": 2}), text="Let me see. "), Reply(["It is 3."]))
    turn = client.converse(Agent(model=MODEL, tools=[add]), stream=inbox).say("Go")
    inbox.until_end(ENDS)
    assert list(turn.text) == ["Let me see. ", "It is 3."]
    blocks = [piece.block["type"] for piece in turn.pieces]  # type: ignore[union-attr]
    assert blocks == ["text", "tool_use", "text"]


def test_who_joins_while_tools_run_gets_no_answer_twice(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    phases = Phases(emulator, client, inbox)
    phases.working()
    late = Inbox()
    phases.talk.subscribe(late)
    emulator.queue(Reply(["Worked."]))
    phases.let.set()
    assert text_of(late.until_end(ENDS)) == "Worked."


def test_leaving_a_loop_cancels_the_turn_and_an_end_is_raised(emulator: Emulator, client: Client) -> None:
    emulator.queue(Stall(Reply(["Well, well."]), after_events=4), Status(400), Status(400))
    talk = client.converse(Agent(model=MODEL))
    turn = talk.say("Go")
    for _ in turn.text:
        break
    gc.collect()
    with pytest.raises(CancelledError, match="left"):
        turn.result(DEADLINE)
    with pytest.raises(BadRequestError):
        list(talk.say("Go").text)
    with pytest.raises(BadRequestError):
        list(talk.say("Go").pieces)


def test_a_slow_loop_makes_the_chat_wait(emulator: Emulator) -> None:
    emulator.queue(Reply(["word " * 500]))
    with Client("key", base_url=emulator.url, window=8) as client:
        turn = client.converse(Agent(model=MODEL)).say("Go")
        text = turn.text
        first = next(text)
        chat: Any = turn._task.chat
        until_blocked(chat.scope)
        assert first + "".join(text) == "word " * 500


def test_results_of_calls_that_are_the_callers_are_said(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    theirs = {"name": "ask", "description": "Ask.", "input_schema": {"type": "object"}}
    emulator.queue(calls("ask"), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[theirs]), stream=inbox)
    turn = talk.say("Go")
    message = turn.result(DEADLINE)
    assert inbox.until_end(ENDS)[-1].stopped == "tool_use"
    result = {"type": "tool_result", "tool_use_id": message["content"][0]["id"], "content": "yes"}  # type: ignore[typeddict-item]
    talk.say([result]).result(DEADLINE)
    assert emulator.requests[-1].body["messages"][-1]["content"] == [result]
    with pytest.raises(ParameterError, match=r"content\[0\].tool_use_id: no call waits"):
        talk.say([result])


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("", r"content\[0\].text"),
        ([], "content: expected a text"),
        (None, "content: expected a text"),
        ([{"type": "text"}], r"content\[0\].text"),
        ([{"type": "tool_result"}], r"content\[0\].tool_use_id"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_runs(client: Client, said: Any, place: str) -> None:
    talk = client.converse(Agent(model=MODEL))
    with pytest.raises(ParameterError, match=place):
        talk.say(said)
    assert talk.history() == []


def test_wrong_agents_histories_and_options_are_refused(client: Client) -> None:
    with pytest.raises(ParameterError, match="agent: expected an Agent, got str"):
        client.converse("claude")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="temperature"):
        client.converse(Agent(model=MODEL, params={"temperature": "hot"}))
    with pytest.raises(ParameterError, match=r"tools\[1\]"):
        client.converse(Agent(model=MODEL, tools=[add, add]))
    with pytest.raises(ParameterError, match="history"):
        client.converse(Agent(model=MODEL), history="{")
    with pytest.raises(ParameterError, match="format 1"):
        client.converse(Agent(model=MODEL), history='{"format": 2, "messages": []}')
    with pytest.raises(ParameterError, match="history: expected a list"):
        client.converse(Agent(model=MODEL), history=3)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"history\[0\].role"):
        client.converse(Agent(model=MODEL), history=[{"role": "nobody", "content": "x"}])
    with pytest.raises(ParameterError, match="stream"):
        client.converse(Agent(model=MODEL), stream=3)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="coalesce"):
        client.converse(Agent(model=MODEL), stream=Inbox(), coalesce=True)
    with pytest.raises(ParameterError, match=r"limits.requests: expected an integer from 1"):
        Limits(requests=0)
    with pytest.raises(ParameterError, match=r"limits.seconds: expected seconds above 0"):
        Limits(seconds=-1)
    with pytest.raises(ParameterError, match=r"limits.tools_at_once"):
        Limits(tools_at_once=None)  # type: ignore[arg-type]
    talk = client.converse(Agent(model=MODEL))
    with pytest.raises(ParameterError, match="when: expected one of"):
        talk.say("Hello", when="soon")  # type: ignore[arg-type]
    for subscribe in (talk.subscribe, talk.say("Hello").subscribe):
        with pytest.raises(TypeError, match="tell"):
            subscribe(3)  # type: ignore[arg-type]


def test_an_output_is_for_a_turn_not_for_its_middle(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    phases = Phases(emulator, client, inbox)
    phases.working()
    with pytest.raises(ParameterError, match="output: expected None"):
        phases.talk.say("Which city?", output=City)
    phases.talk.cancel()
    phases.let.set()


def test_a_handler_that_would_wait_for_itself_is_told_so(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    errors: list[BaseException] = []

    def waits(message: Any) -> None:
        if isinstance(message, AnswerDone):
            try:
                message.turn.result(DEADLINE)
            except BaseException as exc:  # noqa: BLE001
                errors.append(exc)

    reader = Reader.start(inbox, waits)
    emulator.queue(calls(("add", {"a": 1, "b": 2})), Stall())
    turn = client.converse(Agent(model=MODEL, tools=[add]), stream=reader).say("Go")
    until(lambda: errors)
    assert isinstance(errors[0], DeadlockError)
    turn.cancel()


def test_refs_show_what_they_are(client: Client, inbox: Inbox) -> None:
    talk = client.converse(Agent(model=MODEL), stream=inbox, tag="night")
    assert repr(talk) == str(talk) == "<ConversationRef 'night', idle, 0 messages>"
    turn = talk.say("Hello")
    inbox.until_end(ENDS)
    assert repr(turn).startswith("<TurnRef 'night', done")
    assert turn.request_id is not None
    assert turn.tag == "night"
    assert turn.stop() is True
    assert talk.turns == []
    assert talk.tag == "night"
    assert not talk.cancel()
    assert turn.output() is None
    ended: list[Any] = []
    turn.add_done_callback(ended.append)
    assert ended == [turn]


def test_an_error_of_our_own_ends_the_turn(client: Client, inbox: Inbox) -> None:
    talk = client.converse(Agent(model=MODEL), stream=inbox)
    talk._talk.new_chat = lambda *_: 1 / 0  # type: ignore[assignment]
    turn = talk.say("Go")
    with pytest.raises(AnthropixError, match="ZeroDivisionError"):
        turn.result(DEADLINE)
