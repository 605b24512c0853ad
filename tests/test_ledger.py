"""Totals over many chats: nothing is lost, nothing counts twice."""

from __future__ import annotations

import json
import math
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import (
    APIConnectionError,
    APIStatusError,
    CancelledError,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatRetrying,
    Client,
    OverloadedError,
    ParameterError,
    Problem,
    TruncatedError,
)
from anthropix_actors.emulator import Drop, Pace, Status
from anthropix_actors.ledger import Cost, Ended, Ledger, Price
from anthropix_actors.messages import BatchDone, BatchResult
from anthropix_actors.usage import UNKNOWN_MODEL, Usage

from actors import ASK, Inbox
from servers import (
    DEADLINE,
    Peer,
    Server,
    block_start,
    chunks,
    error_body,
    head,
    json_answer,
    start,
    stream_of,
    text_delta,
)
from servers import answer as whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anthropix_actors.emulator import Emulator

MILLION = 1_000_000
TEXT = {"type": "text", "text": "Once upon a time"}

counts = st.integers(0, 10**7)
usages = st.fixed_dictionaries(
    {
        "input_tokens": counts,
        "output_tokens": counts,
        "cache_creation_input_tokens": counts,
        "cache_read_input_tokens": counts,
        "server_tool_use": st.fixed_dictionaries({"web_search_requests": st.integers(0, 9)}),
        "service_tier": st.sampled_from([None, "standard", "batch", "priority"]),
        "speed": st.sampled_from([None, "standard", "fast"]),
        "iterations": st.lists(
            st.fixed_dictionaries(
                {"type": st.just("advisor_message"), "model": st.just("adviser"), "input_tokens": counts}
            ),
            max_size=2,
        ),
    }
)
messages = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["a", "b", "a-20251001"]),
        "stop_reason": st.sampled_from(["end_turn", None]),
        "content": st.just([TEXT]),
        "usage": usages,
    }
)
tags = st.none() | st.sampled_from(["x", "y"])


def work(tag: str | None = None, attempts: int = 1) -> Any:
    """Get what stands for a chat: a ledger asks it for no more."""
    return SimpleNamespace(tag=tag, attempts=attempts)


def answer(model: str = "a", *, stop_reason: str | None = "end_turn", content: Any = (), **usage: Any) -> Any:
    return {"model": model, "stop_reason": stop_reason, "content": list(content), "usage": usage}


def failure(error: Any, *, partial: Any = None, attempts: int = 1) -> Any:
    error.partial, error.attempts = partial, attempts
    return error


def ending(message: Any, tag: str | None) -> Any:
    """Say how a chat ended that had this answer."""
    if message["stop_reason"]:
        return ChatDone(work(tag), message)
    if message["model"] == "a":
        return ChatCancelled(work(tag), "enough", message)
    return ChatFailed(work(tag), failure(TruncatedError("cut"), partial=message))


def test_a_new_ledger_is_empty() -> None:
    ledger = Ledger()
    assert ledger.total() == Usage()
    assert ledger.by_model() == ledger.by_tag() == {}
    assert ledger.chats == Ended()
    assert ledger.cost() == Cost(amount=0.0, unpriced=(), estimate=False)


@given(st.lists(st.tuples(messages, tags)))
def test_the_parts_make_the_total_in_any_order(ended: list[tuple[Any, str | None]]) -> None:
    prices: Any = {"a": Price(1.5, 7), ("b", "batch"): Price(0.1, 0.3, 0.2, 0.7, 0.01, 0.01)}
    ledger, backwards = Ledger(prices), Ledger(prices)
    for message, tag in ended:
        ledger.tell(ending(message, tag))
    for message, tag in reversed(ended):
        backwards.tell(ending(message, tag))
    expected = sum((Usage.of(message) for message, _ in ended), Usage())
    assert ledger.total() == expected
    assert sum(ledger.by_model().values(), Usage()) == expected
    assert sum(ledger.by_tag().values(), Usage()) == expected
    assert set(ledger.by_tag()) == {tag for _, tag in ended}
    chats = ledger.chats
    assert chats.done + chats.failed + chats.cancelled == len(ended)
    assert ledger.cost() == backwards.cost()
    assert ledger.by_model() == backwards.by_model()


