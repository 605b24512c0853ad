"""The core of a conversation, without threads: whatever happens, in whatever order, its history is legal."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from anthropix_actors.chat.block import PartialBlock
from anthropix_actors.chat.parameters import chat_body
from anthropix_actors.conversation.core import moves
from anthropix_actors.conversation.core.advance import advance, place_of
from anthropix_actors.conversation.core.history import calls_in, kept_of, may_end_at, settled
from anthropix_actors.conversation.core.state import Call, Phase, Said, State
from anthropix_actors.conversation.record import entry_of, event_of, fold, head
from anthropix_actors.emulator.rules import active, first_refusal
from anthropix_actors.emulator.rules.chat_request import ChatRequest
from anthropix_actors.errors import APIConnectionError, ParameterError, Problem

RULES = active(["unknown-key"])
_NAMES = ("plain", "safe", "alone", "asks", "theirs", "idempotent", "asks-again")
TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in _NAMES]
TOOLS.append({"type": "web_search_20260209", "name": "web_search"})


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool_use(call_id: str, name: str = "plain") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": {}}


def answer(*content: Any, reason: str | None = "end_turn") -> dict[str, Any]:
    return {"role": "assistant", "content": list(content), "stop_reason": reason}


def refusal_of(messages: Any) -> str | None:
    """Return why the API would refuse these messages, or None."""
    body = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": list(messages), "tools": TOOLS}
    sent = chat_body(body, api_version="2023-06-01")  # raises where the client itself would refuse it
    return first_refusal(ChatRequest(sent), RULES)


def spec(block: Any, runs: int = 0) -> Call:
    name = block["name"]
    return Call(
        block["id"],
        name,
        block["input"],
        safe=name == "safe",
        alone=name == "alone",
        approve=name == "asks",
        idempotent=name == "idempotent",
        asks_again=name == "asks-again",
        digest=f"{runs}" if name == "asks-again" and runs else "",
        ours=name != "theirs",
        refusal="there is no such tool" if name == "unknown" else None,
    )


@dataclass
class World:
    """A conversation, and those that it asks to do something."""

    state: State = field(default_factory=State)
    ids: Any = field(default_factory=itertools.count)
    asked: list[moves.Ask] = field(default_factory=list)
    open: moves.Ask | None = None  # the request that has no end yet
    cut: bool = False
    running: dict[str, Call] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    ends: list[moves.EndTurn] = field(default_factory=list)
    steered: list[Said] = field(default_factory=list)
    streamed: list[dict[str, Any]] = field(default_factory=list)
    spent: str | None = None
    log: list[dict[str, Any]] = field(default_factory=lambda: [head(State())])
    states: list[State] = field(default_factory=list)  # after each entry of the log

    def happens(self, event: moves.Event) -> None:
        if isinstance(event, moves.Answered | moves.Cut | moves.Failed):
            self.open, self.cut, self.streamed = None, False, []
        before = self.state
        self.state, effects = advance(self.state, event, spent=self.spent)
        self.log.append(json.loads(json.dumps(entry_of(event, effects, self.spent))))
        self.states.append(self.state)
        kept = before.heard if any(isinstance(effect, moves.Withdraw) for effect in effects) else len(before.messages)
        assert self.state.messages[:kept] == before.messages[:kept], "the history was changed"
        for effect in effects:
            self._does(effect)
        history = settled(self.state)
        assert refusal_of([*history, {"role": "user", "content": [text("go on")]}]) is None, history

    def _does(self, effect: moves.Effect) -> None:
        match effect:
            case moves.Ask():
                assert self.open is None, "two requests at once"
                self.open = effect
                self.asked.append(effect)
                assert refusal_of(effect.messages) is None
            case moves.CutChat():
                assert self.open is not None
                self.cut = True
            case moves.StartCall(call=call):
                may_again = call.idempotent or call.allowed == f"{call.runs - 1}"
                assert call.id not in self.ran or may_again, "a call was run twice"
                assert call.refusal is None
                assert call.ours
                assert not any(each.alone for each in self.running.values()), "it does not run alone"
                assert not (call.alone and self.running), "it does not run alone"
                self.ran.append(call.id)
                self.running[call.id] = call
                assert len(self.running) <= self.state.at_once
            case moves.CancelCall(call=call):
                del self.running[call.id]
            case moves.TellSteered(said=said):
                self.steered.append(said)
            case moves.EndTurn():
                self.ends.append(effect)
            case _:
                pass

    def say(self, when: Any) -> None:
        said = Said((text(f"say {next(self.ids)}"),), place_of(self.state, when))
        self.said.append(said)
        self.happens(moves.Say(said, when))

    def new_calls(self, *names: str) -> list[dict[str, Any]]:
        return [tool_use(f"toolu_{next(self.ids)}", name) for name in names]

    def answers(self, *content: Any, reason: str) -> None:
        self.happens(moves.Answered(answer(*content, reason=reason), tuple(map(spec, calls_in(content)))))

    def stops(self) -> None:
        if self.state.phase is not Phase.STOPPED:
            self.happens(moves.Stop("the program ends"))
        if self.open is not None:
            take_lose(self, failed=False)


REASONS = ["end_turn", "max_tokens", "refusal", "pause_turn", "compaction", "brand_new"]
KINDS = ["plain", "safe", "alone", "asks", "unknown", "idempotent", "asks-again"]
NAMES = st.lists(st.sampled_from(KINDS), max_size=4)
THEIRS = st.lists(st.sampled_from(["plain", "theirs"]), min_size=1, max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from(["next", "idle", "now"])),
        st.tuples(st.just("stream"), st.sampled_from(["plain", "safe", "alone", "asks"])),
        st.tuples(st.just("call"), st.one_of(NAMES, THEIRS)),
        st.tuples(st.just("answer"), st.sampled_from(REASONS)),
        st.tuples(st.just("lose"), st.booleans()),
        st.tuples(st.just("refuse"), st.just(True)),  # noqa: FBT003 - that nobody looks at
        st.tuples(st.just("ended"), st.integers(0, 9)),
        st.tuples(st.just("decide"), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(-1, 1)),
        st.tuples(st.just("time"), st.booleans()),
        st.tuples(st.just("spend"), st.booleans()),
        st.tuples(st.just("stop"), st.sampled_from([True, *[False] * 5])),
    ),
    max_size=40,
)


def take_say(world: World, when: Any) -> None:
    if world.state.phase is not Phase.STOPPED:
        world.say(when)


def take_stream(world: World, name: str) -> None:
    if world.open is not None and not world.cut and not world.open.closing:
        [block] = world.new_calls(name)
        world.streamed.append(block)
        world.happens(moves.Streamed(spec(block)))


def take_call(world: World, names: list[str]) -> None:
    if world.open is not None:
        content = [text("Let me see."), *world.streamed, *world.new_calls(*names)]
        world.answers(*content, reason="tool_use" if calls_in(content) else "end_turn")


def take_answer(world: World, reason: str) -> None:
    if world.open is None:
        return
    content: list[Any] = [text("Well."), *world.streamed]
    if reason == "pause_turn":
        block = {"type": "server_tool_use", "name": "web_search", "input": {"query": "x"}}
        content = [text("Well."), {**block, "id": f"srvtoolu_{next(world.ids)}"}]
    elif reason == "compaction":
        content = [{"type": "compaction", "content": "What was said."}]
    elif reason == "max_tokens":
        content += world.new_calls("plain")
    world.answers(*content, reason=reason)


def take_lose(world: World, failed: bool) -> None:  # noqa: FBT001 - a step of a random walk
    if world.cut:
        parts = [PartialBlock(block, open=False) for block in (text("We"), *world.streamed)]
        kept = kept_of([*parts, PartialBlock({**tool_use("toolu_open"), "input_json": "{"}, open=True)])
        world.happens(moves.Cut(kept, tuple(map(spec, calls_in(kept)))))
    elif world.open is not None and failed:
        world.happens(moves.Failed(APIConnectionError("lost")))


def take_refuse(world: World, _: bool) -> None:  # noqa: FBT001
    if world.open is not None:
        world.happens(moves.Failed(ParameterError([Problem("messages", "they are odd")])))


def take_ended(world: World, which: int) -> None:
    if world.running:
        call_id = [*world.running][which % len(world.running)]
        del world.running[call_id]
        world.happens(moves.Ended(call_id, "42", seconds=0.1))


def take_decide(world: World, allow: bool) -> None:  # noqa: FBT001 - a step of a random walk
    for call in [call for call in world.state.calls if call.status == "asks"][:1]:
        world.happens(moves.Decided(call.id, allow, "eva" if allow else None, call.digest))


def take_cancel(world: World, further: int) -> None:
    world.happens(moves.Cancel(world.state.turn + further, "enough"))


def take_time(world: World, _: bool) -> None:  # noqa: FBT001 - a step of a random walk
    world.spent = "seconds" if world.state.phase in {Phase.ASKING, Phase.ACTING} else None
    world.happens(moves.TimeUp(world.state.turn))
    world.spent = None


def take_spend(world: World, spent: bool) -> None:  # noqa: FBT001 - a step of a random walk
    world.spent = "requests" if spent else None


def take_stop(world: World, stops: bool) -> None:  # noqa: FBT001 - a step of a random walk
    if stops and world.state.phase is not Phase.STOPPED:
        world.happens(moves.Stop("the program ends"))


TAKE: dict[str, Any] = {
    "say": take_say,
    "stream": take_stream,
    "call": take_call,
    "answer": take_answer,
    "lose": take_lose,
    "refuse": take_refuse,
    "ended": take_ended,
    "decide": take_decide,
    "cancel": take_cancel,
    "time": take_time,
    "spend": take_spend,
    "stop": take_stop,
}


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_happens_the_history_is_legal_and_each_say_has_one_fate(steps: list[tuple[str, Any]]) -> None:
    world = World()
    for kind, what in steps:
        TAKE[kind](world, what)
    world.stops()
    assert world.state.phase is Phase.STOPPED
    assert not world.running
    turns = [end.turn for end in world.ends]
    assert len(turns) == len({*turns}), "a turn ended twice"
    assert {said.turn for said in world.said} == {*turns}
    undelivered = [said for end in world.ends for said in end.undelivered]
    told = [block for message in settled(world.state) for block in message["content"] if message["role"] == "user"]
    for said in world.said:
        assert (said in undelivered) + sum(block in told for block in said.content) == 1, said
    assert [said for said in world.said if said in world.steered] == world.steered  # in order


def resumed(before: World, entries: int, *, go_on: bool) -> World:
    """Return the conversation as another owner has it, who found so many entries in the log."""
    state = fold(before.log[: 1 + entries]).state
    assert state == (before.states[entries - 1] if entries else State())
    after = World(state, ids=before.ids, log=before.log[: 1 + entries], states=before.states[:entries])
    after.ran = [call_id for entry in after.log for call_id in entry.get("starts", ())]
    runs = {call.id: call.runs for call in state.calls}
    calls = tuple(spec(each, runs.get(each["id"], 0)) for each in calls_in(state.answer or ()))
    after.happens(moves.Resumed(calls, go_on=go_on))
    return after


def told(entries: list[dict[str, Any]], key: str) -> list[Any]:
    return [each for entry in entries for each in entry.get(key, ())]


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(0, 40), STEPS, st.sampled_from([True, True, True, False]))
def test_wherever_a_log_ends_another_goes_on_and_nothing_is_done_or_heard_twice(
    steps: list[tuple[str, Any]],
    cut: int,
    more: list[tuple[str, Any]],
    go_on: bool,  # noqa: FBT001
) -> None:
    first = World()
    for kind, what in steps:
        TAKE[kind](first, what)
    second = resumed(first, min(cut, len(first.states)), go_on=go_on)
    for kind, what in more:
        TAKE[kind](second, what)
    third = resumed(second, len(second.states), go_on=True)
    third.stops()
    assert not third.running
    says = [entry["said"] for entry in third.log if entry["kind"] == "say"]
    turns = [turn for turn, how, _ in told(third.log, "ends") if how != "suspended"]
    assert len(turns) == len({*turns}), "a turn ended twice"
    heard = [block for message in settled(third.state) for block in message["content"] if message["role"] == "user"]
    for said in says:
        assert sum(block in heard for block in said["content"]) <= 1, "it was heard twice"
    fates = fates_of(third.log)
    for said in says:
        assert fates.count(said) + sum(block in heard for block in said["content"]) == 1, said


def fates_of(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was handed back, in the life of a log."""
    state, back = State(), []
    for entry in log[1:]:
        state, effects = advance(state, event_of(entry), spent=entry.get("limit"))
        ends = [effect for effect in effects if isinstance(effect, moves.EndTurn)]
        back += [said for end in ends for said in end.undelivered]
    return [{"content": [*said.content], "turn": said.turn} for said in back]


