"""Answers that end early: paused, compacted, refused, and cut in the middle of a tool call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import Client
from anthropix_actors.chat.accumulate import RAW_INPUT
from anthropix_actors.emulator import Compaction, Emulator, PauseTurn, Refusal, Reply, Thinking, ToolCall
from anthropix_actors.emulator._model.compaction import after_compaction
from anthropix_actors.emulator._model.json import encode
from anthropix_actors.emulator._model.partial_json import complete_members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator import Answer

DEADLINE = 20.0
HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
ASKED: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 2000,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
FILE: dict[str, Any] = {"path": "a.txt", "lines": [1, 2, {"deep": [None]}], "text": "A long text, ø, of words."}
TOOL: dict[str, Any] = {
    "name": "write_file",
    "input_schema": {
        "type": "object",
        "properties": {"path": {"type": "string"}, "text": {"type": "string", "minLength": 500}},
        "required": ["path", "text"],
    },
}
TRIGGER = {"type": "input_tokens", "value": 400}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with Client("any", base_url=emulator.url, max_retries=0) as made:
        yield made


def posted(emulator: Emulator, body: dict[str, Any]) -> dict[str, Any]:
    response = requests.post(f"{emulator.url}/v1/messages", json=body, headers=HEADERS, timeout=DEADLINE)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def alike(message: Any) -> dict[str, Any]:
    """Return what must be the same with and without a stream; ids are new each time.

    Arguments that are cut, our client keeps as their text.
    """
    content = [{key: value for key, value in block.items() if key != "id"} for block in message["content"]]
    for block in content:
        if RAW_INPUT in block:
            block["input"] = complete_members(block.pop(RAW_INPUT))
    keys = ("stop_reason", "stop_sequence", "stop_details", "usage")
    return {"content": content, **{key: message[key] for key in keys}}


def answered(emulator: Emulator, client: Client, *answers: Answer, **asked: Any) -> dict[str, Any]:
    """Ask without a stream and with our client, which streams: both must get the same."""
    emulator.queue(*answers, *answers)
    body = {**ASKED, **asked}
    whole = posted(emulator, body)
    assert alike(client.chat(**body)) == alike(whole)
    return whole


# Paused


def test_a_paused_turn_ends_in_a_call_of_the_apis_own_tool(emulator: Emulator, client: Client) -> None:
    message = answered(emulator, client, PauseTurn())
    text, call = message["content"]
    assert text == {"type": "text", "text": "Let me look that up."}
    assert (call["type"], call["name"], call["input"]) == ("server_tool_use", "web_search", {"query": "actors"})
    assert call["id"].startswith("srvtoolu_01")
    assert message["stop_reason"] == "pause_turn"


def test_a_paused_turn_says_what_it_is_told(emulator: Emulator, client: Client) -> None:
    paused = PauseTurn([Thinking("Hm.", "sig"), "One moment."], name="web_fetch", input={"url": "https://example.com"})
    message = answered(emulator, client, paused)
    assert [block["type"] for block in message["content"]] == ["thinking", "text", "server_tool_use"]
    assert message["content"][2]["input"] == {"url": "https://example.com"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web_search", "web_search_tool_result"),
        ("web_fetch", "web_fetch_tool_result"),
        ("code_execution", "code_execution_tool_result"),
        ("tool_search_tool_regex", "tool_search_tool_result"),
    ],
)
def test_a_paused_turn_that_is_sent_back_goes_on_with_the_tools_result(
    emulator: Emulator, client: Client, name: str, kind: str
) -> None:
    anthropic: Any = pytest.importorskip("anthropic")
    paused = answered(emulator, client, PauseTurn(name=name, id="srvtoolu_1"))
    messages = [*ASKED["messages"], {"role": "assistant", "content": paused["content"]}]
    rest = answered(emulator, client, messages=messages)
    assert rest["content"][0]["type"] == kind
    assert rest["content"][0]["tool_use_id"] == "srvtoolu_1"
    assert rest["stop_reason"] == "end_turn"
    with anthropic.Anthropic(base_url=emulator.url, api_key="any", _strict_response_validation=True) as sdk:
        assert sdk.messages.create(**{**ASKED, "messages": messages}).content[0].type == kind
    whole = [*ASKED["messages"], {"role": "assistant", "content": paused["content"] + rest["content"]}]
    answered(emulator, client, messages=[*whole, {"role": "user", "content": "Thanks."}])


def test_a_paused_turn_goes_on_with_tools(emulator: Emulator, client: Client) -> None:
    emulator.queue(PauseTurn())
    tools = [{"type": "web_search_20260318", "name": "web_search"}]
    paused = client.chat(**ASKED, tools=tools)
    back: dict[str, Any] = {
        **ASKED,
        "messages": [*ASKED["messages"], {"role": "assistant", "content": paused["content"]}],
    }
    assert client.chat(**back, tools=tools)["stop_reason"] == "end_turn"


# Refused


def test_a_refusal_says_why(emulator: Emulator, client: Client) -> None:
    message = answered(emulator, client, Refusal("cyber", "No exploits."))
    assert message["content"] == []
    assert message["stop_reason"] == "refusal"
    assert message["stop_details"] == {"type": "refusal", "category": "cyber", "explanation": "No exploits."}


def test_a_refusal_may_come_after_words(emulator: Emulator, client: Client) -> None:
    message = answered(emulator, client, Refusal(None, None, ["To begin with, "]))
    assert message["content"] == [{"type": "text", "text": "To begin with, "}]
    assert message["stop_details"] == {"type": "refusal", "category": None, "explanation": None}


# Compacted


def test_a_compaction_alone_ends_the_answer(emulator: Emulator, client: Client) -> None:
    message = answered(emulator, client, Compaction("They talked.", "opaque", "signed"))
    told = {"type": "compaction", "content": "They talked.", "encrypted_content": "opaque", "signature": "signed"}
    assert message["content"] == [told]
    assert message["stop_reason"] == "compaction"
    usage = message["usage"]
    (iteration,) = usage["iterations"]
    assert (iteration["type"], iteration["input_tokens"], iteration["output_tokens"]) == ("compaction", 10, 3)
    assert (usage["input_tokens"], usage["output_tokens"]) == (0, 0)


def test_an_answer_may_come_after_a_compaction(emulator: Emulator, client: Client) -> None:
    message = answered(emulator, client, Reply([Compaction("They talked."), "Blue."]))
    assert [block["type"] for block in message["content"]] == ["compaction", "text"]
    assert message["stop_reason"] == "end_turn"
    compacting, answering = message["usage"]["iterations"]
    assert (compacting["type"], answering["type"]) == ("compaction", "message")
    assert answering["input_tokens"] == message["usage"]["input_tokens"] == compacting["output_tokens"]
    assert answering["output_tokens"] == message["usage"]["output_tokens"] == 2


def test_a_stream_begins_with_what_the_compaction_has_read(emulator: Emulator) -> None:
    emulator.queue(Reply([Compaction("They talked."), "Blue."]))
    with requests.post(
        f"{emulator.url}/v1/messages", json={**ASKED, "stream": True}, headers=HEADERS, timeout=DEADLINE
    ) as response:
        told = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    assert told[0]["message"]["usage"]["input_tokens"] == 10
    assert "iterations" not in told[0]["message"]["usage"]
    assert told[1]["content_block"] == {"type": "compaction", "content": None}
    deltas = [event["delta"] for event in told if event["type"] == "content_block_delta"]
    assert deltas[0] == {"type": "compaction_delta", "content": "They talked."}


def test_a_compaction_that_failed_has_no_summary(emulator: Emulator, client: Client) -> None:
    assert answered(emulator, client, Compaction(None))["content"] == [{"type": "compaction", "content": None}]


def test_a_compaction_that_was_asked_for_is_all_there_is(emulator: Emulator, client: Client) -> None:
    message = answered(emulator, client, compaction={"type": "summarize"})
    (block,) = message["content"]
    assert "Why is the sky blue?" in block["content"]
    assert message["stop_reason"] == "compaction"


@pytest.mark.parametrize("pause", [True, False])
def test_a_conversation_above_the_trigger_is_compacted(emulator: Emulator, client: Client, *, pause: bool) -> None:
    edit = {"type": "compact_20260112", "trigger": TRIGGER, "pause_after_compaction": pause}
    context = {"edits": [{"type": "clear_tool_uses_20250919"}, edit]}
    long = [{"role": "user", "content": "word " * 500}]
    message = answered(emulator, client, context_management=context, messages=long)
    assert [block["type"] for block in message["content"]] == (["compaction"] if pause else ["compaction", "text"])
    assert message["stop_reason"] == ("compaction" if pause else "end_turn")
    again = [*long, {"role": "assistant", "content": message["content"]}, {"role": "user", "content": "Go on."}]
    (text,) = answered(emulator, client, context_management=context, messages=again)["content"]
    assert text["type"] == "text"


@pytest.mark.parametrize(
    "context",
    [
        None,
        {},
        {"edits": []},
        {"edits": [{"type": "compact_20260112"}]},
        {"edits": [{"type": "compact_20260112", "trigger": "odd"}]},
        {"edits": [{"type": "compact_20260112", "trigger": {"value": "odd"}}]},
        {"edits": ["odd", {"type": ["odd"]}]},
        {"edits": 5},
    ],
)
def test_a_conversation_below_the_trigger_is_not(emulator: Emulator, client: Client, context: Any) -> None:
    long = [{"role": "user", "content": "word " * 500}]
    (text,) = answered(emulator, client, context_management=context, messages=long)["content"]
    assert text["type"] == "text"


def test_what_comes_before_a_summary_counts_no_more(client: Client) -> None:
    compacted = {"role": "assistant", "content": [{"type": "compaction", "content": "They talked."}]}
    after: list[Any] = [compacted, {"role": "user", "content": "Go on."}]
    before: list[Any] = [{"role": "user", "content": "word " * 500}, *after]
    counts = [client.count_tokens(model="m", messages=messages)["input_tokens"] for messages in (before, after)]
    assert counts[0] == counts[1]
    failed = {"role": "assistant", "content": [{"type": "compaction", "content": None}, {"type": "other"}, "odd"]}
    assert after_compaction({"messages": [*before[:1], failed]})["messages"] == [*before[:1], failed]


# Cut


@pytest.mark.parametrize("cut", range(0, len(encode(FILE).decode()) + 2, 7))
def test_a_tool_call_is_cut_where_it_is_told(emulator: Emulator, client: Client, cut: int) -> None:
    message = answered(emulator, client, Reply(["I will write.", ToolCall("write_file", FILE, cut=cut)]))
    assert message["stop_reason"] == "max_tokens"
    given = message["content"][1]["input"]
    assert given == {name: FILE[name] for name in given}


def test_a_stream_has_json_that_is_cut(emulator: Emulator) -> None:
    emulator.queue(ToolCall("write_file", FILE, cut=30))
    with requests.post(
        f"{emulator.url}/v1/messages", json={**ASKED, "stream": True}, headers=HEADERS, timeout=DEADLINE
    ) as response:
        told = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    pieces = [event["delta"].get("partial_json", "") for event in told if event["type"] == "content_block_delta"]
    assert "".join(pieces) == encode(FILE).decode()[:30]
    assert told[-2]["delta"]["stop_reason"] == "max_tokens"


def test_max_tokens_cuts_a_tool_call_in_its_middle(emulator: Emulator, client: Client) -> None:
    forced = {"tools": [TOOL], "tool_choice": {"type": "any"}}
    whole = answered(emulator, client, **forced)
    assert whole["stop_reason"] == "tool_use"
    for limit in (1, 2, 3, 20, 40):
        message = answered(emulator, client, **forced, max_tokens=limit)
        assert message["stop_reason"] == "max_tokens"
        assert message["usage"]["output_tokens"] <= limit
        for block in message["content"]:
            assert block["input"] == {name: whole["content"][0]["input"][name] for name in block["input"]}
    assert list(message["content"][0]["input"]) == ["path"]


def test_nothing_comes_after_a_call_that_is_cut() -> None:
    with pytest.raises(ValueError, match="goes last"):
        Reply([ToolCall("write_file", FILE, cut=3), "More."])
    with pytest.raises(ValueError, match="0 or more"):
        ToolCall("write_file", FILE, cut=-1)


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        max_size=5,
    ),
    st.data(),
)
def test_what_is_whole_is_kept_however_json_is_cut(members: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    assert complete_members(text) == members
    cut = data.draw(st.integers(0, len(text)))
    kept = complete_members(text[:cut])
    assert list(members.items())[: len(kept)] == list(kept.items())


# As the official SDK reads them


@pytest.mark.parametrize(
    ("answer", "reason", "kinds"),
    [
        (PauseTurn(), "pause_turn", ["text", "server_tool_use"]),
        (Refusal("bio"), "refusal", []),
        (Compaction("They talked.", "opaque"), "compaction", ["compaction"]),
        (Reply([Compaction("They talked."), "Blue."]), "end_turn", ["compaction", "text"]),
        (ToolCall("write_file", FILE, cut=30), "max_tokens", ["tool_use"]),
    ],
)
def test_the_official_sdk_gets_the_same(emulator: Emulator, answer: Answer, reason: str, kinds: list[str]) -> None:
    anthropic: Any = pytest.importorskip("anthropic")
    emulator.queue(answer, answer)
    with anthropic.Anthropic(
        base_url=emulator.url, api_key="any", max_retries=0, timeout=DEADLINE, _strict_response_validation=True
    ) as sdk:
        whole = sdk.beta.messages.create(**ASKED)
        with sdk.beta.messages.stream(**ASKED) as stream:
            streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert message.stop_reason == reason
        assert [block.type for block in message.content] == kinds
    assert streamed.usage.iterations == whole.usage.iterations
    assert streamed.stop_details == whole.stop_details
    if reason == "max_tokens":
        assert whole.content[0].input == {"path": "a.txt"}
        assert streamed.content[0].input.items() >= whole.content[0].input.items()
