"""What is checked before anything is sent, and what is not."""

from __future__ import annotations

import copy
import enum
import json
import re
import subprocess
import sys
import threading
from collections import UserDict, deque
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
from conftest import NOT_HERE, SHARED
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ParameterError
from anthropix_actors._checks.block_shapes import STRING
from anthropix_actors._checks.resolving import RESOLVING, fits
from anthropix_actors._checks.shapes import Leaf, Shape, problems_of
from anthropix_actors.chat.parameters import (
    BLOCKS,
    CHAT,
    CONTENT,
    COUNT_PARAMETERS,
    MAX_MESSAGES,
    MESSAGES,
    OUTPUT_CONFIG,
    PARAMETERS,
    THINKING,
    TOOL,
    TOOL_CHOICE,
    chat_body,
    chat_problems,
    count_tokens_body,
    count_tokens_problems,
)

from servers import DEADLINE, wait

if TYPE_CHECKING:
    from pathlib import Path

    from anthropix_actors._checks.shapes import Kind

OLDER, NEWER = "2023-06-01", "2026-10-21"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
FINE: dict[str, Any] = {"model": "m", "max_tokens": 1, "messages": HELLO}
TEXT = {"type": "text", "text": "x"}
BASE64 = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
A_TOOL = {"name": "t", "input_schema": {"type": "object", "properties": {}}}


def problems(params: Mapping[str, Any], version: str = OLDER) -> list[str]:
    return [str(problem) for problem in chat_problems(params, api_version=version)]


def with_blocks(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {**FINE, "messages": [{"role": role, "content": list(blocks)}]}


RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "x", "is_error": True}
GOOD_BLOCKS: list[dict[str, Any]] = [
    TEXT,
    {**TEXT, "cache_control": {"type": "ephemeral", "ttl": "1h"}, "citations": None},
    {"type": "image", "source": BASE64},
    {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
    {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "image", "source": {"type": "of_the_future"}},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "t"},
    {"type": "document", "source": {"type": "content", "content": [TEXT]}, "citations": {"enabled": True}},
    {"type": "document", "source": {"type": "content", "content": "x"}, "context": "c"},
    {"type": "search_result", "source": "s", "title": "t", "content": [TEXT]},
    {"type": "thinking", "thinking": "", "signature": "s"},
    {"type": "redacted_thinking", "data": "d"},
    {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}},
    {"type": "tool_result", "tool_use_id": "toolu_1"},
    RESULT,
    {"type": "tool_result", "tool_use_id": "toolu_1", "content": [TEXT, {"type": "image", "source": BASE64}]},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": {"anything": 1}},
    {"type": "container_upload", "file_id": "file_1"},
    {"type": "of_the_future", "with": ["anything"]},
]


@pytest.mark.parametrize("block", GOOD_BLOCKS, ids=lambda block: block["type"])
def test_a_good_block_passes(block: dict[str, Any]) -> None:
    assert problems(with_blocks(block)) == []


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_key_that_a_known_block_needs_is_missed(kind: str) -> None:
    found = problems(with_blocks({"type": kind}))
    assert [problem.partition(":")[0] for problem in found] == [
        f"messages[0].content[0].{key}" for key in BLOCKS[kind].required
    ]
    assert all("required, and missing: expected " in problem for problem in found)


