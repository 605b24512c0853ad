"""Prompt caching, as usage reports it."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import Client
from anthropix_actors.emulator import Emulator, Limits, Status
from anthropix_actors.emulator._model.cache import HOUR, LOOK_BACK, MINUTES_5, InputCost, PromptCache, min_cacheable
from anthropix_actors.emulator._model.tokens import count_input

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 20.0
MODEL = "claude-opus-5"  # 512 tokens at least
MARK: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
MARK_HOUR: dict[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
TOOL: dict[str, Any] = {
    "name": "get_weather",
    "description": "weather " * 600,
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "day": {"type": "string"}}},
}
SEARCH: dict[str, Any] = {"type": "web_search_20260318", "name": "web_search"}


def text(words: int = 0, word: str = "word", **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": " ".join([word] * words) or word, **more}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def request(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 9, "messages": list(messages) or [user(text())], **more}


def asked(cache: PromptCache, body: dict[str, Any], now: float = 0.0, owner: str = "me") -> InputCost:
    """Return the cost of a request, and store what it writes."""
    priced = cache.price(owner, body, now)
    cache.store(priced, now)
    assert priced.read + priced.uncached == count_input(body)
    assert min(priced.read, priced.written_1h, priced.written_5m, priced.other) >= 0
    return priced


# What is cached


def test_nothing_is_cached_without_a_breakpoint() -> None:
    cache = PromptCache()
    for _ in range(2):
        assert asked(cache, request(user(text(5000)))) == InputCost(0, 0, 0, 5004)


def test_a_prefix_is_written_and_then_read() -> None:
    cache = PromptCache()
    first = asked(cache, request(user(text(600, **MARK), text(30))))
    assert (first.read, first.written_5m, first.written_1h, first.other) == (0, 604, 0, 30)
    second = asked(cache, request(user(text(600, **MARK), text(20, "other"))))
    assert (second.read, second.written_5m, second.other) == (604, 0, 20)


def test_usage_adds_up() -> None:
    usage = InputCost(1, 20, 300, 4000).usage()
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 20}
    assert usage["cache_creation_input_tokens"] == 320
    assert (usage["cache_read_input_tokens"], usage["input_tokens"]) == (1, 4000)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-opus-5-5", 512),
        ("claude-fable-5-2", 512),
        ("claude-mythos-5", 512),
        ("claude-opus-4-8", 1024),
        ("claude-sonnet-5", 1024),
        ("claude-sonnet-4-5-20250929", 1024),
        ("claude-opus-4-20250514", 1024),
        ("claude-opus-4-7", 2048),
        ("claude-opus-4-5-20251101", 4096),
        ("claude-haiku-4-5", 4096),
    ],
)
def test_a_prefix_has_a_least_size(model: str, tokens: int) -> None:
    assert min_cacheable(model) == tokens
    for words, written in ((tokens - 5, 0), (tokens - 4, tokens)):
        cache = PromptCache()
        body = request(user(text(words, **MARK), text(4)), model=model)
        assert asked(cache, body).written_5m == written
        assert asked(cache, body).read == written


def test_prefixes_go_from_tools_over_the_system_prompt_to_messages() -> None:
    cache = PromptCache()
    tools = [TOOL, {**TOOL, "name": "other", **MARK}]
    body = request(user(text(600, **MARK)), tools=tools, system=[text(600, **MARK)])
    whole = asked(cache, body)
    assert (whole.written_5m, whole.other) == (count_input(body), 0)
    assert asked(cache, body | {"messages": [user(text(7, "new"))]}).read == count_input(body) - 604
    assert asked(cache, body | {"messages": [user(text())], "system": "new"}).read == count_input({"tools": tools})
    for changed in ([TOOL], [*reversed(tools)], [{**TOOL, "name": "third"}, tools[1]]):
        assert asked(PromptCache(), body | {"tools": changed}).read == 0
        assert cache.price("me", body | {"tools": changed}, 0.0).read == 0


def test_the_top_level_marks_the_last_block_that_can_be_cached() -> None:
    cache = PromptCache()
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    turns = [user(text(600)), {"role": "assistant", "content": [text(2), thought]}]
    assert asked(cache, request(*turns, **MARK)).written_5m == count_input({"messages": turns}) - 1 - 1
    more = asked(cache, request(*turns, user(text(3, "more")), **MARK))
    assert more.read == count_input({"messages": turns}) - 2
    assert (more.written_5m, more.other) == (2 + 3 + 4, 0)
    assert asked(PromptCache(), request(user(text(600)), **MARK_HOUR)).written_1h == 604
    assert asked(PromptCache(), request(user(text(600, **MARK)), **MARK_HOUR)).written_5m == 604  # its own counts
    assert asked(PromptCache(), request({"role": "user", "content": [thought]}, **MARK)).written_5m == 0


def test_a_string_and_its_text_block_are_the_same() -> None:
    cache = PromptCache()
    asked(cache, request(user(text(600)), system="long " * 600, **MARK))
    again = request({"role": "user", "content": text(600)["text"]}, system=[text(600, "long ")], **MARK)
    assert again["system"][0]["text"] != "long " * 600
    again["system"][0]["text"] = "long " * 600
    assert asked(cache, again).uncached == 0


def test_the_order_of_keys_counts_only_inside_of_inputs_and_schemas() -> None:
    cache = PromptCache()
    asked(cache, request(tools=[{**TOOL, **MARK}]))
    turned = dict(reversed({**TOOL, **MARK}.items()))
    assert asked(cache, request(tools=[turned])).read > 0
    turned["input_schema"] = dict(reversed(TOOL["input_schema"].items()))
    assert asked(cache, request(tools=[turned])).read == 0


def test_breakpoints_may_move_and_stand_in_tool_results() -> None:
    cache = PromptCache()
    result = {"type": "tool_result", "tool_use_id": "t", "content": [text(600, **MARK), "odd"]}
    assert asked(cache, request(user(result))).written_5m > 600
    plain = {**result, "content": [text(600), "odd"]}
    assert asked(cache, request(user(plain, text(2, **MARK)))).read > 600


@pytest.mark.parametrize("odd", [{"cache_control": None}, {"cache_control": "ephemeral"}, {"content": 3}])
def test_what_is_no_breakpoint_is_none(odd: dict[str, Any]) -> None:
    assert asked(PromptCache(), request(user(text(600, **odd)))).written_5m == 0


# Look-back


def turns(count: int) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[place % 2], "content": [text(600, f"a{place}")]} for place in range(count)]


@pytest.mark.parametrize(("more", "read"), [(LOOK_BACK - 1, True), (LOOK_BACK, False)])
def test_it_is_looked_for_over_20_blocks(more: int, read: int) -> None:
    cache = PromptCache()
    row = turns(1 + more)
    first = copy.deepcopy(row[:1])
    first[0]["content"][0] |= MARK
    asked(cache, request(*first))
    assert bool(asked(cache, request(*row, **MARK)).read) == read
    row[1]["content"][0] |= MARK  # one more breakpoint, nearer to the first
    cache = PromptCache()
    asked(cache, request(*first))
    assert asked(cache, request(*row, **MARK)).read == 604


def test_only_what_had_a_breakpoint_can_be_read() -> None:
    cache = PromptCache()
    asked(cache, request(user(text(600), text(600, "same"), text(3, "old", **MARK))))
    assert asked(cache, request(user(text(600), text(600, "same"), text(3, "new", **MARK)))).read == 0


# Time to live


def test_it_runs_out_after_5_minutes_and_lives_on_when_it_is_read() -> None:
    cache = PromptCache()
    body = request(user(text(600, **MARK)))
    asked(cache, body, 0.0)
    assert asked(cache, body, MINUTES_5 - 1).read == 604
    assert asked(cache, body, 2 * MINUTES_5 - 2).read == 604
    assert asked(cache, body, 3 * MINUTES_5 - 2).written_5m == 604


def test_it_may_live_for_an_hour() -> None:
    cache = PromptCache()
    body = request(user(text(600, **MARK)), system=[text(700, **MARK_HOUR)])
    first = asked(cache, body, 0.0)
    assert (first.written_1h, first.written_5m) == (700, 604)
    later = asked(cache, body, HOUR - 1)
    assert (later.read, later.written_1h, later.written_5m) == (700, 0, 604)
    assert asked(cache, body, HOUR - 2).read == 1304
    assert asked(cache, body, 3 * HOUR).read == 0


def test_what_has_run_out_is_not_kept_for_ever() -> None:
    cache = PromptCache()
    for place in range(1100):
        asked(cache, request(user(text(600, f"a{place}", **MARK))), 10.0 * place)
    assert len(cache._entries) < 200
    assert asked(cache, request(user(text(600, "a1095", **MARK))), 11_000.0).read == 604


# Owners and settings


@pytest.mark.parametrize("change", [{"model": "claude-fable-5"}, {"speed": "fast"}])
def test_another_model_or_speed_reads_nothing_of_the_system_prompt(change: dict[str, Any]) -> None:
    cache = PromptCache()
    body = request(system=[text(600, **MARK)])
    asked(cache, body)
    assert cache.price("me", body, 0.0).read == 600
    assert cache.price("me", body | change, 0.0).read == 0
    assert cache.price("you", body, 0.0).read == 0


PICTURE: dict[str, Any] = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
CITED: dict[str, Any] = {"type": "document", "source": {"type": "text", "data": "a"}, "citations": {"enabled": True}}


CHANGES: list[tuple[Callable[[Any], object], str]] = [
    (lambda body: body["tools"][0].update(description="new"), ""),
    (lambda body: body["tools"].append({**TOOL, "name": "new"}), "t"),
    (lambda body: body["tools"].insert(0, {**TOOL, "name": "new"}), ""),
    (lambda body: body["tools"].insert(0, SEARCH), "t"),
    (lambda body: body.update(speed="fast"), "t"),
    (lambda body: body["messages"].append(user(CITED)), "t"),
    (lambda body: body.update(tool_choice={"type": "any"}), "ts"),
    (lambda body: body.update(thinking={"type": "adaptive"}), "ts"),
    (lambda body: body["messages"].append(user(PICTURE)), "ts"),
    (lambda body: body["messages"].append(user({"type": "tool_result", "content": [PICTURE]})), "ts"),
    (lambda body: body["messages"].append(user(text())), "tsm"),
    (lambda body: body.update(max_tokens=3), "tsm"),
]


@pytest.mark.parametrize(("change", "levels"), CHANGES)
def test_a_change_costs_its_level_and_those_after_it(change: Callable[[Any], object], levels: str) -> None:
    cache = PromptCache()
    sizes = {"t": count_input({"tools": [TOOL]}), "s": 700, "m": 804, "": 0}
    body = request(user(text(800, **MARK)), tools=[{**TOOL, **MARK}], system=[text(700, **MARK)])
    asked(cache, body)
    changed = copy.deepcopy(body)
    change(changed)
    searching = count_input({"tools": [SEARCH]}) if SEARCH in changed["tools"] else 0
    assert cache.price("me", changed, 0.0).read == sum(sizes[level] for level in levels) + searching


# Any request


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, Any]:
    words, word = draw(st.sampled_from([1, 3, 300, 600])), draw(st.sampled_from("abc"))
    return text(words, word, **draw(st.sampled_from([{}, {}, {}, MARK, MARK_HOUR])))


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    return {"role": draw(st.sampled_from(["user", "assistant"])), "content": draw(st.lists(blocks(), max_size=4))}


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    system = draw(st.lists(blocks(), max_size=2) | st.text(max_size=3))
    tools = [TOOL] * draw(st.integers(0, 2))
    said = draw(st.lists(messages(), min_size=1, max_size=4))
    return request(*said, system=system, tools=tools, **draw(st.sampled_from([{}, MARK, MARK_HOUR])))


BODIES = bodies()


@given(st.lists(st.tuples(BODIES, st.floats(0, 400)), max_size=6))
def test_the_parts_add_up_and_what_was_just_asked_is_read(steps: list[tuple[dict[str, Any], float]]) -> None:
    cache, now = PromptCache(), 0.0
    for body, wait in steps:
        now += wait
        first = asked(cache, body, now)
        again = asked(cache, body, now)
        assert again.uncached == first.other
        assert again.read == first.read + first.written_1h + first.written_5m


@given(BODIES, st.floats(0, 299))
def test_a_conversation_that_grows_reads_all_that_it_wrote(body: dict[str, Any], wait: float) -> None:
    cache = PromptCache()
    bodies = [body, {**body, "messages": [*body["messages"], user(text(3, "more"))]}]
    for before, after in pairwise([asked(cache, each, wait * place) for place, each in enumerate(bodies)]):
        assert after.read >= before.read + before.written_1h + before.written_5m


@given(BODIES)
def test_to_price_changes_nothing(body: dict[str, Any]) -> None:
    cache = PromptCache()
    assert cache.price("me", body, 0.0) == cache.price("me", body, 0.0)


# On the wire


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def spent(usage: Any) -> tuple[int, int, int]:
    return usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"], usage["input_tokens"]


def test_usage_tells_of_the_cache_and_a_clock_ends_it() -> None:
    clock = Clock()
    body: dict[str, Any] = {**request(user(text(600, **MARK), text(10))), "max_tokens": 50}
    with Emulator(clock=clock) as emulator, Client("any", base_url=emulator.url) as client:
        assert spent(client.chat(**body)["usage"]) == (0, 604, 10)
        with client.chat(**body, stream=True) as stream:
            assert spent(stream.message()["usage"]) == (604, 0, 10)
        assert client.count_tokens(model=MODEL, messages=body["messages"])["input_tokens"] == 614
        clock.now = MINUTES_5
        usage = client.chat(**body)["usage"]
        assert spent(usage) == (0, 604, 10)
        assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 604, "ephemeral_1h_input_tokens": 0}


def test_caches_of_keys_and_workspaces_are_apart() -> None:
    body = request(user(text(600, **MARK)))

    def ask(emulator: Emulator, **headers: str) -> tuple[int, int, int]:
        sent = {"anthropic-version": "2023-06-01", **{name.replace("_", "-"): value for name, value in headers.items()}}
        response = requests.post(f"{emulator.url}/v1/messages", json=body, headers=sent, timeout=DEADLINE)
        return spent(response.json()["usage"])

    with Emulator() as emulator:
        assert ask(emulator, x_api_key="one") == (0, 604, 0)
        assert ask(emulator, x_api_key="one") == (604, 0, 0)
        assert ask(emulator, authorization="Bearer one") == (604, 0, 0)
        assert ask(emulator, x_api_key="two") == (0, 604, 0)
        assert ask(emulator, x_api_key="one", anthropic_workspace_id="wrkspc_1") == (0, 604, 0)


def test_a_request_that_is_refused_writes_nothing() -> None:
    body = request(user(text(600, **MARK)))
    with Emulator() as emulator, Client("any", base_url=emulator.url, max_retries=1) as client:
        emulator.queue(Status(529, retry_after=0))
        assert spent(client.chat(**body)["usage"]) == (0, 604, 0)


def test_a_batch_uses_the_cache_and_tells_the_same_each_time() -> None:
    body = request(user(text(600, **MARK)))
    with Emulator() as emulator, Client("any", base_url=emulator.url) as client:
        emulator.queue(None, "Told.")
        batch = client.batches.create([{"custom_id": name, "params": body} for name in "ab"])
        client.batches.retrieve(batch["id"])
        for _ in range(2):
            told: dict[str, Any] = {line["custom_id"]: line["result"] for line in client.batches.results(batch["id"])}
            assert spent(told["a"]["message"]["usage"]) == (0, 604, 0)
            assert spent(told["b"]["message"]["usage"]) == (604, 0, 0)


def test_what_is_read_counts_towards_no_limit() -> None:
    body = request(user(text(600, **MARK)))
    limits = Limits(input_tokens=700)
    with Emulator(limits=limits) as emulator, Client("any", base_url=emulator.url, governor=False) as client:
        for _ in range(5):
            client.chat(**body)
        assert spent(client.chat(**body)["usage"]) == (604, 0, 0)


def test_the_official_sdk_sees_the_cache() -> None:
    anthropic: Any = pytest.importorskip("anthropic")
    body = request(user(text(600)), **MARK_HOUR)
    with Emulator() as emulator, anthropic.Anthropic(base_url=emulator.url, api_key="any") as sdk:
        written = sdk.messages.create(**body).usage
        with sdk.messages.stream(**body) as stream:
            read = stream.get_final_message().usage
    assert (written.cache_creation_input_tokens, written.cache_creation.ephemeral_1h_input_tokens) == (604, 604)
    assert (read.cache_read_input_tokens, read.input_tokens) == (604, 0)