@given(STEPS)
def test_no_request_follows_a_closing_one_in_its_turn(steps: list[tuple[str, Any]]) -> None:
    world = World()
    closed: set[int] = set()
    for kind, what in steps:
        count = len(world.asked)
        TAKE[kind](world, what)
        for ask in world.asked[count:]:
            assert world.state.turn not in closed
            if ask.closing:
                closed.add(world.state.turn)


def begun(*calls: dict[str, Any], **fields: Any) -> World:
    """Return a conversation whose model has asked for these calls."""
    world = World(State(**fields))
    world.say("next")
    world.answers(*calls, reason="tool_use")
    return world


def test_all_calls_run_at_once_as_many_as_may() -> None:
    world = begun(*(tool_use(f"toolu_{n}") for n in range(5)), at_once=3)
    assert [*world.running] == ["toolu_0", "toolu_1", "toolu_2"]
    take_ended(world, 1)
    assert [*world.running] == ["toolu_0", "toolu_2", "toolu_3"]


def test_a_call_that_runs_alone_is_a_barrier() -> None:
    world = begun(tool_use("toolu_a"), tool_use("toolu_b", "alone"), tool_use("toolu_c"))
    for call_id in ("toolu_a", "toolu_b", "toolu_c"):
        assert [*world.running] == [call_id]
        take_ended(world, 0)


