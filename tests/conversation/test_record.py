"""A conversation in a log: it comes out of it as it was, wherever the log ends."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from anthropix_actors import Client, ParameterError
from anthropix_actors.chat.parameters import chat_body
from anthropix_actors.conversation.agent import Agent
from anthropix_actors.conversation.record import fold
from anthropix_actors.emulator import Emulator, Reply, Stall, ToolCall
from anthropix_actors.errors import CancelledError, ConfigurationError
from anthropix_actors.stores import MemoryStore
from anthropix_actors.tools import tool

from servers import DEADLINE, until, wait

MODEL = "claude-sonnet-5"
GOLDEN = Path(__file__).with_name("golden")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def recorded(store: MemoryStore, name: str = "a") -> list[Any]:
    return [entry.data for entry in store.read(name)]


def test_a_log_replays_into_an_equal_conversation(emulator: Emulator, client: Client) -> None:
    store = MemoryStore()
    agent = Agent(model=MODEL, tools=[add, tool(add.function, name="ask", approve=True)])
    talk = client.converse(agent, store=store, id="a", history=[{"role": "user", "content": "Hello"}])
    sums = Reply(["So.", ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": "x", "b": 2})])
    emulator.queue(sums, Reply(["It is 3."]), Reply(["Bye."]))
    talk.say("What is 1 + 2?").result(DEADLINE)
    talk.say("Bye").result(DEADLINE)
    until(lambda: recorded(store)[-1].get("ends") == [[2, "done", None]])
    assert [*fold(recorded(store)).history] == talk.history()
    kinds = [entry["kind"] for entry in recorded(store)]
    assert kinds == ["conversation", "say", *["streamed"] * 2, "answered", "ended", "answered", "say", "answered"]
    usage = talk.usage()
    talk.stop()
    again = client.converse(agent, store=store, id="a")
    assert again.history() == talk.history()
    assert again.usage() == usage
    emulator.queue(Reply(["Hello again."]))
    again.say("Hello").result(DEADLINE)


def test_wherever_a_log_ends_its_history_is_legal(emulator: Emulator, client: Client) -> None:
    store, let, began = MemoryStore(), threading.Event(), threading.Event()

    def works() -> list[dict[str, Any]]:
        """Work."""
        began.set()
        wait(let)
        return [{"type": "text", "text": "worked"}]

    talk = client.converse(Agent(model=MODEL, tools=[works, add]), store=store, id="a")
    emulator.queue(Reply([ToolCall("works", {}), ToolCall("add", {"a": 1, "b": 2})]), Reply(["Done."]))
    turn = talk.say("Go")
    wait(began)
    until(lambda: "ended" in [entry["kind"] for entry in recorded(store)])
    assert "may have taken effect" in json.dumps(fold(recorded(store)).history)
    let.set()
    turn.result(DEADLINE)
    until(lambda: "ends" in recorded(store)[-1])
    entries = recorded(store)
    for end in range(1, len(entries) + 1):
        messages = [*fold(entries[:end]).history, {"role": "user", "content": "go on"}]
        chat_body({"model": "m", "max_tokens": 1, "messages": messages}, api_version="2023-06-01")


def test_what_a_call_does_after_it_was_given_up_is_recorded(emulator: Emulator, client: Client) -> None:
    store, let, began = MemoryStore(), threading.Event(), threading.Event()

    def works() -> str:
        """Work."""
        began.set()
        wait(let)
        return "worked"

    talk = client.converse(Agent(model=MODEL, tools=[tool(works, approve=True)]), store=store, id="a")
    emulator.queue(Reply([ToolCall("works", {})]))
    turn = talk.say("Go")
    until(lambda: talk._talk._asked)
    [(approval, _)] = talk._talk._asked.values()
    talk.answer(approval, allow=True, by="eva")
    wait(began)
    turn.cancel()
    let.set()
    until(lambda: {"decided", "cancel", "ended"} <= {entry["kind"] for entry in recorded(store)})
    assert recorded(store)[-1]["content"] == "worked"


def test_who_lost_its_log_to_another_stops(emulator: Emulator, client: Client) -> None:
    store = MemoryStore()
    emulator.queue(Stall(), Reply(["Hello."]))
    first = client.converse(Agent(model=MODEL), store=store, id="a")
    turn = first.say("Hello")
    emulator.wait_for_requests(1, timeout=DEADLINE)
    second = client.converse(Agent(model=MODEL), store=store, id="a", take_over=True, resume=False)
    turn.cancel()
    with pytest.raises(CancelledError):
        turn.result(DEADLINE)
    until(lambda: not first.is_alive())
    with pytest.raises(ConfigurationError, match="has stopped"):
        first.say("Hello?")
    second.say("Hello").result(DEADLINE)


def test_a_log_needs_a_name_and_a_history_comes_from_one_place(client: Client) -> None:
    store = MemoryStore()
    wrong: list[Any] = [{"store": store}, {"id": "a"}, {"store": store, "id": ""}, {"store": store, "id": 3}]
    for given in wrong:
        with pytest.raises(ParameterError, match=r"id: expected (a name|1 to 250)"):
            client.converse(Agent(model=MODEL), **given)
    hello = [{"role": "user", "content": "Hello"}]
    client.converse(Agent(model=MODEL), store=store, id="a", history=hello).stop()
    with pytest.raises(ParameterError, match="history: the log 'a' has one"):
        client.converse(Agent(model=MODEL), store=store, id="a", history=hello)
    store.append("b", store.claim("b"), 0, [{"kind": "conversation", "format": 99}])
    with pytest.raises(ParameterError, match="log: expected format 2 at most, got 99"):
        client.converse(Agent(model=MODEL), store=store, id="b")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_the_logs_of_each_version_are_read(path: Path) -> None:
    golden = json.loads(path.read_text())
    past = fold(golden.pop("entries"))
    state = past.state
    known = {
        "messages": [*past.history],
        "phase": state.phase.value,
        "unfinished": [*state.unfinished],
        "calls": {call.id: [call.status, call.runs] for call in state.calls},
        "spent": {str(turn): [each.requests, each.usage.total_tokens] for turn, each in past.spent.items()},
        "asked": [*past.asked],
        "inbox": past.inbox,
    }
    assert {key: known[key] for key in golden} == golden


def test_there_is_a_golden_log_of_each_version() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {"1", "1-cut", "2", "2-cut"}


def test_a_log_of_format_1_goes_on_in_format_2(emulator: Emulator, client: Client) -> None:
    golden = json.loads((GOLDEN / "1-cut.json").read_text())
    store = MemoryStore()
    store.append("a", store.claim("a"), 0, golden["entries"])
    emulator.queue(Reply(["I see."]), Reply(["Bye."]))
    for _ in range(2):
        talk = client.converse(Agent(model=MODEL, tools=[add]), store=store, id="a")
        assert talk.turns == []
        talk.say("Go on.").result(DEADLINE)
        talk.stop(timeout=DEADLINE)
    history = fold(recorded(store)).history
    assert [*history[: len(golden["messages"])]] == golden["messages"]
    assert len(history) == len(golden["messages"]) + 4
    assert [entry["format"] for entry in recorded(store) if entry["kind"] == "conversation"] == [1, 2]


def test_what_the_api_refused_is_not_in_the_history_of_format_1() -> None:
    hello = {"role": "user", "content": "Hello"}
    entries: list[Any] = [
        {"kind": "messages", "messages": [hello, hello]},
        {"kind": "withdrawn", "heard": 1, "messages": []},
    ]
    assert fold([{"kind": "conversation", "format": 1}, *entries]).history == (hello,)


@pytest.mark.parametrize(
    "entries",
    [
        [{"kind": "begin", "format": 1}],
        [{"kind": "conversation", "format": 2}, {"kind": "event"}],
        [{"kind": "conversation", "format": 2}, {"kind": "say", "said": 3}],
    ],
    ids=["of a chat", "of another kind", "damaged"],
)
def test_what_is_no_log_of_a_conversation_is_refused(client: Client, entries: list[Any]) -> None:
    store = MemoryStore()
    store.append("a", store.claim("a"), 0, entries)
    for _ in range(2):  # it is given up each time
        with pytest.raises(
            ParameterError, match=r"(log: (expected the log of a conversation|say: )|id: the log .* is none of a conv)"
        ):
            client.converse(Agent(model=MODEL), store=store, id="a")


def test_what_has_begun_has_begun_whatever_the_core_of_today_would_begin() -> None:
    said = {"content": [{"type": "text", "text": "Go"}], "turn": 1}
    content = [{"type": "tool_use", "id": f"toolu_{n}", "name": "works", "input": {}} for n in range(3)]
    calls = [{"id": each["id"], "name": "works", "input": {}, "alone": True} for each in content]
    message = {"content": content, "stop_reason": "tool_use"}
    answered = {"kind": "answered", "message": message, "calls": calls, "starts": ["toolu_0", "toolu_2"]}
    state = fold([{"kind": "conversation", "format": 2}, {"kind": "say", "said": said}, answered]).state
    assert [(call.status, call.runs) for call in state.calls] == [("running", 1), ("ready", 0), ("running", 1)]


def test_a_long_log_is_read_to_its_end(client: Client) -> None:
    store = MemoryStore()
    passed = [{"kind": "passed", "inbox": f"x.{number}"} for number in range(2500)]
    store.append("a", store.claim("a"), 0, [{"kind": "conversation", "format": 2}, *passed])
    talk: Any = client.converse(Agent(model=MODEL), store=store, id="a")
    assert talk._talk.recorder.past.inbox == "x.2499"