def test_an_adviser_is_counted_under_its_own_model(corpus: Path) -> None:
    message = json.loads((corpus / "messages/anthropic-anthropic-advisor-tool.json").read_text())
    ledger = Ledger({"claude-sonnet-5": Price(3, 15), "claude-opus-4-8": Price(5, 25)})
    ledger.tell(ChatDone(work("advised"), message))
    assert ledger.by_model()["claude-opus-4-8"] == Usage(input_tokens=2518, output_tokens=22)
    assert ledger.by_tag() == {"advised": Usage.of(message)}
    cost = ledger.cost()
    assert math.isclose(cost.amount, (2390 * 3 + 121 * 15 + 2518 * 5 + 22 * 25) / MILLION)
    assert not cost.unpriced


def test_an_adviser_is_no_faster_for_an_answer_in_fast_mode() -> None:
    advice = {"type": "advisor_message", "model": "b", "input_tokens": MILLION}
    ledger = Ledger({("a", "fast"): Price(30, 150), "b": Price(5, 25)})
    ledger.add(answer(input_tokens=MILLION, speed="fast", iterations=[advice]))
    assert ledger.cost() == Cost(35.0, (), estimate=False)


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        ({"input_tokens": MILLION}, 1),
        ({"output_tokens": MILLION}, 2),
        ({"output_tokens": MILLION, "output_tokens_details": {"thinking_tokens": MILLION}}, 2),
        ({"cache_creation_input_tokens": MILLION}, 4),
        ({"cache_creation": {"ephemeral_1h_input_tokens": MILLION}}, 8),
        ({"cache_read_input_tokens": MILLION}, 16),
        ({"server_tool_use": {"web_search_requests": 2}}, 64),
        ({"server_tool_use": {"web_fetch_requests": 2}}, 0),
        ({"iterations": [{"type": "compaction", "input_tokens": MILLION, "output_tokens": MILLION}]}, 3),
    ],
)
def test_each_kind_of_token_has_its_price(usage: dict[str, Any], amount: float) -> None:
    ledger = Ledger({"a": Price(1, 2, cache_write_5m=4, cache_write_1h=8, cache_read=16, web_search=32)})
    ledger.add(answer(**usage))
    assert ledger.cost() == Cost(amount, (), estimate=False)


@pytest.mark.parametrize(
    ("model", "tier", "key"),
    [
        ("claude-haiku-4-5", None, "claude-haiku-4-5"),
        ("claude-haiku-4-5-20251001", None, "claude-haiku-4-5"),
        ("claude-haiku-4-5@20251001", "standard", "claude-haiku-4-5"),
        ("claude-haiku-4-5", "standard", ("claude-haiku-4-5", "standard")),
        ("claude-haiku-4-5-20251001", "batch", ("claude-haiku-4-5", "batch")),
        ("claude-opus-4-8", "priority", ("claude-opus-4-8", "priority")),
        ("claude-3-haiku-20240307", None, "claude-3-haiku-20240307"),
    ],
)
def test_a_price_is_found_by_model_and_tier_and_without_the_date(model: str, tier: str | None, key: Any) -> None:
    ledger = Ledger({key: Price(1, 2)})
    ledger.add(answer(model, input_tokens=MILLION, service_tier=tier))
    assert ledger.cost() == Cost(1.0, (), estimate=False)


def test_the_name_as_it_is_goes_before_the_name_without_its_date() -> None:
    ledger = Ledger({"claude-x": Price(1, 1), "claude-x-20251001": Price(3, 3)})
    ledger.add(answer("claude-x-20251001", input_tokens=MILLION))
    assert ledger.cost().amount == 3


