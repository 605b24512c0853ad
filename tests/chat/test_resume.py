"""Going on with an answer that was cut: `chat(..., resume=True)`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from anthropix_actors import (
    APIError,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatResumed,
    ChatRetrying,
    Client,
    Ledger,
    ParameterError,
    ProtocolError,
    TruncatedError,
)
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.chat.block import PartialBlock
from anthropix_actors.chat.resume import PLEASE_GO_ON, EventSplicer, ResumePlan, plan_resume
from anthropix_actors.emulator import Drop, Emulator, ErrorEvent, Reply, Reset, Stall, Status, Thinking, ToolCall
from anthropix_actors.emulator._model.events import message_events

from actors import Inbox, text_of
from servers import block_start, block_stop, message_delta, start, text_delta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

OLD, NEW = "claude-haiku-4-5", "claude-sonnet-5"


def ask(model: str = OLD, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Count to five."}], **more}


def accumulated(events: Iterable[Any]) -> Accumulator:
    answer = Accumulator()
    for event in events:
        answer.add(event)
    return answer


def message(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 20, "cache_creation": {"ephemeral_5m_input_tokens": 1}}
    return {"id": "msg_1", "content": list(content), "stop_reason": "end_turn", "usage": usage, **more}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "tool", "input": {"a": 1}}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}


# What to send


@pytest.mark.parametrize(
    ("parts", "kept", "sent"),
    [
        ([(text("One, "), True)], 1, [text("One, ")]),
        ([(text("One."), False)], 1, [text("One.")]),
        ([(THOUGHT, False), (text("One"), True)], 2, [text("One")]),
        ([(THOUGHT, True)], 0, None),
        ([(THOUGHT, False)], 0, None),
        ([(text(""), True)], 0, None),
        ([(text("One"), False), (text(" \n"), True)], 1, [text("One")]),
        ([(text("One"), False), (THOUGHT, True)], 1, [text("One")]),
        ([(text("One"), False), ({**CALL, "input_json": '{"a'}, True)], 1, [text("One")]),
        ([(text("One"), False), (SEARCH, False)], 1, [text("One")]),
        ([(text("One"), False), (SEARCH, True)], 1, [text("One")]),
        ([(text("One"), False), (SEARCH, False), (FOUND, True)], 2, [text("One"), SEARCH]),
        ([(text("One"), False), (SEARCH, False), (FOUND, False)], 3, [text("One"), SEARCH, FOUND]),
        ([(SEARCH, False), (FOUND, False), (text("Two"), True)], 3, [SEARCH, FOUND, text("Two")]),
    ],
)
def test_what_is_incomplete_is_dropped_and_thinking_is_not_sent(
    parts: list[tuple[dict[str, Any], bool]], kept: int, sent: list[dict[str, Any]] | None
) -> None:
    body = ask(NEW)
    more = plan_resume(body, {"stop_reason": None}, [PartialBlock(*part) for part in parts])
    assert more is not None
    assert more.kept == kept
    if sent is None:
        assert more.body == body
    else:
        turns = [{"role": "assistant", "content": sent}, {"role": "user", "content": PLEASE_GO_ON}]
        assert more.body == {**body, "messages": [*body["messages"], *turns]}
    assert body == ask(NEW)


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ({"stop_reason": None}, [PartialBlock(CALL, open=False)]),
        ({"stop_reason": None}, [PartialBlock(CALL, open=False), PartialBlock(text("Then"), open=True)]),
        ({"stop_reason": "end_turn"}, [PartialBlock(text("Whole."), open=False)]),
    ],
)
def test_what_nobody_can_go_on_with(answer: dict[str, Any], parts: list[PartialBlock]) -> None:
    assert plan_resume(ask(), answer, parts) is None


@pytest.mark.parametrize(
    ("more", "prefill"),
    [
        ({}, True),
        ({"thinking": {"type": "disabled"}}, True),
        ({"thinking": None, "output_config": {"effort": "low"}}, True),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, False),
        ({"thinking": {"type": "adaptive"}}, False),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, False),
        ({"model": NEW}, False),
        ({"model": "somebody-elses"}, False),
    ],
)
def test_a_prefill_is_for_models_that_take_it_and_without_thinking(more: dict[str, Any], *, prefill: bool) -> None:
    found = plan_resume({**ask(), **more}, {}, [PartialBlock(text("One, \n"), open=True)])
    assert found is not None
    last = found.body["messages"][-1]
    if prefill:
        assert last == {"role": "assistant", "content": [text("One,")]}
        assert (found.joins, found.trimmed) == (True, " \n")
    else:
        assert last == {"role": "user", "content": PLEASE_GO_ON}
        assert (found.joins, found.trimmed) == (True, "")


def test_a_call_whose_input_stayed_as_text_is_sent_without_that_note() -> None:
    odd = {**SEARCH, "input": {}, "input_json": "[1]"}
    parts = [PartialBlock(odd, open=False), PartialBlock(FOUND, open=False), PartialBlock(text("Two"), open=True)]
    found = plan_resume(ask(NEW), {}, parts)
    assert found is not None
    assert found.body["messages"][1]["content"] == [{**SEARCH, "input": {}}, FOUND, text("Two")]


def test_a_prefill_ends_with_text() -> None:
    found = plan_resume(ask(), {}, [PartialBlock(SEARCH, open=False), PartialBlock(FOUND, open=False)])
    assert found is not None
    assert found.body["messages"][-1]["role"] == "user"
    assert not found.joins


# What is told


WORDS = st.text("ab \n", min_size=1, max_size=12)
BLOCKS = st.lists(st.one_of(WORDS.map(text), st.just(THOUGHT)), min_size=1, max_size=4)


def events_of(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Get the events of a Message, its texts in deltas of two letters."""
    told: list[dict[str, Any]] = []
    for event in message_events(message(*content)):
        delta = event.get("delta", {})
        if delta.get("type") == "text_delta":
            said = delta["text"]
            pieces = [said[at : at + 2] for at in range(0, len(said), 2)]
            told += [{**event, "delta": {**delta, "text": piece}} for piece in pieces]
        else:
            told.append(dict(event))
    return told