def test_safe_calls_start_while_the_answer_streams_unless_one_before_runs_alone() -> None:
    world = World()
    world.say("next")
    for name in ("safe", "plain", "safe", "alone", "safe"):
        take_stream(world, name)
    assert [call.name for call in world.running.values()] == ["safe", "safe"]


def test_results_go_back_in_the_models_order_and_what_was_said_after_them() -> None:
    world = begun(tool_use("toolu_a"), tool_use("toolu_b"))
    world.happens(moves.Ended("toolu_b", "second"))
    world.say("next")
    world.happens(moves.Ended("toolu_a", "first", is_error=True))
    last = world.asked[-1].messages[-1]
    assert [block.get("content") or block["text"] for block in last["content"]] == ["first", "second", "say 1"]
    assert [block.get("is_error") for block in last["content"]] == [True, None, None]


def test_the_result_of_a_call_that_is_the_callers_comes_with_what_is_said_next() -> None:
    world = begun(tool_use("toolu_a"), tool_use("toolu_b", "theirs"), tool_use("toolu_c", "theirs"))
    take_ended(world, 0)
    assert world.ends[-1].stopped == "tool_use"
    result = {"type": "tool_result", "tool_use_id": "toolu_b", "content": [text("from the caller")]}
    world.happens(moves.Say(Said((result, text("and go on")), place_of(world.state, "next"))))
    *results, last = world.asked[-1].messages[-1]["content"]
    assert [block["content"] for block in results] == ["42", [text("from the caller")], "not started"]
    assert last == text("and go on")