# what is wrong, and what is said of it
BAD: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model: expected a string that is not empty, got None"),
    ({"model": ""}, "model: expected a string that is not empty, got ''"),
    ({"model": 5}, "model: expected a string that is not empty, got 5"),
    ({"max_tokens": -1}, "max_tokens: expected an integer from 0, got -1"),
    ({"max_tokens": 1.5}, "max_tokens: expected an integer from 0, got 1.5"),
    ({"max_tokens": True}, "max_tokens: expected an integer from 0, got True"),
    (
        {"messages": "Hello"},
        'messages: expected a list of messages, got \'Hello\'; write [{"role": "user", "content": "Hello"}]',
    ),
    ({"messages": HELLO[0]}, "messages: expected a list of messages, got dict; put it in a list: [...]"),
    ({"messages": b"Hello"}, "messages: expected a list of messages, got bytes"),
    ({"messages": []}, "messages: expected at least 1, at most 100,000, got 0"),
    ({"messages": ["Hello"]}, 'messages[0]: expected a mapping with "role" and "content", got \'Hello\''),
    (
        {"messages": [{"content": "x"}]},
        'messages[0].role: required, and missing: expected "user", "assistant" or "system"',
    ),
    (
        {"messages": [{"role": "bot", "content": "x"}]},
        'messages[0].role: expected "user", "assistant" or "system", got \'bot\'',
    ),
    (
        {"messages": [{"role": "user"}]},
        "messages[0].content: required, and missing: expected a string or a list of blocks",
    ),
    (
        {"messages": [{"role": "user", "content": 5}]},
        "messages[0].content: expected a string or a list of blocks, got 5",
    ),
    (
        {"messages": [{"role": "user", "content": TEXT}]},
        "messages[0].content: expected a list of blocks, got dict; put",
    ),
    (
        with_blocks("x"),
        'messages[0].content[0]: expected a block like {"type": "text", "text": "..."}, got \'x\'',
    ),
    (with_blocks({"text": "x"}), "messages[0].content[0].type: required, and missing: expected the type of a block"),
    (with_blocks({"type": 5}), "messages[0].content[0].type: expected a string, got 5"),
    (
        with_blocks({"type": "text", "text": ""}),
        "messages[0].content[0].text: expected a string that is not empty, got ''",
    ),
    (
        with_blocks({"type": "image", "source": {**BASE64, "data": 5}}),
        "messages[0].content[0].source.data: expected a string, got 5",
    ),
    (
        with_blocks({"type": "image", "source": "x.png"}),
        'messages[0].content[0].source: expected a source like {"type": "url", "url": "..."}, got \'x.png\'',
    ),
    (
        with_blocks({"type": "tool_use", "id": "i", "name": "n", "input": "{}"}),
        "messages[0].content[0].input: expected a mapping, got '{}'",
    ),
    (
        with_blocks({"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text"}]}),
        "messages[0].content[0].content[0].text: required, and missing: expected a string that is not empty",
    ),
    (
        with_blocks({"type": "tool_result", "tool_use_id": "i", "is_error": "yes"}),
        "messages[0].content[0].is_error: expected True or False, got 'yes'",
    ),
    (
        with_blocks({**TEXT, "cache_control": "ephemeral"}),
        'messages[0].content[0].cache_control: expected a mapping like {"type": "ephemeral"}, got \'ephemeral\'',
    ),
    ({"system": 5}, "system: expected a string or a list of text blocks, got 5"),
    ({"system": [{"type": "text"}]}, "system[0].text: required, and missing: expected a string that is not empty"),
    ({"temperature": 1.1}, "temperature: expected a number from 0 to 1, got 1.1"),
    ({"temperature": "hot"}, "temperature: expected a number from 0 to 1, got 'hot'"),
    ({"top_p": -0.1}, "top_p: expected a number from 0 to 1, got -0.1"),
    ({"top_k": -1}, "top_k: expected an integer from 0, got -1"),
    ({"stop_sequences": "END"}, "stop_sequences: expected a list of strings, got 'END'"),
    ({"stop_sequences": ["END", 5]}, "stop_sequences[1]: expected a string, got 5"),
    ({"metadata": {"user_id": "x" * 513}}, "metadata.user_id: expected a string of at most 512 characters, got "),
    ({"metadata": {"user_id": 5}}, "metadata.user_id: expected a string of at most 512 characters, got 5"),
    ({"metadata": []}, "metadata: expected a mapping, got list"),
    ({"tools": {}}, "tools: expected a list of tools, got dict; put it in a list: [...]"),
    ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "tools[0].name: expected a name of letters"),
    (
        {"tools": [{"type": "custom", "name": "t"}]},
        "tools[0].input_schema: required, and missing: expected a JSON schema",
    ),
    (
        {"tools": [{"name": "t", "input_schema": {}}]},
        'tools[0].input_schema.type: required, and missing: expected "object"',
    ),
    ({"tools": [{**A_TOOL, "strict": 1}]}, "tools[0].strict: expected True or False, got 1"),
    ({"tool_choice": "auto"}, 'tool_choice: expected a mapping like {"type": "auto"}, got \'auto\''),
    ({"tool_choice": {"type": "all"}}, 'tool_choice.type: expected one of "auto", "any", "tool", "none", got \'all\''),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name: required, and missing"),
    (
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": 1}},
        "tool_choice.disable_parallel_tool_use: expected",
    ),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: required, and missing: expected an integer from 1024"),
    ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "thinking.budget_tokens: expected an integer from 1024"),
    ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: required, and missing"),
    ({"mcp_servers": [5]}, "mcp_servers[0]: expected a mapping, got 5"),
    ({"container": 5}, "container: expected a string or a mapping, got 5"),
    ({"speed": 5}, "speed: expected a string, got 5"),
    ({"billing_policy": 5}, "billing_policy: expected a mapping, got 5"),
    ({"compaction": "yes"}, "compaction: expected a mapping, got 'yes'"),
    ({"fallback_credit_token": 5}, "fallback_credit_token: expected a string or a mapping, got 5"),
    ({"fallbacks": ["m"]}, "fallbacks[0]: expected a mapping, got 'm'"),
    ({"thread": True}, "thread: expected a mapping, got True"),
    ({"tools": [{**A_TOOL, "name": "t\n"}]}, "tools[0].name: expected a name of letters"),
    ({"tools": [{**A_TOOL, "name": "t" * 129}]}, "tools[0].name: expected a name of letters"),
    ({"tools": [{"type": "bash_20990101", "name": 5}]}, "tools[0].name: expected a string, got 5"),
    ({"tools": [{"type": 5}]}, "tools[0].type: expected a string, got 5"),
    (
        {"tools": [object()]},
        'tools[0]: expected a tool like {"name": "...", "input_schema": {"type": "object", ...}}, got object',
    ),
    ({"messages": [{"role": "user\n", "content": "x"}]}, "messages[0].role: expected"),
    ({"messages": deque(HELLO)}, "messages: expected a list of messages, got deque"),
    ({"system": [{"text": "x"}]}, "system[0].type: required, and missing: expected the type of a text block"),
    ({"cache_control": {"type": "ephemeral", "ttl": 5}}, "cache_control.ttl: expected a string, got 5"),
    (
        {"max_tokens": 10**5000},
        "max_tokens: expected an integer of at most 4,300 digits, got an integer of 16,610 bits",
    ),
]