def said(content: Iterable[Mapping[str, Any]]) -> str:
    return "".join(block.get("text", "") for block in content)


@given(BLOCKS, BLOCKS, st.data())
def test_wherever_an_answer_is_cut_what_was_kept_and_what_follows_are_one(
    first: list[dict[str, Any]], second: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Whoever accumulates what is told gets the chat's Message; with the texts of both, one after the other."""
    events = events_of(first)
    cut = events[: data.draw(st.integers(1, len(events) - 2))]  # before the message_delta
    answer = accumulated(cut)
    more = plan_resume(ask(data.draw(st.sampled_from([OLD, NEW]))), answer.snapshot() or {}, answer.partial_blocks())
    assert more is not None
    kept_text = said(part.data for part in answer.partial_blocks()[: more.kept])
    splice = EventSplicer(more, {"input_tokens": 10, "output_tokens": 7})
    told = [each for event in events_of(second) for each in splice.events(event)]
    subscriber = accumulated(cut)
    answer.resume_from(more.kept, splice.usage())
    subscriber.resume_from(more.kept, {})  # as a subscriber does who hears of a ChatResumed
    for event in told:
        answer.add(event)
        subscriber.add(event)
    whole: Any = answer.snapshot()
    assert whole == subscriber.snapshot()
    assert all(not part.open for part in answer.partial_blocks())
    expected = said(second)
    while more.trimmed and expected and more.trimmed.startswith(expected[0]):
        more, expected = replace(more, trimmed=more.trimmed[1:]), expected[1:]
    assert said(whole["content"]) == kept_text + expected
    assert whole["stop_reason"] == "end_turn"
    assert whole["usage"] == {
        "input_tokens": 20,
        "output_tokens": 27,
        "cache_creation": {"ephemeral_5m_input_tokens": 1},
    }


@pytest.mark.parametrize("indexes", [(1, 0), (5, 7)])
def test_what_is_kept_is_called_by_its_place_from_then_on_also_by_who_comes_later(indexes: tuple[int, int]) -> None:
    one, two = indexes
    answer = accumulated([start(), block_start(one), text_delta("A", one), block_start(two), text_delta("B", two)])
    answer.resume_from(2, {})
    late = accumulated(answer.replay())
    for each in (answer, late):
        each.add(text_delta("b", 1))
        each.add(text_delta("a", 0))
    assert answer.snapshot()["content"] == [text("Aa"), text("Bb")]  # type: ignore[index]
    assert late.snapshot() == answer.snapshot()


def test_a_text_that_was_open_is_stopped_when_no_text_follows() -> None:
    more = ResumePlan({}, kept=2, joins=True, trimmed="")
    for first in (block_start(0, type="thinking", thinking=""), message_delta()):
        splice = EventSplicer(more, {})
        told = list(splice.events(first))
        assert told[0] == block_stop(1)
        assert told[1]["type"] == first["type"]
        assert told[1].get("index", 2) == 2
        assert block_stop(1) not in splice.events(message_delta())  # once


def test_a_text_that_begins_with_its_first_words_is_told_as_a_delta() -> None:
    splice = EventSplicer(ResumePlan({}, kept=1, joins=True, trimmed=" "), {})
    assert list(splice.events(block_start(0, type="text", text=" two"))) == [text_delta("two")]
    assert list(splice.events(text_delta(" three"))) == [text_delta(" three")]


def test_a_text_that_begins_with_nothing_is_told_as_nothing() -> None:
    splice = EventSplicer(ResumePlan({}, kept=1, joins=True, trimmed=""), {})
    assert list(splice.events(block_start())) == []
    assert list(splice.events(text_delta("two"))) == [text_delta("two")]


def test_white_space_alone_that_was_told_before_is_not_told_again() -> None:
    splice = EventSplicer(ResumePlan({}, kept=1, joins=True, trimmed=" \n"), {})
    assert list(splice.events(block_start())) == []
    assert list(splice.events(text_delta(" "))) == []
    assert list(splice.events(text_delta("\n\nTwo"))) == [text_delta("\nTwo")]


def test_what_is_not_known_is_told_as_it_is() -> None:
    splice = EventSplicer(ResumePlan({}, kept=1, joins=True, trimmed=""), {})
    assert list(splice.events({"type": "news", "of": "the world"})) == [{"type": "news", "of": "the world"}]


def test_usage_adds_up_whatever_is_in_it() -> None:
    before = {"input_tokens": 3, "iterations": [1], "cache_creation": {"a": 1}, "service_tier": "standard", "new": None}
    before |= {"server_tool_use": {"web_search_requests": 2}, "inference_geo": "us", "odd": 1, "list": [1], "dict": {}}
    splice = EventSplicer(ResumePlan({}, kept=0, joins=False, trimmed=""), before)
    later = start()
    later["message"]["usage"] = {"input_tokens": None, "iterations": [2], "cache_creation": {"a": 2, "b": 1}}
    later["message"]["usage"] |= {"server_tool_use": None, "inference_geo": None, "odd": "many", "list": 5, "dict": 6}
    assert list(splice.events(later)) == []
    assert splice.usage() == {
        "input_tokens": 3,
        "iterations": [1, 2],
        "cache_creation": {"a": 3, "b": 1},
        "service_tier": "standard",
        "new": None,
        "server_tool_use": {"web_search_requests": 2},
        "inference_geo": "us",
        "odd": "many",
        "list": 5,
        "dict": 6,
    }


# Over sockets


def bodies(emulator: Emulator) -> list[dict[str, Any]]:
    return [request.body for request in emulator.requests]


def test_a_cut_answer_goes_on_from_a_prefill(connect: Callable[..., Client]) -> None:
    inbox, ledger = Inbox(), Ledger()
    with Emulator() as emulator:
        emulator.queue(Drop("One, two, three, ", after_events=6), "three, four, five.")
        chat = connect(emulator.url, max_retries=1, ledger=ledger).chat(**ask(), stream=inbox, resume=True)
        told = inbox.until_end()
        first, second = bodies(emulator)
    assert isinstance(told[-1], ChatDone)
    so_far = second["messages"][-1]["content"][0]["text"]
    assert second["messages"] == [*first["messages"], {"role": "assistant", "content": [text(so_far)]}]
    assert so_far == text_of(told[: told.index(next(m for m in told if isinstance(m, ChatResumed)))]).rstrip()
    assert {**second, "messages": first["messages"]} == first
    retrying = next(m for m in told if isinstance(m, ChatRetrying))
    resumed = next(m for m in told if isinstance(m, ChatResumed))
    assert told.index(retrying) < told.index(resumed)
    assert isinstance(retrying.error, TruncatedError)
    assert resumed == ChatResumed(chat, attempt=2, kept=1)
    answer: Any = told[-1].message
    assert answer["content"] == [text(text_of(told))]
    assert text_of(told).startswith(so_far)
    assert text_of(told).endswith("three, four, five.")
    assert answer == chat.result() == chat.snapshot()
    whole = accumulated([m.data for m in told if isinstance(m, ChatEvent)])
    assert whole.snapshot() == {**answer, "usage": whole.snapshot()["usage"]}  # type: ignore[index]
    assert told[-1].resumed
    assert told[-1].usage.estimate
    assert ledger.total() == told[-1].usage
    assert chat.attempts == 2


def test_a_model_without_prefill_is_asked_to_go_on(connect: Callable[..., Client]) -> None:
    with Emulator() as emulator:
        emulator.queue(Reset("One, two.", after_events=4), " Three.")
        client = connect(emulator.url, max_retries=1)
        answer: Any = client.chat(**ask(NEW), resume=True)
        _, second = bodies(emulator)
    assert second["messages"][-1] == {"role": "user", "content": PLEASE_GO_ON}
    assert second["messages"][-2]["role"] == "assistant"
    assert len(answer["content"]) == 1
    assert answer["content"][0]["text"].endswith(" Three.")


def test_a_stream_goes_on_too_and_its_text_is_whole(connect: Callable[..., Client]) -> None:
    with Emulator() as emulator:
        emulator.queue(Drop("One, two, three.", after_events=5), " Four.")
        with connect(emulator.url, max_retries=1).chat(**ask(NEW), stream=True, resume=True) as stream:
            pieces = "".join(stream.text)
            assert pieces == stream.message()["content"][0]["text"]  # type: ignore[typeddict-item]
    assert pieces.startswith("One")
    assert pieces.endswith(" Four.")


def test_the_rest_may_come_in_several_parts(connect: Callable[..., Client]) -> None:
    inbox, rest = Inbox(), Stall(" Three and four and five.", after_events=5)
    with Emulator() as emulator:
        emulator.queue(Drop("One, two.", after_events=4), rest)
        connect(emulator.url, max_retries=1).chat(**ask(NEW), stream=inbox, resume=True)
        inbox.until(ChatResumed)
        inbox.until(ChatEvent)
        emulator.release()
        inbox.until_end()
    done = inbox.messages[-1]
    assert isinstance(done, ChatDone)
    assert done.message["content"] == [text(text_of(inbox.messages))]


def test_an_answer_may_be_cut_again_and_again(connect: Callable[..., Client]) -> None:
    inbox = Inbox()
    with Emulator() as emulator:
        emulator.queue(*(Drop(f"{number} and so on and on", after_events=4) for number in range(3)), " end.")
        client = connect(emulator.url, max_retries=3)
        client.chat(**ask(NEW), stream=inbox, resume=True)
        told = inbox.until_end()
        last = bodies(emulator)[-1]
    done = told[-1]
    assert isinstance(done, ChatDone)
    assert [m.attempt for m in told if isinstance(m, ChatResumed)] == [2, 3, 4]
    said_so_far = last["messages"][-2]["content"][0]["text"]
    assert done.message["content"] == [text(said_so_far + " end.")]
    assert len(last["messages"]) == 3  # not one more turn for each cut
    assert done.message["usage"]["input_tokens"] > 3 * 10


def test_what_was_thought_or_called_in_part_is_void_and_its_index_is_used_again(connect: Callable[..., Client]) -> None:
    inbox = Inbox()
    call = Reply(["Let me see.", ToolCall("clock", {"zone": "UTC, or whatever it is that they have there"})])
    with Emulator() as emulator:
        emulator.queue(Drop(call, after_events=10), Reply([ToolCall("clock", {"zone": "UTC"})]))
        tools = [{"name": "clock", "input_schema": {"type": "object"}}]
        connect(emulator.url, max_retries=1).chat(**ask(NEW, tools=tools), stream=inbox, resume=True)
        told = inbox.until_end()
    done = told[-1]
    assert isinstance(done, ChatDone)
    blocks: Any = done.message["content"]
    assert [block["type"] for block in blocks] == ["text", "tool_use"]
    assert blocks[1]["input"] == {"zone": "UTC"}
    (resumed,) = [m for m in told if isinstance(m, ChatResumed)]
    assert resumed.kept == 1
    begun = [m.data["index"] for m in told if isinstance(m, ChatEvent) and m.data["type"] == "content_block_start"]
    assert begun == [0, 1, 1]


def test_an_answer_that_was_still_thinking_begins_anew(connect: Callable[..., Client]) -> None:
    inbox = Inbox()
    with Emulator() as emulator:
        emulator.queue(Drop(Reply([Thinking("Hm, hm, hm."), "Yes."]), after_events=4), Reply([Thinking("Ah."), "No."]))
        connect(emulator.url, max_retries=1).chat(**ask(NEW), stream=inbox, resume=True)
        told = inbox.until_end()
        first, second = bodies(emulator)
    assert first == second
    done = told[-1]
    assert isinstance(done, ChatDone)
    assert [block.get("thinking") or block.get("text") for block in done.message["content"]] == ["Ah.", "No."]


def test_an_error_in_the_stream_that_may_heal_is_gone_on_after(connect: Callable[..., Client]) -> None:
    with Emulator() as emulator:
        emulator.queue(ErrorEvent("One, two.", after_events=4), " Three.")
        answer: Any = connect(emulator.url, max_retries=1).chat(**ask(NEW), resume=True)
    assert answer["content"][0]["text"].endswith(" Three.")


def test_a_failure_before_the_rest_begins_is_retried_as_any_other(connect: Callable[..., Client]) -> None:
    inbox = Inbox()
    with Emulator() as emulator:
        emulator.queue(Drop("One, two.", after_events=4), Status(529), Drop(after_events=1), " Three.")
        connect(emulator.url, max_retries=3).chat(**ask(NEW), stream=inbox, resume=True)
        told = inbox.until_end()
        _, *others = bodies(emulator)
    assert isinstance(told[-1], ChatDone)
    assert [m.attempt for m in told if isinstance(m, ChatResumed)] == [4]
    assert others[0] == others[1] == others[2]


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (Drop("One, two.", after_events=4), {}),  # not asked for
        (Drop("One, two.", after_events=4), {"resume": False}),
        ([start(), block_start(0, **CALL), block_stop()], {"resume": True}),  # a whole call
        ([start(), block_start(), text_delta("One."), block_stop(), message_delta()], {"resume": True}),  # but its end
        (ErrorEvent("One, two.", type="invalid_request_error", after_events=4), {"resume": True}),
    ],
)
def test_an_answer_that_cannot_be_gone_on_with_fails_as_ever(
    connect: Callable[..., Client], first: Any, more: dict[str, Any]
) -> None:
    with Emulator() as emulator:
        emulator.queue(first, " Three.")
        with pytest.raises(APIError) as caught:
            connect(emulator.url, max_retries=2).chat(**ask(NEW), **more)
        assert len(emulator.requests) == 1
    assert caught.value.partial
    assert caught.value.partial["content"]