def test_a_cancel_tells_the_truth_about_each_call() -> None:
    world = begun(tool_use("toolu_a"), tool_use("toolu_b"), tool_use("toolu_c"), tool_use("toolu_d", "asks"), at_once=2)
    take_ended(world, 0)
    world.happens(moves.Cancel(1, "enough"))
    results = world.state.messages[-1]["content"]
    unknown = "cancelled; it may have taken effect"
    assert [block["content"] for block in results] == ["42", unknown, unknown, "not started"]
    assert world.ends[-1].how == "cancelled"
    world.happens(moves.Ended("toolu_b", "too late"))
    assert "too late" not in str(world.state)


def test_a_turn_that_waits_for_approval_is_suspended_by_a_stop_and_others_are_cancelled() -> None:
    world = begun(tool_use("toolu_a", "asks"))
    assert world.state.is_waiting
    world.stops()
    assert [(end.how, [call.id for call in end.calls]) for end in world.ends] == [("suspended", ["toolu_a"])]
    world = begun(tool_use("toolu_a", "asks"), tool_use("toolu_b"))
    assert not world.state.is_waiting
    world.stops()
    assert [end.how for end in world.ends] == ["cancelled"]


def test_a_limit_is_followed_by_one_closing_request_or_in_a_sub_agent_by_none() -> None:
    world = begun(tool_use("toolu_a"))
    world.spent = "requests"
    take_ended(world, 0)
    assert world.asked[-1].closing
    world.answers(text("So far."), reason="end_turn")
    assert (world.ends[-1].how, world.ends[-1].stopped) == ("done", "requests")
    child = begun(tool_use("toolu_a"), closes=False)
    child.spent = "requests"
    take_ended(child, 0)
    assert len(child.asked) == 1
    assert child.ends[-1].stopped == "requests"