def test_what_has_no_price_is_named() -> None:
    ledger = Ledger({"a": Price(1, 2), ("d", "batch"): Price(1, 2)})
    ledger.add(answer("a", input_tokens=MILLION))
    ledger.add(answer("a", input_tokens=MILLION, service_tier="batch"))
    ledger.add(answer("b-20251001", output_tokens=1))
    ledger.add(answer("c", speed="fast", server_tool_use={"web_search_requests": 1}))
    ledger.add(answer("d", input_tokens=1))
    ledger.add(answer("e"))  # costs nothing, whatever the price
    unpriced = ledger.cost().unpriced
    assert ledger.cost().amount == 1
    assert set(unpriced) == {("a", "batch"), "b-20251001", ("c", "fast"), "d"}
    assert len(unpriced) == 4


def test_what_a_price_lacks_is_named_and_the_rest_is_counted() -> None:
    ledger = Ledger({"a": Price(1, 2)})
    ledger.add(answer(input_tokens=MILLION, cache_read_input_tokens=5))
    assert ledger.cost() == Cost(1.0, ("a",), estimate=False)


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (OverloadedError("busy", status=529), Ended(failed=1)),
        (APIConnectionError("refused"), Ended(failed=1)),
        (ParameterError([Problem("model", "expected a string")]), Ended(failed=1)),
        (CancelledError("too late"), Ended(cancelled=1)),
    ],
)
def test_what_was_refused_or_never_sent_costs_nothing(error: Any, ended: Ended) -> None:
    error.attempts = 1 if isinstance(error, APIStatusError) else 0
    ledger = Ledger()
    ledger.tell(ChatFailed(work("x"), error))
    assert ledger.total() == Usage()
    assert ledger.by_tag() == {}
    assert ledger.chats == ended


def test_a_connection_that_was_never_made_costs_nothing() -> None:
    error = failure(APIConnectionError("refused"))
    error.unsent = True
    ledger = Ledger()
    ledger.add(error)
    assert ledger.total() == Usage()


def test_an_error_in_a_stream_before_any_content_costs_nothing() -> None:
    begun = answer(stop_reason=None, input_tokens=100)
    ledger = Ledger()
    ledger.tell(ChatFailed(work(), failure(OverloadedError("busy", status=200, in_stream=True), partial=begun)))
    assert ledger.total() == Usage()


def test_an_error_in_the_middle_of_an_answer_costs_what_arrived() -> None:
    begun = answer(stop_reason=None, content=[TEXT], input_tokens=100, output_tokens=1)
    ledger = Ledger({"a": Price(1, 1)})
    ledger.tell(ChatFailed(work(), failure(OverloadedError("busy", status=200, in_stream=True), partial=begun)))
    assert ledger.by_model() == {"a": Usage(input_tokens=100, output_tokens=4, estimate=True)}
    assert ledger.cost().estimate


def test_what_may_have_been_read_is_an_estimate_of_nothing() -> None:
    ledger = Ledger()
    ledger.tell(ChatFailed(work("x"), failure(APIConnectionError("reset"))))
    assert ledger.by_model() == {UNKNOWN_MODEL: Usage(estimate=True)}
    assert ledger.by_tag() == {"x": Usage(estimate=True)}
    assert ledger.cost() == Cost(0.0, (), estimate=True)


@pytest.mark.parametrize(("attempts", "estimate"), [(0, False), (1, True)])
def test_a_chat_that_is_cancelled_before_any_answer_may_cost_something_if_it_was_sent(
    attempts: int, *, estimate: bool
) -> None:
    ledger = Ledger()
    ledger.tell(ChatCancelled(work(attempts=attempts), "enough", None))
    assert ledger.total() == Usage(estimate=estimate)
    assert ledger.chats == Ended(cancelled=1)


def test_an_answer_that_broke_off_after_its_totals_is_not_an_estimate() -> None:
    ledger = Ledger()
    ledger.add(failure(TruncatedError("no message_stop"), partial=answer(output_tokens=7)), "x")
    assert ledger.by_tag() == {"x": Usage(output_tokens=7)}


def test_a_whole_answer_without_a_stop_reason_counts_as_it_is() -> None:
    ledger = Ledger()
    ledger.tell(ChatDone(work(), answer(stop_reason=None, content=[TEXT], output_tokens=1)))
    assert ledger.total() == Usage(output_tokens=1)