NOT_JSON: list[tuple[Any, str]] = [
    ({1, 2}, ": expected JSON, got set"),
    (b"x", ": expected JSON, got bytes"),
    (object(), ": expected JSON, got object"),
    ([...], "[0]: expected JSON, got ellipsis"),
    ({"when": date(2026, 1, 1)}, ".when: expected JSON, got date"),
    ({"a": [float("nan")]}, ".a[0]: expected a finite number, got nan"),
    ([float("-inf")], "[0]: expected a finite number, got -inf"),
    ([10**4300], "[0]: expected an integer of at most 4,300 digits, got an integer of 14,285 bits"),
    ({5: "x"}, ": expected strings that UTF-8 can encode as keys, got 5"),
    ({"\ud800": "x"}, ": expected strings that UTF-8 can encode as keys, got '\\ud800'"),
    (["é\ud800"], "[0]: expected text that UTF-8 can encode, got half of a surrogate pair"),
    ({"a b": {"c": {1}}}, "['a b'].c: expected JSON, got set"),
]


@pytest.mark.parametrize(("params", "expected"), BAD, ids=lambda value: None if isinstance(value, dict) else value[:60])
def test_a_problem_names_its_place_and_what_was_expected(params: dict[str, Any], expected: str) -> None:
    found = problems({**FINE, **params})
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(("value", "expected"), NOT_JSON)
def test_what_cannot_be_sent_is_refused_at_its_place_wherever_it_is(value: Any, expected: str) -> None:
    assert problems({**FINE, "future": value}) == [f"future{expected}"]
    call = {"type": "tool_use", "id": "i", "name": "n", "input": {"deep": value}}
    assert problems(with_blocks(call)) == [f"messages[0].content[0].input.deep{expected}"]