def test_what_is_said_now_cuts_the_answer_and_what_is_whole_of_it_stays() -> None:
    world = World()
    world.say("next")
    world.say("now")
    assert world.cut
    take_lose(world, failed=False)
    messages = world.asked[-1].messages
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert [message["content"] for message in messages[1:]] == [[text("We")], [text("say 1")]]


def test_two_things_that_are_said_now_reach_the_model_together() -> None:
    world = World()
    world.say("next")
    world.say("now")
    world.say("now")
    take_lose(world, failed=False)
    assert world.asked[-1].messages[-1]["content"] == [text("say 1"), text("say 2")]


def test_an_answer_that_is_cut_does_not_end_with_thoughts() -> None:
    thinking = {"type": "thinking", "thinking": "Well.", "signature": "s"}
    parts = [PartialBlock(text("So."), open=False), PartialBlock(thinking, open=False)]
    assert kept_of(parts) == (text("So."),)
    assert kept_of(parts[1:]) == ()


def test_what_is_said_now_does_not_wait_for_calls() -> None:
    world = begun(tool_use("toolu_a"))
    world.say("now")
    assert not world.running
    assert world.asked[-1].messages[-1]["content"][1] == text("say 1")


def test_a_history_may_end_where_no_call_lacks_its_result() -> None:
    world = begun(tool_use("toolu_a"))
    take_ended(world, 0)
    messages = world.asked[-1].messages
    assert [may_end_at(messages, place) for place in range(4)] == [True, True, False, True]
    assert may_end_at([{"role": "assistant", "content": "Hello."}], 1)


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "brand_new"])
def test_a_turn_that_the_model_did_not_end_itself_says_what_did(reason: str) -> None:
    world = World()
    world.say("next")
    take_answer(world, reason)
    assert world.ends[-1].stopped == reason


def test_compactions_in_a_row_come_to_an_end() -> None:
    world = World()
    world.say("next")
    for _ in range(3):
        assert not world.ends
        take_answer(world, "compaction")
    assert world.ends[-1].stopped == "compaction"


def test_a_call_from_before_a_fallback_is_cancelled() -> None:
    world = World()
    world.say("next")
    take_stream(world, "safe")
    message = answer(*world.streamed, {"type": "fallback"}, text("Now."))
    state, effects = advance(world.state, moves.Answered(message))
    assert not state.calls
    assert [effect.call.id for effect in effects if isinstance(effect, moves.CancelCall)] == [world.streamed[0]["id"]]


def test_events_that_come_too_late_change_nothing() -> None:
    world = begun(tool_use("toolu_a"))
    late: list[moves.Event] = [
        moves.Answered(answer()),
        moves.Cut(),
        moves.Failed(APIConnectionError("lost")),
        moves.Decided("toolu_a", allow=True),
        moves.Streamed(spec(tool_use("toolu_b"))),
        moves.Cancel(7, "enough"),
    ]
    for event in late:
        assert advance(world.state, event) == (world.state, [])
    stopped, said = replace(world.state, phase=Phase.STOPPED), Said((text("Hello?"),), 7)
    end = moves.EndTurn(7, "cancelled", reason="stopped", undelivered=(said,))
    assert advance(stopped, moves.Say(said))[1] == [end]


def test_what_is_refused_as_its_turn_is_cancelled_is_handed_back() -> None:
    world = World()
    world.say("next")
    world.happens(moves.Cancel(1, "enough"))
    take_refuse(world, True)  # noqa: FBT003
    [end] = world.ends
    assert (end.how, end.undelivered, world.state.messages) == ("cancelled", (world.said[0],), ())


def test_what_was_said_before_an_answer_that_was_cut_is_not_doubted() -> None:
    world = World()
    world.say("next")
    world.say("now")
    take_lose(world, failed=False)
    take_refuse(world, True)  # noqa: FBT003
    [end] = world.ends
    assert end.undelivered == (world.said[1],)
    assert [message["role"] for message in world.state.messages] == ["user", "assistant"]


def test_an_answer_that_is_faster_than_its_cut_stays() -> None:
    world = World()
    world.say("next")
    world.say("now")
    world.answers(text("All of it."), reason="end_turn")
    assert [message["role"] for message in world.asked[-1].messages] == ["user", "assistant", "user"]


def test_calls_that_the_answer_has_no_more_are_cancelled_if_they_run() -> None:
    world = World()
    world.say("next")
    take_stream(world, "safe")
    take_stream(world, "plain")
    assert len(world.running) == 1
    world.answers(text("Well."), reason="end_turn")
    assert not world.running