def test_results_of_a_batch_are_counted_when_they_succeeded() -> None:
    batch, half = work("nightly"), Price(0.5, 1)
    ledger = Ledger({("a", "batch"): half, ("b", "batch"): half})
    ledger.tell(BatchResult(batch, "1", {"type": "succeeded", "message": answer("a", input_tokens=MILLION)}))
    said = answer("b", input_tokens=MILLION, service_tier="batch")
    ledger.tell(BatchResult(batch, "2", {"type": "succeeded", "message": said}))
    ledger.tell(BatchResult(batch, "3", {"type": "errored", "error": {}}))
    ledger.tell(BatchResult(batch, "4", {"type": "expired"}))
    assert ledger.chats == Ended(done=2)
    assert ledger.by_tag() == {"nightly": Usage(input_tokens=2 * MILLION)}
    assert ledger.cost() == Cost(1.0, (), estimate=False)


@pytest.mark.parametrize(
    "message",
    [
        ChatEvent(work(), {"type": "message_stop"}),
        ChatRetrying(work(), 1, 0.5, APIConnectionError("reset")),
        BatchDone(work(), {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0}),
        None,
        "anything",
        {"type": "message"},
    ],
)
def test_other_messages_change_nothing(message: Any) -> None:
    ledger = Ledger()
    ledger.tell(message)
    assert ledger.chats == Ended()
    assert ledger.total() == Usage()


@pytest.mark.parametrize("message", [{}, {"usage": None}, {"usage": {"input_tokens": "many"}}, None, "text"])
def test_an_odd_answer_is_counted_as_a_chat(message: Any) -> None:
    ledger = Ledger()
    ledger.tell(ChatDone(work(), message))
    assert ledger.chats == Ended(done=1)
    assert ledger.total() == Usage()


HUGE = 10**400
ODD = [None, True, -5, 0.5, float("nan"), float("inf"), HUGE, "12", [], {}, [[]], object()]


class Raising(dict[str, Any]):
    def get(self, *_: Any) -> Any:
        raise ArithmeticError("mine")


class Hidden:
    """Work whose every attribute raises."""

    def __getattribute__(self, name: str) -> Any:
        raise ArithmeticError(name)


@pytest.mark.parametrize("odd", ODD)
def test_no_answer_however_odd_fails_a_ledger(odd: Any) -> None:
    ledger = Ledger({"a": Price(1, 2, 3, 4, 5, 6)})
    advice = {"type": "advisor_message", "model": odd, "input_tokens": odd}
    usages: list[Any] = [
        odd,
        dict.fromkeys(("input_tokens", "output_tokens", "cache_creation_input_tokens", "service_tier", "speed"), odd),
        {"iterations": odd, "cache_creation": odd, "server_tool_use": odd, "output_tokens_details": odd},
        {"iterations": [odd, advice, {"type": odd}], "server_tool_use": {"web_search_requests": odd}},
    ]
    messages = [odd, *(answer("a") | {"usage": usage, "content": odd, "stop_reason": odd} for usage in usages)]
    for message in messages:
        ledger.tell(ChatDone(work(), message))
        ledger.tell(ChatCancelled(work(attempts=odd), "enough", message))
        ledger.tell(ChatFailed(work(), failure(TruncatedError("cut"), partial=message)))
        ledger.tell(BatchResult(work(), "1", {"type": "succeeded", "message": message}))
        ledger.add(message)
    assert ledger.chats == Ended(done=15, failed=5, cancelled=5)
    assert math.isfinite(ledger.cost().amount)


