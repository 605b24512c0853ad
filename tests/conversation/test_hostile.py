"""What others may do to a conversation: change what they are told, wrong permissions, wait for themselves, fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from anthropix_actors import Agent, AnthropixError, Client, ParameterError, ToolError, run_tools
from anthropix_actors.emulator import Emulator, Reply, ToolCall
from anthropix_actors.errors import ConfigurationError
from anthropix_actors.messages import (
    AnswerDone,
    ApprovalNeeded,
    Steered,
    ToolDone,
    ToolStarted,
    TurnDone,
    TurnFailed,
)
from anthropix_actors.stores import MemoryStore, StoreError
from anthropix_actors.tools import Call, tool

from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anthropix_actors import ConversationRef

    from actors import Inbox

MODEL = "claude-sonnet-5"


@tool(approve=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def asked(emulator: Emulator, client: Client, inbox: Inbox) -> tuple[ConversationRef, Any]:
    """Begin a turn that wants to pay 3; return its conversation, and what is to be approved."""
    emulator.queue(Reply([ToolCall("pay", {"amount": 3})]), Reply(["Done."]))
    talk = client.converse(Agent(model=MODEL, tools=[pay]), stream=inbox)
    talk.say("Pay 3")
    return talk, inbox.until(ApprovalNeeded).approval


def result(inbox: Inbox) -> Any:
    inbox.until_end((TurnDone,))
    return next(message.result for message in inbox.messages if isinstance(message, ToolDone))


def test_what_is_approved_is_what_was_shown(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    talk, approval = asked(emulator, client, inbox)
    changed = msgspec.structs.replace(approval, input={"amount": 7})
    with pytest.raises(ParameterError, match="digest differs"):
        talk.answer(changed, allow=True)
    shown = msgspec.structs.replace(approval, input={**approval.input})
    approval.input["amount"] = 999
    with pytest.raises(ParameterError, match="digest differs"):
        talk.answer(approval, allow=True)
    talk.answer(shown, allow=True)
    assert result(inbox) == "paid 3"


WRONG = [{"allow": "no"}, {"allow": 1}, {"allow": True, "by": "\ud800"}, {"allow": True, "by": 3}]


@pytest.mark.parametrize("given", WRONG)
def test_a_text_is_no_permission(emulator: Emulator, client: Client, inbox: Inbox, given: Any) -> None:
    talk, approval = asked(emulator, client, inbox)
    with pytest.raises(ParameterError, match=r"allow: expected True or False|by: expected a printable text"):
        talk.answer(approval, **given)
    with pytest.raises(ParameterError, match="approval: expected an Approval"):
        talk.answer(None, allow=True)  # type: ignore[arg-type]
    talk.answer(approval, allow=False)
    assert result(inbox) == "denied"


def test_run_tools_takes_only_true_for_permission() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "pay", "input": {"amount": 3}}
    message: Any = {"role": "assistant", "content": [call], "stop_reason": "tool_use"}
    answers: list[Any] = ["not for you", 1, None]
    for answer in answers:
        [block] = run_tools(message, [pay], approve=lambda _: answer)["content"]  # noqa: B023 - called at once
        assert block["is_error"]
        assert ("not for you" in block["content"]) == isinstance(answer, str)


def test_what_is_told_and_given_is_not_the_history(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    def spoils(amount: int, *, call: Call) -> str:
        """Spoil what it gets."""
        call.input.clear()  # type: ignore[attr-defined]
        return str(amount)

    history = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    emulator.queue(Reply([ToolCall("spoils", {"amount": 3})]), Reply(["Done."]), Reply(["Yes."]))
    talk = client.converse(Agent(model=MODEL, tools=[spoils]), stream=inbox, history=history)
    history[0]["content"] = "changed"
    message: Any = talk.say("Go").result(DEADLINE)
    message["content"][0]["html"] = "<b>"
    for told in inbox.until_end((TurnDone,)):
        if isinstance(told, AnswerDone):
            told.message["content"].clear()
        elif isinstance(told, ToolStarted):
            assert told.call.input == {"amount": 3}
    assert talk.say("Do you hear me?").result(DEADLINE)["stop_reason"] == "end_turn"
    assert "changed" not in talk.history_json()


def test_the_blocks_that_are_told_are_not_those_of_the_history(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    @tool
    def look() -> list[Any]:
        """Look."""
        talk.say("In French")
        return [{"type": "text", "text": "seen"}]

    emulator.queue(Reply([ToolCall("look", {})]), Reply(["Done."]))
    talk = client.converse(Agent(model=MODEL, tools=[look]), stream=inbox)
    talk.say("Look").result(DEADLINE)
    for told in inbox.until_end((TurnDone,)):
        if isinstance(told, ToolDone):
            told.result[0]["text"] = "changed"  # type: ignore[index]
        elif isinstance(told, Steered):
            told.content[0]["text"] = "changed"  # type: ignore[index]
    assert "changed" not in talk.history_json()


@pytest.mark.parametrize("text", ["\ud800", "x" * 40_000_000])
def test_whatever_a_type_says_of_an_input_can_be_sent(emulator: Emulator, client: Client, text: str) -> None:
    @dataclass
    class Odd:
        def __post_init__(self) -> None:
            raise ValueError(text)

    @tool
    def use(a: Odd) -> None:
        """Use it."""

    emulator.queue(Reply([ToolCall("use", {"a": {}})]), Reply(["Done."]))
    talk = client.converse(Agent(model=MODEL, tools=[use]))
    assert talk.say("Go").result(DEADLINE)["content"] == [{"type": "text", "text": "Done."}]


def test_a_sub_agent_that_says_nothing_has_no_blank_result(emulator: Emulator, client: Client) -> None:
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Reply([" "]), Reply(["Done."]))
    talk = client.converse(Agent(model=MODEL, tools=[Agent(model=MODEL).as_tool("child", "Helps.")]))
    talk.say("Go").result(DEADLINE)
    assert "content" not in talk.history()[2]["content"][0]


def test_blank_words_are_not_said(client: Client) -> None:
    talk = client.converse(Agent(model=MODEL))
    for blank in (" ", "\n", [{"type": "text", "text": "Hello"}, {"type": "text", "text": "\t"}]):
        with pytest.raises(ParameterError, match="that is not blank"):
            talk.say(blank)
    assert talk.say("Hello").result(DEADLINE)["role"] == "assistant"


@pytest.mark.parametrize("raised", [OSError("disk full"), ValueError("closed"), SystemExit(3)])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_a_log_that_fails_ends_the_conversation(
    emulator: Emulator, client: Client, inbox: Inbox, raised: BaseException, at: int
) -> None:
    class Failing(MemoryStore):
        """A log whose disk is full after a while."""

        count = 0

        def append(
            self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
        ) -> None:
            self.count += 1
            if self.count > at:
                raise raised
            super().append(name, epoch, first, entries, close=close)

    emulator.queue(Reply([ToolCall("look", {})]), Reply(["Done."]))

    def look() -> str:
        """Look."""
        return "seen"

    talk = client.converse(Agent(model=MODEL, tools=[look]), stream=inbox, store=Failing(), id="a")
    turn = talk.say("Go")
    end = inbox.until_end((TurnFailed, TurnDone))[-1]
    if isinstance(end, TurnFailed):
        with pytest.raises(StoreError, match="the log failed"):
            turn.result()
        assert talk.stop(timeout=DEADLINE) in {True, False}
        with pytest.raises(ConfigurationError):
            talk.say("Hello?")


def test_a_tool_that_would_wait_for_its_own_turn_is_told_so(emulator: Emulator, client: Client) -> None:
    turns: list[Any] = []

    def waits(how: str) -> str:
        """Wait."""
        try:
            [*turns[0]] if how == "loop" else turns[0].result(DEADLINE)
        except AnthropixError as exc:
            raise ToolError(type(exc).__name__) from exc
        return "waited"

    child = Agent(model=MODEL, tools=[waits]).as_tool("child", "Helps.")
    emulator.queue(
        Reply([ToolCall("waits", {"how": "loop"}), ToolCall("waits", {"how": "result"})]),
        Reply([ToolCall("child", {"task": "Wait"})]),
        Reply([ToolCall("waits", {"how": "result"})]),
        Reply(["I could not."]),
        Reply(["Done."]),
    )
    talk = client.converse(Agent(model=MODEL, tools=[waits, child]))
    with talk._talk._lock:  # its tools find their turn
        turns.append(talk.say("Go"))
    turns[0].result(DEADLINE)
    contents = [block["content"] for block in talk.history()[2]["content"]]
    assert contents == ["DeadlockError", "DeadlockError"]
    bodies = [request.body for request in emulator.requests]
    assert "DeadlockError" in str(bodies[3]["messages"])


OWN = ("model", "system", "tools", "max_tokens")
SENT = ("messages", "stream", "tag", "cancel", "output")


@pytest.mark.parametrize("name", [*OWN, *SENT])
def test_an_agent_has_each_thing_in_one_place(name: str) -> None:
    with pytest.raises(ParameterError, match=rf"params\.{name}: "):
        Agent(model=MODEL, params={name: "x"})


def test_a_turn_is_made_to_call_a_tool_once(emulator: Emulator, client: Client) -> None:
    def look() -> str:
        """Look."""
        return "seen"

    emulator.queue(Reply([ToolCall("look", {})]), Reply(["Done."]))
    agent = Agent(model=MODEL, tools=[look], params={"tool_choice": {"type": "any"}})
    client.converse(agent).say("Go").result(DEADLINE)
    assert ["tool_choice" in request.body for request in emulator.requests] == [True, False]


PAUSED = [ToolCall("count", {"to": 1}, id="toolu_1")]
REPEATED = [*PAUSED, ToolCall("count", {"to": 2}, id="toolu_1")]


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize(
    ("content", "reason"), [(REPEATED, "tool_use"), (PAUSED, "pause_turn"), (PAUSED, "compaction")]
)
def test_after_an_odd_answer_with_a_call_the_conversation_goes_on(
    emulator: Emulator, client: Client, content: list[Any], reason: str, *, safe: bool
) -> None:
    counted: list[int] = []

    @tool(safe=safe)
    def count(to: int) -> None:
        """Count."""
        counted.append(to)

    emulator.queue(Reply(content, stop_reason=reason), Reply(["One."]))
    talk = client.converse(Agent(model=MODEL, tools=[count]))
    assert talk.say("Count").result(timeout=DEADLINE)["content"] == [{"type": "text", "text": "One."}]
    assert counted == [1]
    assert talk.say("And on").result(timeout=DEADLINE)["stop_reason"] == "end_turn"


def test_an_answer_that_is_cut_after_a_repeated_call_stays_without_it(emulator: Emulator, client: Client) -> None:
    talk = client.converse(Agent(model=MODEL, tools=[pay]))
    repeated = [ToolCall("pay", {"amount": each}, id="toolu_1") for each in (1, 2)]
    emulator.queue(Reply([*repeated, "So."], stop_reason="max_tokens"))
    assert talk.say("Pay").result(timeout=DEADLINE)["stop_reason"] == "max_tokens"
    calls = [block for block in talk.history()[1]["content"] if block["type"] == "tool_use"]
    assert [call["input"] for call in calls] == [{"amount": 1}]
    assert talk.say("And on").result(timeout=DEADLINE)["stop_reason"] == "end_turn"