@pytest.mark.parametrize("half", [{"role": "\ud800"}, {"content": [{"type": "\ud800"}]}, {"\ud800": 1}])
def test_half_a_surrogate_pair_in_a_message_is_told_once(half: dict[str, Any]) -> None:
    assert len(problems({**FINE, "messages": [{**HELLO[0], **half}]})) == 1


@pytest.mark.parametrize("name", ["model", "messages", "max_tokens"])
def test_what_is_required_is_missed(name: str) -> None:
    params = {key: value for key, value in FINE.items() if key != name}
    assert problems(params)[0].startswith(f"{name}: required, and missing: expected ")


def test_problems_come_in_the_order_of_the_parameters() -> None:
    found = problems({"top_k": -1, "tools": 5, "messages": [], "model": "", "unknown": {1}})
    assert [problem.partition(":")[0] for problem in found] == [
        "model",
        "messages",
        "max_tokens",
        "tools",
        "top_k",
        "unknown",
    ]


def test_a_long_value_is_shown_in_part() -> None:
    assert (
        problems({**FINE, "top_k": "x" * 1000})[0]
        == "top_k: expected an integer from 0, got '" + "x" * 60 + "'... (1,000 characters)"
    )


def test_more_messages_than_the_api_takes_are_refused() -> None:
    found = problems({**FINE, "messages": HELLO * (MAX_MESSAGES + 1)})
    assert found == ["messages: expected at least 1, at most 100,000, got 100,001"]


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_the_roles_of_the_api_pass(role: str) -> None:
    assert problems({**FINE, "messages": [{"role": role, "content": "x"}]}) == []


@pytest.mark.parametrize(
    "params",
    [
        {"model": "a-model-nobody-knows"},
        {
            "tools": [
                A_TOOL,
                {"type": "bash_20990101", "name": "bash"},
                {**A_TOOL, "type": None},
                {"type": "custom", **A_TOOL},
            ]
        },
        {"tool_choice": {"type": "tool", "name": "t", "disable_parallel_tool_use": True}},
        {"tool_choice": {"type": "none"}},
        {"thinking": {"type": "of_the_future"}},
        {"thinking": {"type": "adaptive", "display": "omitted"}},
        {"thinking": {"type": "between_tools"}},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"system": [{**TEXT, "cache_control": {"type": "ephemeral"}}]},
        {"system": ""},
        {"container": {"skills": []}},
        {"metadata": {"user_id": None}},
        {"temperature": 0, "top_p": 1, "top_k": 0, "stop_sequences": ()},
        {name: None for name in PARAMETERS if name not in FINE},
        {"messages": ({"role": "user", "content": (TEXT,)},)},
        {"compaction": {"a": ["é", None, 1, 1.5, True]}, "max_tokens": 0},
        {"fallbacks": "default", "fallback_credit_token": "t", "thread": {"type": "create"}},
        {"fallbacks": [{"model": "m"}], "fallback_credit_token": {"token": "t"}, "billing_policy": {}},
    ],
)
def test_what_the_api_takes_passes(params: dict[str, Any]) -> None:
    assert problems({**FINE, **params}) == []


def test_something_that_contains_itself_is_told_once_and_quickly() -> None:
    loop: list[Any] = []
    loop += [loop, loop, {"a": loop}]
    assert [problem.partition(":")[0] for problem in problems({**FINE, "future": loop})] == [
        "future[0]",
        "future[1]",
        "future[2].a",
    ]


