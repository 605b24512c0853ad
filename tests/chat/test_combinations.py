"""What the API fixes about a request as a whole: what is refused before it is sent, at which place, and what is not."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ParameterError
from anthropix_actors.batches.body import batch_bodies, close_all
from anthropix_actors.chat.combinations import WAY_AROUND, whole_problems
from anthropix_actors.chat.parameters import chat_body, count_tokens_body

from actors import ASK
from servers import Server, answering

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import Client

TEXT = {"type": "text", "text": "x"}
MARKED = {**TEXT, "cache_control": {"type": "ephemeral"}}
HOUR = {**TEXT, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
SCHEMA = {"type": "object"}
THOUGHT: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 5000}, "max_tokens": 4096}
FALLBACK = {"type": "fallback", "from": {}, "to": {}}
COMPACTION = {"type": "compaction", "content": "In short: ..."}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def call(name: str = "a", kind: str = "tool_use") -> dict[str, Any]:
    return {"type": kind, "id": name, "name": "t", "input": {}}


def result(name: str = "a") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": name, "content": "x"}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": SCHEMA, **more}


HELLO = {"role": "user", "content": "Hi"}
GO_ON = {"role": "user", "content": "Go on"}
ASIDE = {"role": "system", "content": "It is late."}

GOOD: dict[str, dict[str, Any]] = {
    "answered": {"messages": [HELLO, assistant(TEXT, call()), user(result(), TEXT)]},
    "in any order": {"messages": [HELLO, assistant(call("a"), call("b")), user(result("b"), result("a"))]},
    "open at the end": {"messages": [HELLO, assistant(call())]},
    "open at the end of several": {"messages": [HELLO, assistant(call()), assistant(TEXT)]},
    "one turn in two messages": {
        "messages": [HELLO, assistant(call("a")), assistant(call("b")), user(result("a")), user(result("b"), TEXT)]
    },
    "the system speaks": {"messages": [HELLO, assistant(call()), ASIDE, user(result()), ASIDE, GO_ON]},
    "the same id in another turn": {
        "messages": [HELLO, assistant(call()), user(result()), assistant(call()), user(result())]
    },
    "the API's own tools": {
        "messages": [HELLO, assistant(call("s", "server_tool_use"), call("m", "mcp_tool_use"), TEXT), GO_ON]
    },
    "a paused turn": {"messages": [HELLO, assistant(call("s", "server_tool_use"))]},
    "an answer to what is not known": {"messages": [HELLO, assistant(call("f", "future_use")), user(result("f"))]},
    "other blocks first": {
        "messages": [HELLO, assistant(call()), user({"type": "container_upload", "file_id": "f"}, result())]
    },
    "before a fallback": {"messages": [HELLO, assistant(call("a"), FALLBACK, call("b")), user(result("b"), TEXT)]},
    "before a compaction": {"messages": [user(result("lost")), assistant(call(), COMPACTION, TEXT), GO_ON]},
    "compacted by the user": {"messages": [HELLO, assistant(call()), user(COMPACTION, TEXT)]},
    "a thread": {"thread": {"type": "continue"}, "messages": [user(result())]},
    "tools": {"tools": [tool("a"), tool("b"), {"type": "mcp_toolset"}, {"type": "mcp_toolset"}]},
    "a budget": {**THOUGHT, "max_tokens": 5001},
    "a budget with tools": {**THOUGHT, "tools": [tool("a")]},
    "a budget with tools of others": {**THOUGHT, "mcp_servers": [{"type": "url"}]},
    "warming the cache": {**THOUGHT, "max_tokens": 0},
    "thinking as it likes": {"thinking": {"type": "adaptive"}, "max_tokens": 1},
    "four breakpoints": {
        "tools": [tool("a", cache_control=HOUR["cache_control"])],
        "system": [HOUR],
        "messages": [user(MARKED, MARKED)],
    },
    "four and the same on top": {"cache_control": {"type": "ephemeral"}, "messages": [user(*[MARKED] * 4)]},
    "four and on top perhaps the same": {
        "cache_control": {"type": "ephemeral"},
        "messages": [user(*[MARKED] * 4, {"type": "thinking", "thinking": "", "signature": ""})],
    },
    "three and one on top": {"cache_control": {"type": "ephemeral"}, "messages": [user(*[MARKED] * 3), HELLO]},
    "marks inside": {"messages": [HELLO, assistant(call()), user({**result(), "content": [MARKED] * 5})]},
    "nothing marked": {"messages": [user(*[{**TEXT, "cache_control": None}] * 9)]},
    "hours first": {"messages": [user(HOUR, HOUR, MARKED)]},
    "a time of the future": {"messages": [user({**TEXT, "cache_control": {"type": "x", "ttl": "1d"}}, HOUR)]},
}

BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no answer": (
        {"messages": [HELLO, assistant(TEXT, call()), GO_ON]},
        ["messages[1].content[1]: expected a tool_result for 'a' in the user's next message"],
    ),
    "half an answer": (
        {"messages": [HELLO, assistant(call("a"), call("b")), user(result("a")), assistant(TEXT), user(result("b"))]},
        [
            "messages[1].content[1]: expected a tool_result for 'b' in the user's next message",
            "messages[4].content[0].tool_use_id: no call of the turn before has the id 'b'",
        ],
    ),
    "no call": (
        {"messages": [HELLO, assistant(TEXT), user(result())]},
        ["messages[2].content[0].tool_use_id: no call of the turn before has the id 'a'"],
    ),
    "a history whose beginning was cut off": (
        {"messages": [user(result())]},
        ["messages[0].content[0].tool_use_id: no call of the turn before has the id 'a'"],
    ),
    "a text first": (
        {"messages": [HELLO, assistant(call()), user(TEXT, TEXT, result())]},
        ["messages[2].content[0]: expected after all tool_results, such as messages[2].content[2]"],
    ),
    "a picture between": (
        {
            "messages": [
                HELLO,
                assistant(call("a"), call("b")),
                user(result("a"), {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}, result("b")),
            ]
        },
        ["messages[2].content[1]: expected after all tool_results, such as messages[2].content[2]"],
    ),
    "a text in the message before": (
        {"messages": [HELLO, assistant(call()), GO_ON, user(result())]},
        ["messages[2].content: expected after all tool_results, such as messages[3].content[0]"],
    ),
    "two answers": (
        {"messages": [HELLO, assistant(call()), user(result(), result())]},
        ["messages[2].content[1].tool_use_id: expected one result per call, got another for 'a'"],
    ),
    "an id twice": (
        {"messages": [HELLO, assistant(call(), TEXT, call()), user(result())]},
        ["messages[1].content[2].id: expected a unique id, got 'a', the id of messages[1].content[0]"],
    ),
    "after a compaction": (
        {"messages": [assistant(COMPACTION, call()), GO_ON]},
        ["messages[0].content[1]: expected a tool_result for 'a' in the user's next message"],
    ),
    "a name twice": (
        {"tools": [tool("a"), {"type": "bash_20990101", "name": "bash"}, tool("bash"), tool("a")]},
        [
            "tools[2].name: expected a unique name, got 'bash', the name of tools[1]",
            "tools[3].name: expected a unique name, got 'a', the name of tools[0]",
        ],
    ),
    "a budget": (
        THOUGHT,
        ["thinking.budget_tokens: expected less than max_tokens, which is 4,096, got 5,000"],
    ),
    "five breakpoints": (
        {
            "tools": [tool("a", cache_control=MARKED["cache_control"])],
            "system": [MARKED],
            "messages": [user(MARKED), assistant(MARKED), user(MARKED)],
        },
        ["messages[2].content[0].cache_control: expected at most 4 in tools, system and messages, got 5"],
    ),
    "four and one on top": (
        {"cache_control": {"type": "ephemeral"}, "messages": [user(*[MARKED] * 4), assistant(TEXT), HELLO]},
        ["cache_control: expected at most 4, got one more besides those in the blocks"],
    ),
    "five minutes first": (
        {"system": [MARKED], "messages": [user(HOUR)]},
        ["messages[0].content[0].cache_control: expected one-hour breakpoints before those of five minutes: system[0]"],
    ),
}


def problems(params: dict[str, Any], **more: Any) -> list[str]:
    texts = [str(problem) for problem in whole_problems({"messages": [HELLO], **params}, betas=(), **more)]
    assert all(text.endswith(f" {WAY_AROUND}") for text in texts)
    return [text.removesuffix(f" {WAY_AROUND}") for text in texts]


@pytest.mark.parametrize("name", GOOD)
def test_what_goes_together_is_sent(name: str) -> None:
    assert problems(GOOD[name]) == []
    body = {"model": "m", "max_tokens": 1, "messages": [HELLO], **GOOD[name]}
    assert chat_body(body, api_version="2023-06-01", betas=[]) == body


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_is_refused_at_its_place(name: str) -> None:
    params, texts = BAD[name]
    assert problems(params) == texts


@pytest.mark.parametrize("name", BAD)
def test_nothing_is_sent_then_and_extra_body_is_the_way_around(name: str, connect: Callable[..., Client]) -> None:
    params, texts = BAD[name]
    with Server(answering("Hello")) as server:
        client = connect(server)
        with pytest.raises(ParameterError) as caught:
            client.chat(**{**ASK, **params})
        assert server.connections == 0
        assert [problem.place for problem in caught.value.problems] == [text.partition(": ")[0] for text in texts]
        assert WAY_AROUND in str(caught.value)
        assert client.chat(**ASK, extra_body=params)["content"]


@pytest.mark.parametrize("betas", [None, ["interleaved-thinking-2025-05-14"], ["dev-full-thinking-2025-05-14", "x"]])
def test_a_beta_may_lift_the_limit_of_thinking(betas: list[str] | None) -> None:
    assert whole_problems({"messages": [HELLO], **THOUGHT}, betas=betas) == []


@pytest.mark.parametrize(
    "options",
    [
        {"beta": "interleaved-thinking-2025-05-14"},
        {"extra_headers": {"Anthropic-Beta": "interleaved-thinking-2025-05-14"}},
        {"extra_body": {"tools": []}},
        {"extra_body": {"thread": {}}, "messages": [user(result())], "thinking": None},
    ],
)
def test_what_is_said_with_a_chat_may_lift_a_rule(options: dict[str, Any], connect: Callable[..., Client]) -> None:
    with Server(answering("Hello")) as server:
        assert connect(server).chat(**{**ASK, **THOUGHT, **options})["content"]


def test_the_betas_of_the_client_count_too(connect: Callable[..., Client]) -> None:
    with Server(answering("Hello")) as server:
        client = connect(server, beta="interleaved-thinking-2025-05-14")
        assert client.chat(**{**ASK, **THOUGHT})["content"]
        with pytest.raises(ParameterError, match="budget_tokens"):
            connect(server, beta="files-api-2025-04-14").chat(**{**ASK, **THOUGHT})


def test_a_batch_s_requests_are_held_to_the_same() -> None:
    requests = [
        {"custom_id": "a", "params": {"model": "m", "messages": [HELLO, assistant(call()), GO_ON]}},
        {"custom_id": "b", "params": {"model": "m", "messages": [HELLO], **THOUGHT}},  # its betas are not known here
    ]
    with pytest.raises(ParameterError) as caught:
        batch_bodies(requests, api_version="2023-06-01")
    assert [problem.place for problem in caught.value.problems] == ["requests[0].params.messages[1].content[0]"]
    close_all(batch_bodies(requests[1:], api_version="2023-06-01"))


def test_tokens_of_a_part_of_a_conversation_may_be_counted() -> None:
    params = {"model": "m", "messages": [user(result())], "thinking": THOUGHT["thinking"]}
    assert count_tokens_body(params, api_version="2023-06-01") == params


def test_what_is_wrong_on_its_own_is_told_first() -> None:
    params = {"model": "", "max_tokens": 1, "messages": [user(result()), user({"type": "tool_result"})]}
    with pytest.raises(ParameterError) as caught:
        chat_body(params, api_version="2023-06-01")
    assert [problem.place for problem in caught.value.problems] == ["model", "messages[1].content[0].tool_use_id"]


IDS = st.sampled_from("abcdefgh")


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw what a loop over tools makes: calls, their results in any order, and texts."""
    messages: list[dict[str, Any]] = [HELLO]
    for names in draw(st.lists(st.lists(IDS, unique=True, min_size=1), max_size=6)):
        messages.append(assistant(*draw(st.permutations([TEXT, call("s", "server_tool_use"), *map(call, names)]))))
        results = [result(name) for name in draw(st.permutations(names))]
        messages.append(user(*results, *draw(st.lists(st.just(TEXT), max_size=2))))
    return messages