def test_when_no_attempt_is_left_the_error_has_all_that_arrived(connect: Callable[..., Client]) -> None:
    inbox = Inbox()
    with Emulator() as emulator:
        emulator.queue(Drop("One, two, three.", after_events=5), Drop(" Four, five, six.", after_events=5))
        connect(emulator.url, max_retries=1).chat(**ask(NEW), stream=inbox, resume=True)
        told = inbox.until_end()
    failed = told[-1]
    assert isinstance(failed, ChatFailed)
    assert failed.error.attempts == 2
    assert failed.error.partial is not None
    assert failed.error.partial["content"] == [text(text_of(told))]
    assert " Four" in text_of(told)
    assert failed.usage.estimate
    assert failed.usage.input_tokens > 20


def test_one_who_joins_after_the_cut_gets_one_answer(connect: Callable[..., Client]) -> None:
    inbox, late = Inbox(), Inbox()
    resumed = threading.Event()
    go_on = threading.Event()

    class Holding(Inbox):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            if isinstance(message, ChatResumed):
                resumed.set()
                go_on.wait(10)

    inbox = Holding()
    with Emulator() as emulator:
        emulator.queue(Drop("One, two.", after_events=4), " Three.")
        chat = connect(emulator.url, max_retries=1).chat(**ask(NEW), stream=inbox, resume=True)
        assert resumed.wait(10)
        chat.subscribe(late)
        go_on.set()
        inbox.until_end()
        told = late.until_end()
    assert not any(isinstance(m, ChatResumed) for m in told)
    assert text_of(told) == text_of(inbox.messages)
    whole = accumulated([m.data for m in told if isinstance(m, ChatEvent)]).snapshot()
    assert whole == {**told[-1].message, "usage": whole["usage"]}  # type: ignore[index]