@pytest.mark.parametrize(
    "message",
    [
        ChatDone(Hidden(), answer(input_tokens=1)),  # type: ignore[arg-type]
        ChatDone(work(), Raising()),  # type: ignore[arg-type]
        ChatFailed(work(), None),  # type: ignore[arg-type]
        BatchResult(work(), "1", Raising(type="succeeded", message={})),  # type: ignore[arg-type]
    ],
)
def test_a_message_that_raises_is_logged_and_the_others_are_counted(
    message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    ledger.tell(message)
    ledger.tell(ChatDone(work("x"), answer(input_tokens=1)))
    assert ledger.chats == Ended(done=1)
    assert ledger.by_tag() == {"x": Usage(input_tokens=1)}
    assert [record.message for record in caplog.records] == [f"a ledger could not count a {type(message).__name__}"]


@pytest.mark.parametrize(("tag", "key"), [(["a"], "['a']"), (("a", 1), ("a", 1)), (5, 5)])
def test_a_tag_of_any_kind_is_one(tag: Any, key: Any) -> None:
    ledger = Ledger()
    ledger.tell(ChatDone(work(tag), answer(input_tokens=1)))
    ledger.add(answer(input_tokens=1), tag)
    assert ledger.by_tag() == {key: Usage(input_tokens=2)}


def test_what_earlier_attempts_lost_is_counted_by_the_model_that_began() -> None:
    lost: Any = ({"model": "b", "content": [], "stop_reason": None, "usage": {"input_tokens": 7}},)
    ledger = Ledger()
    chat = work("x")
    chat.lost = lost
    ledger.tell(ChatDone(chat, answer("a", input_tokens=1)))
    ledger.tell(ChatCancelled(chat, "enough", None))
    ledger.tell(ChatFailed(chat, failure(OverloadedError("busy", status=529))))
    assert ledger.by_model() == {
        "a": Usage(input_tokens=1),
        "b": Usage(input_tokens=21, estimate=True),
        UNKNOWN_MODEL: Usage(estimate=True),
    }
    assert ledger.chats == Ended(done=1, failed=1, cancelled=1)


def cut(*events: Any) -> tuple[bytes, ...]:
    """Get an answer that begins so and breaks off."""
    return head(), chunks(events), b"not a chunk"


@pytest.mark.parametrize("end", ["done", "failed", "cancelled", "overloaded"])
def test_an_attempt_that_is_cut_after_its_beginning_and_made_again_is_counted(
    connect: Callable[..., Client], end: str
) -> None:
    ends = {
        "done": (head(), chunks(whole("Hi")), b"0\r\n\r\n"),
        "failed": cut(start(), block_start(), text_delta("12345678")),
        "cancelled": (head(), chunks([start(), block_start(), text_delta("12345678")])),
        "overloaded": (json_answer("529 Overloaded", error_body("overloaded_error")),),
    }

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*(cut(start(input_tokens=100)) if peer.number == 1 else ends[end]))
        if end == "cancelled" and peer.number == 2:
            peer.wait_for_hang_up()

    ledger, inbox = Ledger(), Inbox()
    with Server(script) as server:
        client = connect(server, max_retries=1, ledger=ledger)
        chat = client.chat(**ASK, stream=inbox)
        if end == "cancelled":
            while not isinstance(message := inbox.next(), ChatEvent) or "delta" not in message.data:
                pass
            chat.cancel()
        terminal = inbox.until_end()[-1]
    assert [begun["usage"]["input_tokens"] for begun in chat.lost] == [100]
    expected = {"done": (103, 10), "failed": (103, 3), "cancelled": (103, 3), "overloaded": (100, 1)}[end]
    for usage in (terminal.usage, ledger.total()):
        assert (usage.input_tokens, usage.output_tokens, usage.estimate) == (*expected, True)
    assert ledger.by_model() == {"claude-test": terminal.usage}


def test_an_overload_right_after_the_beginning_costs_nothing(connect: Callable[..., Client]) -> None:
    overloaded = error_body("overloaded_error") | {"type": "error"}

    def script(peer: Peer) -> None:
        while peer.read_request():
            events = [start(input_tokens=100), overloaded] if first.acquire(blocking=False) else whole("Hi")
            peer.send(stream_of(*events))

    first, inbox = threading.Semaphore(1), Inbox()
    with Server(script) as server:
        chat = connect(server, max_retries=1).chat(**ASK, stream=inbox)
        terminal = inbox.until_end()[-1]
    assert chat.attempts == 2
    assert chat.lost == ()
    assert terminal.usage == Usage(input_tokens=3, output_tokens=9)