def test_absurd_nesting_is_refused() -> None:
    deep: Any = "x"
    for _ in range(1000):
        deep = [deep]
    (found,) = problems({**FINE, "future": deep})
    assert "nested more than 200 deep" in found


def test_something_shared_is_no_loop() -> None:
    shared = {"type": "ephemeral"}
    assert problems(with_blocks({**TEXT, "cache_control": shared}, {**TEXT, "cache_control": shared})) == []


def test_with_the_newer_version_of_the_api_more_is_refused() -> None:
    document = {"type": "document", "source": {"type": "url", "url": "https://x"}}
    cited = {**TEXT, "citations": [{"type": "char_location"}]}
    messages = [
        {"role": "user", "content": [cited, document]},
        {"role": "assistant", "content": [document, cited]},
        "odd",
        {"role": "user", "content": ["odd"]},
    ]
    params = {**FINE, "messages": messages, "temperature": 1, "top_p": 1, "top_k": 1}
    newer = [line for line in problems(params, NEWER) if "the API refuses this" in line]
    assert [line.partition(":")[0] for line in newer] == [
        "messages[0].content[0].citations",
        "messages[1].content[0]",
        "temperature",
        "top_p",
        "top_k",
    ]
    assert not [line for line in problems(params) if "the API refuses this" in line]


def test_a_whole_answer_as_a_message_is_refused_with_advice() -> None:
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "content": [TEXT], "usage": {}}
    (found,) = problems({**FINE, "messages": [*HELLO, whole]})
    assert found.startswith('messages[1]: expected {"role": answer["role"], "content": answer["content"]}')


def test_the_body_is_what_was_given_without_none_and_with_the_extra() -> None:
    class Odd(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return {"role": "user", "content": (TEXT,)}[key]

        def __iter__(self) -> Any:
            return iter(("role", "content"))

        def __len__(self) -> int:
            return 2

    params = {**FINE, "messages": (Odd(),), "system": None}
    body = chat_body(params, api_version=OLDER, extra_body={"max_tokens": 2, "new": (1,)})
    assert body == {"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": [TEXT]}], "new": [1]}
    assert json.loads(json.dumps(body)) == body


def test_none_is_left_out_where_a_parameter_is_optional() -> None:
    assert chat_body({**FINE, "system": None, "future": None}, api_version=OLDER) == FINE
    (wrong,) = problems({**FINE, "model": None})
    assert wrong.startswith("model: expected a string that is not empty, got None")


def test_the_body_stays_as_it_was_when_the_parameters_change() -> None:
    params: dict[str, Any] = copy.deepcopy({**with_blocks(TEXT), "tools": [A_TOOL]})
    body = chat_body(params, api_version=OLDER)
    params["messages"][0]["content"][0]["text"] = "changed"
    params["tools"][0]["input_schema"]["properties"]["new"] = {}
    assert body == {**with_blocks(TEXT), "tools": [A_TOOL]}


def test_subclasses_of_plain_types_are_sent_as_what_they_are() -> None:
    class Text(str):
        __slots__ = ()

    class Number(float):  # as NumPy's
        pass

    class Level(enum.IntEnum):
        HIGH = 3

    class Effort(enum.StrEnum):
        HIGH = "high"

    params = {
        "model": Text("m"),
        "max_tokens": Level.HIGH,
        "temperature": Number(0.5),
        "messages": [UserDict({"role": "user", "content": Text("é")})],
        "output_config": {Text("effort"): Effort.HIGH},
    }
    assert msgspec.json.decode(msgspec.json.encode(chat_body(params, api_version=OLDER))) == {
        "model": "m",
        "max_tokens": 3,
        "temperature": 0.5,
        "messages": [{"role": "user", "content": "é"}],
        "output_config": {"effort": "high"},
    }


def test_the_note_on_an_input_that_is_no_json_is_not_sent_back() -> None:
    call = {"type": "tool_use", "id": "i", "name": "n", "input": {}}
    other = {"type": "of_the_future", "input_json": "x"}
    body = chat_body(with_blocks({**call, "input_json": '{"a'}, other, role="assistant"), api_version=OLDER)
    assert body["messages"][0]["content"] == [call, other]


