"""What answers cost, in tokens: of real answers, of cut ones, and of anything else that claims to be one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors.chat.accumulate import RAW_INPUT, Accumulator
from anthropix_actors.errors import OverloadedError
from anthropix_actors.usage import (
    UNKNOWN_MODEL,
    Usage,
    begun,
    is_refusal,
    per_model,
    spent_before,
    spent_on_failure,
)

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = [name for name in Usage.__struct_fields__ if name != "estimate"]
COUNT = st.integers(0, 10**9)
USAGES = st.builds(Usage, **dict.fromkeys(COUNTS, COUNT), estimate=st.booleans())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
ODD_BLOCKS = st.dictionaries(st.sampled_from(["type", "text", "thinking", "data", "input", "content", RAW_INPUT]), JSON)
ODD_USAGES = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "cache_creation", "server_tool_use", "iterations"]), JSON
)
ODD_MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "model": JSON,
        "stop_reason": JSON,
        "content": JSON | st.lists(ODD_BLOCKS),
        "usage": JSON | ODD_USAGES,
    },
)


class Raises(dict[str, Any]):
    def items(self) -> Any:
        raise ArithmeticError("mine")


def answer(*content: Any, usage: Any = None, stop_reason: str | None = "end_turn", model: Any = "m") -> dict[str, Any]:
    return {"model": model, "stop_reason": stop_reason, "content": list(content), "usage": usage}


def recorded(corpus: Path, name: str) -> dict[str, Any]:
    message = json.loads((corpus / name).read_text())
    message = message.get("message", message)
    assert isinstance(message, dict)
    return message


def all_recorded(corpus: Path) -> dict[str, dict[str, Any]]:
    files = [*corpus.glob("messages/*.json"), *corpus.glob("streams/*.expected.json")]
    found = {path.name: recorded(corpus, str(path)) for path in files}
    return {name: message for name, message in found.items() if "usage" in message}


def events_of(corpus: Path, name: str) -> list[dict[str, Any]]:
    lines = (corpus / "streams" / f"{name}.sse").read_text().splitlines()
    return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


@given(USAGES, USAGES, USAGES)
def test_usages_add_up_in_any_order(one: Usage, two: Usage, three: Usage) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + Usage() == one == Usage() + one
    assert sum([one, two, three]) == sum([three, one, two], Usage()) == one + two + three


@given(USAGES, USAGES)
def test_every_count_of_a_sum_is_the_sum_of_the_counts(one: Usage, two: Usage) -> None:
    both = one + two
    for name in [*COUNTS, "total_tokens", "cache_creation_input_tokens"]:
        assert getattr(both, name) == getattr(one, name) + getattr(two, name)
    assert both.estimate == (one.estimate or two.estimate)


def test_a_total_has_all_tokens_once() -> None:
    usage = Usage(1, 10, 100, 1000, 10_000, 7, 7, 7, 7)
    assert usage.cache_creation_input_tokens == 1100
    assert usage.total_tokens == 11_111


@pytest.mark.parametrize("other", [1, "x", None, 0.5])
def test_only_usages_add_up(other: Any) -> None:
    with pytest.raises(TypeError):
        _ = Usage() + other
    with pytest.raises(TypeError):
        _ = other + Usage()


def test_everything_that_an_answer_reports_is_read() -> None:
    wire = {
        "input_tokens": 1,
        "output_tokens": 20,
        "cache_creation_input_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        "cache_read_input_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 6},
        "server_tool_use": {"web_search_requests": 8, "web_fetch_requests": 9},
        "service_tier": "standard",
    }
    assert Usage.of(answer(usage=wire)) == Usage(
        input_tokens=1,
        output_tokens=20,
        cache_creation_5m_input_tokens=3,
        cache_creation_1h_input_tokens=4,
        cache_read_input_tokens=5,
        thinking_tokens=6,
        web_search_requests=8,
        web_fetch_requests=9,
    )


@pytest.mark.parametrize(
    ("total", "breakdown", "short", "long"),
    [
        (7, None, 7, 0),
        (7, {}, 7, 0),
        (7, {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0}, 7, 0),
        (7, {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 3}, 0, 7),
        (7, {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 1}, 0, 7),
        (7, {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}, 4, 3),
        (None, {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}, 2, 3),
    ],
)
def test_what_was_cached_is_counted_where_its_breakdown_has_less(
    total: int | None, breakdown: Any, short: int, long: int
) -> None:
    usage = Usage.of(answer(usage={"cache_creation_input_tokens": total, "cache_creation": breakdown}))
    assert (usage.cache_creation_5m_input_tokens, usage.cache_creation_1h_input_tokens) == (short, long)


def test_recorded_answers_cost_what_they_report(corpus: Path) -> None:
    messages = all_recorded(corpus)
    assert len(messages) > 90
    for name, message in messages.items():
        wire, usage = message["usage"], Usage.of(message, complete=True)
        iterations = wire.get("iterations") or []
        billed = [wire, *(entry for entry in iterations if entry["type"] in {"compaction", "advisor_message"})]
        for key in ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"):
            assert getattr(usage, key) == sum(entry.get(key) or 0 for entry in billed), (name, key)
        assert Usage.of(message).estimate is (message.get("stop_reason") is None), name
        assert usage.thinking_tokens <= usage.output_tokens


def test_a_compaction_is_billed_on_top_and_on_the_same_model(corpus: Path) -> None:
    message = recorded(corpus, "streams/anthropic-anthropic-compaction-usage-with-cache-streaming.expected.json")
    assert per_model(message) == {
        "claude-sonnet-4-6": Usage(
            input_tokens=181 + 100,
            output_tokens=8 + 83,
            cache_read_input_tokens=55_096,
            compaction_tokens=100 + 83 + 55_096,
        )
    }


def test_an_advisor_is_billed_on_its_own_model(corpus: Path) -> None:
    message = recorded(corpus, "messages/anthropic-anthropic-advisor-tool.json")
    assert per_model(message) == {
        "claude-sonnet-5": Usage(input_tokens=2390, output_tokens=121, thinking_tokens=28),
        "claude-opus-4-8": Usage(input_tokens=2518, output_tokens=22),
    }
    assert Usage.of(message).total_tokens == 2390 + 121 + 2518 + 22


def test_a_model_that_stepped_in_is_billed_and_the_one_that_declined_is_not(corpus: Path) -> None:
    message = recorded(corpus, "streams/anthropic-fallback.expected.json")
    assert per_model(message) == {"claude-opus-4-8": Usage(input_tokens=412, output_tokens=264)}


def test_an_advisor_of_the_same_model_adds_to_it() -> None:
    iterations = [
        {"type": "advisor_message", "model": "m", "input_tokens": 1},
        {"type": "advisor_message", "input_tokens": 2},
        {"type": "something new", "input_tokens": 3},
    ]
    models = per_model(answer(usage={"input_tokens": 10, "iterations": iterations}))
    assert models == {"m": Usage(input_tokens=11), UNKNOWN_MODEL: Usage(input_tokens=2)}


@pytest.mark.parametrize(
    ("block", "tokens", "thinking"),
    [
        ({"type": "text", "text": "Once upon a time"}, 4, 0),
        ({"type": "text", "text": "Once upon a time!"}, 5, 0),
        ({"type": "text", "text": "日本語で話す"}, 5, 0),
        ({"type": "text", "text": "\ud800"}, 1, 0),
        ({"type": "thinking", "thinking": "Once upon a time", "signature": "x" * 400}, 4, 4),
        ({"type": "redacted_thinking", "data": "x" * 16}, 4, 4),
        ({"type": "tool_use", "input": {}, RAW_INPUT: '{"city": "Berge'}, 44, 0),
        ({"type": "tool_use", "input": {"city": "Bergen"}}, 45, 0),
        ({"type": "tool_use", "input": {"city": "日本"}}, 45, 0),  # not in escapes
        ({"type": "server_tool_use", "input": {"city": "Bergen"}}, 45, 0),
        ({"type": "tool_use", "input": {}}, 40, 0),
        ({"type": "tool_use", "input": {"x": {1, 2}}}, 40, 0),
        ({"type": "tool_use", "input": Raises(x=1)}, 40, 0),
        ({"type": "compaction", "content": "Once upon a time"}, 4, 0),
        ({"type": "web_search_tool_result", "content": [{"title": "x" * 400}]}, 0, 0),
    ],
)
def test_a_cut_answer_is_estimated_from_what_arrived(block: Any, tokens: int, thinking: int) -> None:
    cut = answer(block, usage={"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 0}, stop_reason=None)
    assert Usage.of(cut) == Usage(
        input_tokens=10, cache_read_input_tokens=5, output_tokens=tokens, thinking_tokens=thinking, estimate=True
    )


def test_an_estimate_is_never_below_what_was_reported() -> None:
    reported = {"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20}}
    usage = Usage.of(answer({"type": "thinking", "thinking": "x" * 40}, usage=reported, stop_reason=None))
    assert usage == Usage(output_tokens=50, thinking_tokens=20, estimate=True)


def test_an_answer_that_is_known_to_be_whole_is_not_estimated() -> None:
    """Other servers leave out the stop reason."""
    whole = answer({"type": "text", "text": "x" * 400}, usage={"output_tokens": 1}, stop_reason=None)
    assert Usage.of(whole, complete=True) == Usage(output_tokens=1)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (12.0, 12),
        (10**9, 10**9),
        (10**9 + 1, 10**9),
        (10**400, 10**9),
        (1e300, 10**9),
        *[(odd, 0) for odd in (True, -1, -1e300, 0.5, float("nan"), float("inf"), "12", None, [12], {"n": 12})],
    ],
)
def test_a_count_is_taken_for_what_it_may_be(count: Any, expected: int) -> None:
    wire = {
        "input_tokens": count,
        "output_tokens": count,
        "cache_read_input_tokens": count,
        "cache_creation_input_tokens": count,
        "server_tool_use": {"web_search_requests": count},
        "iterations": [{"type": "compaction", "output_tokens": count}],
    }
    usage = Usage.of(answer(usage=wire))
    assert usage.input_tokens == usage.cache_read_input_tokens == usage.web_search_requests == expected
    assert usage.cache_creation_5m_input_tokens == usage.compaction_tokens == expected
    assert usage.output_tokens == 2 * expected


@pytest.mark.parametrize("message", ["text", 5, [], object()])
def test_what_is_no_answer_costs_nothing(message: Any) -> None:
    assert per_model(message) == {}


def test_an_error_whose_partial_is_no_message_is_a_refusal_all_the_same() -> None:
    error: Any = OverloadedError("busy", status=529)
    error.partial = "text"
    assert is_refusal(error)
    assert spent_on_failure(error) == Usage()


class Chat:
    def __init__(self, lost: Any) -> None:
        self.lost = lost


def test_what_earlier_attempts_lost_is_an_estimate() -> None:
    events: list[Any] = [
        {"type": "ping"},
        {"type": "message_start", "message": answer(usage={"input_tokens": 7}, model="a")},
    ]
    (begun_,) = begun(events)
    assert (begun_["content"], begun_["stop_reason"]) == ([], None)
    assert spent_before(Chat((begun_, begun_))) == Usage(input_tokens=14, estimate=True)
    assert begun([{"type": "message_start", "message": None}]) == ({"content": [], "stop_reason": None},)


@pytest.mark.parametrize("chat", [None, "text", Chat(None), Chat([{"usage": {"input_tokens": 7}}])])
def test_what_is_no_chat_of_ours_lost_nothing(chat: Any) -> None:
    assert spent_before(chat) == Usage()


def test_nothing_that_arrived_costs_nothing() -> None:
    assert Usage.of(None) == Usage()
    assert per_model(None) == {}
    assert Usage.of({}) == Usage(estimate=True)


@pytest.mark.parametrize("name", ["anthropic-tools", "claude-sonnet-4-0-reasoning-streaming", "anthropic-mcp-1"])
def test_a_cut_anywhere_costs_no_less_than_a_cut_before(corpus: Path, name: str) -> None:
    accumulator, before = Accumulator(), Usage()
    for event in events_of(corpus, name):
        accumulator.add(event)
        usage = Usage.of(accumulator.snapshot())
        if not usage.estimate and before.estimate:  # the whole story came
            break
        assert usage.output_tokens >= before.output_tokens
        assert usage.input_tokens >= before.input_tokens
        before = usage
    assert Usage.of(accumulator.snapshot()).estimate is False
    assert before.output_tokens > 0


def test_an_estimate_is_near_the_truth(corpus: Path) -> None:
    """Over many answers, those left out whose thinking is billed and not shown."""
    truth = guess = 0
    for path in sorted(corpus.glob("streams/*.expected.json")):
        message = json.loads(path.read_text()).get("message")
        if message is None or Usage.of(message).thinking_tokens:
            continue
        cut = {**message, "stop_reason": None, "usage": {**message["usage"], "output_tokens": 0, "iterations": None}}
        truth += message["usage"]["output_tokens"]
        guess += Usage.of(cut).output_tokens
    assert 0.7 < guess / truth < 1.4


@given(ODD_MESSAGES, st.booleans())
def test_nothing_that_claims_to_be_an_answer_is_an_error(message: dict[str, Any], complete: bool) -> None:  # noqa: FBT001
    models = per_model(message, complete=complete)
    assert sum(models.values(), Usage()) == Usage.of(message, complete=complete)
    for usage in models.values():
        assert all(getattr(usage, name) >= 0 for name in COUNTS)
    for model in models:
        assert model


def test_input_that_is_nested_too_deeply_is_not_an_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert Usage.of(answer({"type": "tool_use", "input": deep}, stop_reason=None)).output_tokens == 40