def test_only_true_and_false_say_whether_to_go_on(connect: Callable[..., Client]) -> None:
    client = connect("http://127.0.0.1:1")
    with pytest.raises(ParameterError, match="resume: expected True or False, got 'yes'"):
        client.chat(**ask(), resume=cast("Any", "yes"))


def test_a_second_message_start_changes_nothing_in_a_second_answer_either() -> None:
    splice = EventSplicer(ResumePlan({}, kept=1, joins=True, trimmed=""), {"input_tokens": 10})
    for usage in ({"input_tokens": 3}, {"input_tokens": 99}, "odd"):
        assert list(splice.events({"type": "message_start", "message": {"usage": usage}})) == []
    assert splice.usage() == {"input_tokens": 13}


# What servers of another kind may send


@pytest.mark.parametrize(
    ("odd", "kept"),
    [
        ({"type": "text", "text": 5}, 1),
        ({"type": "text", "text": ["x"]}, 1),
        ({"type": ["thinking"]}, 2),
        ({"type": "odd", "tool_use_id": []}, 2),
        ({"type": "server_tool_use", "id": []}, 1),
    ],
)
def test_a_block_of_an_odd_shape_is_kept_or_dropped_without_an_error(odd: dict[str, Any], kept: int) -> None:
    found = plan_resume(ask(), {}, [PartialBlock(text("One"), open=False), PartialBlock(odd, open=False)])
    assert found is not None
    assert found.kept == kept


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "message_start"},
        {"type": "message_start", "message": []},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_start", "index": 0, "content_block": "x"},
        text_delta("x", index=-1),
        block_stop(-1),
    ],
)
def test_an_event_of_an_odd_shape_is_a_protocol_error_also_in_a_second_answer(odd: dict[str, Any]) -> None:
    """A negative index, moved behind the first answer's blocks, would be one of those."""
    splice = EventSplicer(ResumePlan({}, kept=1, joins=True, trimmed=""), {})
    with pytest.raises(ProtocolError, match="not of the API's shape"):
        list(splice.events(odd))


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "message_start", "message": {"usage": 5}},
        {"type": "message_delta", "delta": {}, "usage": 5},
        {"type": "metrics", "latency": 5},
        {"type": "message", "data": "[DONE]"},
    ],
)
def test_an_odd_value_in_a_second_answer_costs_itself(odd: dict[str, Any]) -> None:
    splice = EventSplicer(ResumePlan({}, kept=1, joins=False, trimmed=""), {"output_tokens": 4})
    told = list(splice.events(odd))
    assert [event.get("usage", {"output_tokens": 4}) for event in told] == [{"output_tokens": 4}] * len(told)
    assert splice.usage() == {"output_tokens": 4}