@pytest.mark.parametrize(
    ("extra", "place"),
    [(5, "extra_body"), ({"a": {1}}, "extra_body.a"), ({5: 1}, "extra_body")],
)
def test_an_extra_body_that_cannot_be_sent_is_refused(extra: Any, place: str) -> None:
    with pytest.raises(ParameterError) as caught:
        chat_body(FINE, api_version=OLDER, extra_body=extra)
    assert [problem.place for problem in caught.value.problems] == [place]


def test_counting_tokens_needs_no_max_tokens() -> None:
    assert count_tokens_problems({"model": "m", "messages": HELLO}, api_version=OLDER) == []
    (problem,) = count_tokens_problems({"messages": HELLO}, api_version=OLDER)
    assert problem.place == "model"


def test_the_body_of_a_token_count_is_made_like_that_of_a_chat() -> None:
    body = count_tokens_body(
        {"model": "m", "messages": HELLO, "system": None}, api_version=OLDER, extra_body={"future": 1}
    )
    assert body == {"model": "m", "messages": HELLO, "future": 1}
    with pytest.raises(ParameterError, match="model: required, and missing"):
        count_tokens_body({"messages": HELLO}, api_version=OLDER)
    assert {"model", "messages", "tools"} <= set(COUNT_PARAMETERS) < set(PARAMETERS)


def test_the_content_of_every_recorded_answer_may_be_sent_back(corpus: Path) -> None:
    checked = 0
    for path in [*corpus.glob("messages/*.json"), *corpus.glob("streams/*.expected.json")]:
        recorded = json.loads(path.read_text())
        content = recorded.get("message", recorded).get("content")
        if content is None or "spliced" in path.name:
            continue
        assert problems({**FINE, "messages": [*HELLO, {"role": "assistant", "content": content}]}) == []
        checked += 1
    assert checked > 50


def test_what_an_answer_has_without_content_is_not_sent_back() -> None:
    """The API sends texts that are empty or white space alone now and then, and takes none of them."""
    call = {"type": "tool_use", "id": "i", "name": "n", "input": {}}
    blank, space = {"type": "text", "text": ""}, {"type": "text", "text": "\n\n"}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i", "content": "done"}]}
    given = [
        *HELLO,
        {"role": "assistant", "content": [blank, call, space]},
        result,
        {"role": "assistant", "content": [space]},
        *HELLO,
    ]
    params = {**FINE, "messages": given}
    assert problems(params) == []
    sent = chat_body(params, api_version=OLDER)["messages"]
    assert sent == [*HELLO, {"role": "assistant", "content": [call]}, result, *HELLO]
    assert given[1]["content"] == [blank, call, space], "the caller's own were changed"
    asked = [{"role": "user", "content": [blank]}]
    assert problems({**FINE, "messages": asked}) == [
        "messages[0].content[0].text: expected a string that is not empty, got ''"
    ]


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**4300 - 1, 1 - 10**4300], ids=int.bit_length)
def test_an_integer_of_any_length_that_can_be_written_is_sent(number: int) -> None:
    call = {"type": "tool_use", "id": "i", "name": "n", "input": {"wei": number}}
    body = chat_body({**FINE, "messages": [{"role": "assistant", "content": [call]}]}, api_version=OLDER)
    assert json.loads(msgspec.json.encode(body))["messages"][0]["content"][0]["input"] == {"wei": number}


PLACE = re.compile(r"\['(.*?)'\]|\.?([^.\[\]]+)|\[(\d+)\]")
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["text", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "role", "source", "a b"]), inner, max_size=3)
    ),
    max_leaves=8,
)