@given(conversations())
def test_what_a_loop_over_tools_makes_passes(messages: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(messages)
    assert whole_problems({"messages": messages}) == []
    assert messages == before


@given(conversations(), st.data())
def test_a_lost_call_or_result_is_always_seen(messages: list[dict[str, Any]], data: st.DataObject) -> None:
    places = [
        (index, number)
        for index, message in enumerate(messages)
        if isinstance(message["content"], list)
        for number, block in enumerate(message["content"])
        if block["type"] in {"tool_use", "tool_result"}
    ]
    if places:
        index, number = data.draw(st.sampled_from(places))
        lost = messages[index]["content"].pop(number)
        (problem,) = whole_problems({"messages": messages})
        partner = index + 1 if lost["type"] == "tool_use" else index - 1
        assert problem.place.startswith(f"messages[{partner}].content[")


def took(messages: list[dict[str, Any]]) -> float:
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        assert whole_problems({"messages": messages}) == []
        best = min(best, time.perf_counter() - start)
    return best


@pytest.mark.alone
def test_twice_the_conversation_takes_twice_the_time() -> None:
    step = [assistant(TEXT, *[call(str(n)) for n in range(20)]), user(*[result(str(n)) for n in range(20)])]
    assert took(step * 400) < 6 * took(step * 200)