def test_work_without_a_tag_is_counted_under_none() -> None:
    chat: Any = object()
    ledger = Ledger()
    ledger.tell(ChatDone(chat, answer(input_tokens=1)))
    assert ledger.by_tag() == {None: Usage(input_tokens=1)}


def test_a_wrong_price_table_is_refused_with_all_that_is_wrong() -> None:
    prices: Any = {
        "": Price(1, 2),
        ("a", "batch", "x"): Price(1, 2),
        "b": 3,
        "c": Price(-1, math.nan, cache_read=math.inf),
        "d": Price(True, "2"),  # type: ignore[arg-type] # noqa: FBT003
        "e": Price(None, 0),  # type: ignore[arg-type]
        "f": Price(HUGE, 0),
    }
    with pytest.raises(ParameterError) as caught:
        Ledger(prices)
    assert [str(problem) for problem in caught.value.problems] == [
        "prices['']: expected a model, or a model and a tier, as the key",
        "prices[('a', 'batch', 'x')]: expected a model, or a model and a tier, as the key",
        "prices['b']: expected a Price, got int",
        "prices['c'].input: expected dollars, 0 or more, got -1",
        "prices['c'].output: expected dollars, 0 or more, got nan",
        "prices['c'].cache_read: expected dollars, 0 or more, got inf",
        "prices['d'].input: expected dollars, 0 or more, got True",
        "prices['d'].output: expected dollars, 0 or more, got '2'",
        "prices['e'].input: expected dollars, 0 or more, got None",
        f"prices['f'].input: expected dollars, 0 or more, got {HUGE}",
    ]


@pytest.mark.parametrize("prices", ["a", 5, [("a", Price(1, 2))]])
def test_what_is_no_price_table_is_refused(prices: Any) -> None:
    with pytest.raises(ParameterError, match=r"prices: expected a mapping of models to prices, got "):
        Ledger(prices)


def test_a_table_that_changes_later_does_not_change_the_ledger() -> None:
    prices: Any = {"a": Price(1, 2)}
    ledger = Ledger(prices)
    prices.clear()
    ledger.add(answer(input_tokens=MILLION))
    assert ledger.cost().amount == 1


def test_many_threads_lose_no_count() -> None:
    ledger, threads, each = Ledger({"a": Price(1, 1)}), 8, 500
    start = threading.Barrier(threads + 1)

    def tell(tag: str) -> None:
        start.wait(DEADLINE)
        for _ in range(each):
            ledger.tell(ChatDone(work(tag), answer(input_tokens=1, output_tokens=2)))

    tellers = [threading.Thread(target=tell, args=(str(number % 3),)) for number in range(threads)]
    for teller in tellers:
        teller.start()
    start.wait(DEADLINE)
    while any(teller.is_alive() for teller in tellers):
        usage = ledger.total()
        assert usage.output_tokens == 2 * usage.input_tokens  # no half of an answer is seen
    assert ledger.chats == Ended(done=threads * each)
    assert ledger.total() == Usage(input_tokens=threads * each, output_tokens=2 * threads * each)


def test_real_chats_tell_a_ledger_how_they_ended(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> None:
    client, ledger, inbox = connect(anthropix_emulator.url), Ledger(), Inbox()
    anthropix_emulator.queue("Hello!", Drop("Once upon a time", after_events=4), Status(529))
    for _ in range(3):
        chat = client.chat(stream=ledger, **ASK)
        assert chat.actor_stopped.wait(DEADLINE)
    anthropix_emulator.queue(Pace("Once upon a time there was a king", tokens_per_second=5))
    chat = client.chat(stream=inbox, **ASK)
    chat.subscribe(ledger)
    inbox.until(ChatEvent)
    chat.cancel()
    assert chat.actor_stopped.wait(DEADLINE)
    ledger.add(client.chat(**ASK), "blocking")
    assert ledger.chats == Ended(done=2, failed=2, cancelled=1)
    assert ledger.total().estimate
    assert not ledger.by_tag()["blocking"].estimate
    assert ledger.total().total_tokens > ledger.by_tag()["blocking"].total_tokens