WHOLE: dict[str, Any] = {
    **FINE,
    "messages": [
        *HELLO,
        {"role": "assistant", "content": [block for block in GOOD_BLOCKS if block["type"] != "tool_result"]},
        {"role": "user", "content": [RESULT, *(block for block in GOOD_BLOCKS if block["type"] != "tool_result")]},
    ],
    "system": [TEXT],
    "tools": [A_TOOL, {"type": "custom", **A_TOOL, "name": "t2"}, {"type": "bash_20990101", "name": "bash"}],
    "tool_choice": {"type": "tool", "name": "t"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["END"],
    "temperature": 1,
}


def everywhere(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Get the path of everything that is in a value."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in everywhere(item, (*path, key)))]


@given(st.sampled_from(everywhere(WHOLE)[1:]), JSON | st.just(...), st.sampled_from([OLDER, NEWER]))
def test_whatever_changes_in_a_request_it_is_sent_or_refused_at_places_that_exist(
    path: tuple[Any, ...], value: Any, version: str
) -> None:
    params = copy.deepcopy(WHOLE)
    target: Any = params
    for key in path[:-1]:
        target = target[key]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    sent_or_refused(params, version)


@given(st.dictionaries(st.sampled_from(PARAMETERS), JSON, max_size=6), st.sampled_from([OLDER, NEWER]))
def test_whatever_is_given_is_either_sent_or_refused_at_places_that_exist(params: dict[str, Any], version: str) -> None:
    sent_or_refused({**FINE, **params}, version)


def sent_or_refused(params: dict[str, Any], version: str) -> None:
    try:
        body = chat_body(params, api_version=version)
    except ParameterError as error:
        for problem in error.problems:
            assert reachable(params, problem.place)
    else:
        assert json.loads(msgspec.json.encode(body)) == json.loads(json.dumps(body, allow_nan=False))


def test_a_request_with_everything_is_sent() -> None:
    assert chat_body(WHOLE, api_version=OLDER) == WHOLE


def reachable(value: Any, place: str) -> bool:
    """Whether a place is in a value, or its last key could be."""
    steps = [int(index) if index else quoted or name for quoted, name, index in PLACE.findall(place)]
    for step in steps[:-1]:
        value = value[step]
    return isinstance(steps[-1], str) or steps[-1] < len(value)


KINDS: list[Kind] = [CHAT, MESSAGES, CONTENT, TOOL, TOOL_CHOICE, THINKING, OUTPUT_CONFIG, *BLOCKS.values()]


@given(st.sampled_from(KINDS), JSON | st.sampled_from([*GOOD_BLOCKS, A_TOOL, WHOLE, *WHOLE.values()]))
def test_msgspec_passes_nothing_that_has_problems(kind: Kind, value: Any) -> None:
    if fits(value, kind.type):
        assert list(kind.problems(value, "x")) == []


@pytest.mark.parametrize("kind", [STRING, CONTENT])
def test_a_kind_itself_finds_nothing_wrong_with_what_fits(kind: Kind) -> None:
    assert fits("x", kind.type)
    assert list(kind.problems("x", "place")) == []


@pytest.mark.parametrize("version", [OLDER, NEWER])
def test_a_long_conversation_passes(version: str) -> None:
    params = {name: value for name, value in WHOLE.items() if name != "temperature"}
    assert problems({**params, "messages": [WHOLE["messages"][0], WHOLE["messages"][2]] * 50}, version) == []


CORE_BLOCKS = [block for block in GOOD_BLOCKS if not any(word in str(block) for word in ("future", "file", "anything"))]


@given(
    st.lists(st.sampled_from(CORE_BLOCKS)),
    st.sampled_from(["user", "assistant"]),
    st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.floats(0, 1),
            "top_k": st.integers(0, 100),
            "stop_sequences": st.lists(st.text(max_size=3)),
            "system": st.text(),
            "tools": st.just([A_TOOL]),
            "tool_choice": st.sampled_from([{"type": "auto"}, {"type": "tool", "name": "t"}]),
        },
    ),
)
def test_what_passes_here_passes_the_apis_own_document(blocks: list[Any], role: str, more: dict[str, Any]) -> None:
    params = {**with_blocks(TEXT, *blocks, role=role), **more}
    assert problems(params) == []
    validator = api_validator()
    if validator is None:
        pytest.skip(f"the API's documents {NOT_HERE}")
    validator.validate(params)