@pytest.mark.parametrize("first", [0, 1, 7, None])
@pytest.mark.parametrize("joins", [True, False])
def test_a_second_answer_goes_on_whatever_it_calls_its_first_block(first: Any, *, joins: bool) -> None:
    begun = {"type": "content_block_start", "content_block": text("")} | ({} if first is None else {"index": first})
    index = first or 0
    second = [start(), begun, text_delta("three.", index), block_stop(index), message_delta()]
    answer = accumulated([start(), block_start(), text_delta("One, two, "), *([] if joins else [block_stop()])])
    more = plan_resume(ask(), {}, answer.partial_blocks())
    assert more is not None
    splice = EventSplicer(more, {})
    answer.resume_from(more.kept, {})
    told = [event for each in second for event in splice.events(each)]
    for event in told:
        answer.add(event)
    said: Any = answer.snapshot()
    assert [block["text"] for block in said["content"]] == (["One, two, three."] if joins else ["One, two, ", "three."])


def test_a_second_answer_may_use_an_index_twice() -> None:
    """As some servers do; a call whose index is the text's own, and what goes on in that text afterwards."""
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    piece = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'},
    }
    begun = {"type": "content_block_start", "index": 0, "content_block": text("")}
    again = {"type": "content_block_start", "index": 0, "content_block": call}
    second = [start(), begun, text_delta("three."), again, piece, block_stop(0), message_delta()]
    answer = accumulated([start(), block_start(), text_delta("One, two, ")])
    more = plan_resume(ask(), {}, answer.partial_blocks())
    assert more is not None
    splice = EventSplicer(more, {})
    answer.resume_from(more.kept, {})
    for each in second:
        for event in splice.events(each):
            answer.add(event)
    said: Any = answer.snapshot()
    assert [block.get("text") or block["input"] for block in said["content"]] == ["One, two, three.", {"a": 1}]