def api_validator(cache: list[Any] = []) -> Any:  # noqa: B006 - read once
    path = SHARED / "openapi" / "anthropic-core.json"
    if not cache and path.exists():
        document = json.loads(path.read_text())
        schema = {"$ref": "#/components/schemas/CreateMessageParams", "components": document["components"]}
        cache.append(jsonschema.Draft202012Validator(schema))
    return cache[0] if cache else None


class Unreadable(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no items today")


def test_a_mapping_of_a_class_of_the_caller_s_may_raise_anything() -> None:
    assert problems({**FINE, "metadata": Unreadable(user_id="u")}) == [
        "metadata: it cannot be read: no items today",
    ]


FIRST_USE = """
import sys, threading
from anthropix_actors.chat.parameters import chat_problems

sys.setswitchinterval(1e-6)
params = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
barrier = threading.Barrier(16)

def check():
    barrier.wait()
    assert chat_problems(params, api_version="2023-06-01") == []

threads = [threading.Thread(target=check) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_many_threads_may_be_the_first_to_check_parameters() -> None:
    """msgspec takes the interpreter down when two threads look at a type for the first time at once."""
    children = [subprocess.Popen([sys.executable, "-P", "-c", FIRST_USE]) for _ in range(8)]
    assert [child.wait(60) for child in children] == [0] * 8


FORKS = """
import os, signal, threading, time
from anthropix_actors._checks.resolving import RESOLVING

def hold_again_and_again():
    while True:
        with RESOLVING:
            sum(range(1000))
        time.sleep(0.0001)  # a lock is not fair: the fork might wait for long

threading.Thread(target=hold_again_and_again, daemon=True).start()
for _ in range(30):
    child = os.fork()
    if not child:
        signal.alarm(5)
        with RESOLVING:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_fork_waits_until_no_type_is_half_seen() -> None:
    command = [sys.executable, "-P", "-W", "ignore", "-c", FORKS]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


def test_a_lock_that_is_not_given_back_is_not_waited_for_long() -> None:
    """A signal handler may hold it up, while it waits for a chat whose thread checks a block."""
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with RESOLVING:
            inside.set()
            wait(go_on)

    other = threading.Thread(target=hold)
    other.start()
    wait(inside)
    shape = Shape({"url": STRING}, {"width": Leaf("an integer", int)})
    assert not fits({"url": "x"}, shape.type)  # it is not looked at
    assert [*problems_of(shape, {"url": "x", "width": 5}, "image")] == []
    assert [problem.place for problem in problems_of(shape, {"width": "5"}, "image")] == ["image.url", "image.width"]
    go_on.set()
    other.join(DEADLINE)
    assert fits({"url": "x"}, shape.type)


HANDLED = """
import signal
from typing import _eval_type
import msgspec, typing
from anthropix_actors._checks.shapes import Leaf, Shape, problems_of

shape = Shape({"inner": Shape({"n": Leaf("an integer", int)})})
found = []

def handle(*_):
    found.append([problem.place for problem in problems_of(shape, {"inner": {"n": "5"}}, "x")])

signal.signal(signal.SIGUSR1, handle)

def evaluate(*args, **more):  # what msgspec calls for each annotation of a class that it looks at
    signal.raise_signal(signal.SIGUSR1)
    return _eval_type(*args, **more)

import msgspec._utils
msgspec._utils._eval_type = evaluate
print([*problems_of(shape, {"inner": {"n": 5}}, "x")], found[0], len(found) > 1)
"""


def test_a_signal_handler_may_come_in_the_middle_of_a_first_look_at_a_type() -> None:
    """msgspec takes the interpreter down when a class is used that it has half looked at."""
    command = [sys.executable, "-P", "-c", HANDLED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("[] ['x.inner.n'] True\n", 0), done.stderr
