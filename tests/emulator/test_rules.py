"""The emulator's refusals over the wire, rule by rule; and that it accepts the requests that the API accepted."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors.emulator import (
    RULES,
    Compaction,
    Emulator,
    Pace,
    PauseTurn,
    Refusal,
    Reply,
    Status,
    Thinking,
    ToolCall,
    serve,
)
from anthropix_actors.emulator._model.events import encode, message_events
from anthropix_actors.emulator.rules import active, first_refusal, table
from anthropix_actors.emulator.rules.chat_request import ChatRequest
from anthropix_actors.emulator.rules.sent_thoughts import SentThoughts
from anthropix_actors.emulator.rules.thinking import places, sign

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 20.0
HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
CHAT = "/v1/messages"
COUNT = CHAT + "/count_tokens"
BATCHES = CHAT + "/batches"
DOCS = Path(__file__).parents[2] / "docs" / "emulator-rules.md"

JSON = dict[str, Any]


def user(*content: Any) -> JSON:
    return {"role": "user", "content": list(content)}


def model(*content: Any) -> JSON:
    return {"role": "assistant", "content": list(content)}


def said(*messages: JSON) -> JSON:
    return {"messages": [{"role": "user", "content": "Hi"}, *messages]}


def text(words: str = "Well.", **more: Any) -> JSON:
    return {"type": "text", "text": words, **more}


def call(call_id: str = "toolu_1", **more: Any) -> JSON:
    return {"type": "tool_use", "id": call_id, "name": "clock", "input": {}, **more}


def result(call_id: str = "toolu_1", **more: Any) -> JSON:
    return {"type": "tool_result", "tool_use_id": call_id, "content": "noon", **more}


def search(call_id: str = "srvtoolu_1") -> JSON:
    return {"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {"query": "noon"}}


def found(call_id: str = "srvtoolu_1") -> JSON:
    return {"type": "web_search_tool_result", "tool_use_id": call_id, "content": []}


def thought(place: int = 0, thinking: str = "Hm.", **more: Any) -> JSON:
    return {"type": "thinking", "thinking": thinking, "signature": sign(thinking, place), **more}


def image(media_type: str, data: str, kind: str = "image") -> JSON:
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}}


def cached(ttl: str | None = None, **more: Any) -> JSON:
    return text("x", cache_control={"type": "ephemeral", **({"ttl": ttl} if ttl else {})}, **more)


def tool(name: str = "clock", **more: Any) -> JSON:
    return {"name": name, "input_schema": {"type": "object"}, **more}


def strict(schema: JSON) -> JSON:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


PNG, JPEG = "iVBORw0KGgo=", "/9j/4AAQ"
BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
ADAPTIVE = {"thinking": {"type": "adaptive"}}
CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
NEWER = {"anthropic-version": "2026-10-21"}
STRUCTURED = {"anthropic-beta": "files-api-2025-04-14, structured-outputs-2025-11-13"}
NO_RESULTS = (
    "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block "
    "must have a corresponding `tool_result` block in the next message."
)


class Case(NamedTuple):
    """A request that a rule refuses, the words, and a similar request that is accepted."""

    rule: str
    refused: JSON
    words: str
    taken: JSON
    headers: dict[str, str] = {}  # noqa: RUF012 - read only


CASES = [
    Case("unknown-key", {"foo": 1}, "foo: Extra inputs are not permitted", {"service_tier": "auto"}),
    Case(
        "unknown-key",
        {"output_format": {"type": "json_schema", "schema": CLOSED}},
        "output_format: Extra inputs are not permitted",
        {},
    ),
    Case(
        "message-key",
        said({"role": "user", "content": "x", "id": 1}),
        "messages.1.id: Extra inputs are not permitted",
        said({"role": "user", "content": "x"}),
    ),
    Case(
        "block-key",
        said(model(text(parsed_output=None)), user(text())),
        "messages.1.content.0.text.parsed_output: Extra inputs are not permitted",
        said(model(text(citations=None), {"type": "brand_new", "key": 1}), user(text())),
    ),
    Case(
        "stop-sequence-blank",
        {"stop_sequences": ["END", " \n"]},
        "stop_sequences: each stop sequence must contain non-whitespace",
        {"stop_sequences": ["\nEND "]},
    ),
    Case(
        "effort-unknown",
        {"output_config": {"effort": "extreme"}},
        "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        {"output_config": {"effort": "xhigh"}},
    ),
    Case(
        "version-sampling",
        {"top_k": 5},
        "top_k: the API refuses this from version 2026-10-21 on",
        {"top_k": None},
        NEWER,
    ),
    Case(
        "version-documents",
        said(model(image("application/pdf", "JVBERi0=", "document"), text()), user(text())),
        "messages.1.content.0: the API refuses this from version 2026-10-21 on: a document directly in a message of "
        "the assistant",
        said(user(image("application/pdf", "JVBERi0=", "document"))),
        NEWER,
    ),
    Case(
        "version-citations",
        said(user(text(citations=[{"type": "char_location"}]))),
        "messages.1.content.0.text.citations: the API refuses this from version 2026-10-21 on: citations on a text "
        "block of the user",
        said(model(text(citations=[{"type": "char_location"}])), user(text(citations=[]))),
        NEWER,
    ),
    Case(
        "image-media-type",
        said(user(image("image/jpg", JPEG))),
        "messages.1.content.0.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' "
        "or 'image/webp'",
        said(user(image("image/jpeg", JPEG))),
    ),
    Case(
        "document-media-type",
        said(user(image("text/plain", "aGVsbG8=", "document"))),
        "messages.1.content.0.document.source.base64.media_type: Input should be 'application/pdf'",
        said(user({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}})),
    ),
    Case(
        "image-empty",
        said(user(image("image/png", ""))),
        "messages.1.content.0.image.source.base64: image cannot be empty",
        said(user(image("image/png", PNG))),
    ),
    Case(
        "base64",
        said(model(call()), user(result(content=[image("image/png", "data:image/png;base64," + PNG)]))),
        "messages.2.content.0.tool_result.content.0.image.source.base64: invalid base64 data",
        said(user(image("image/png", PNG[:4] + "\n" + PNG[4:]))),
    ),
    Case(
        "image-mismatch",
        said(user(image("image/jpeg", PNG))),
        "messages.1.content.0.image.source.base64: The image was specified using the image/jpeg media type, but the "
        "image appears to be a image/png image",
        said(user(image("image/webp", base64.b64encode(b"RIFF\0\0\0\0WEBPVP8 ").decode()))),
    ),
    Case(
        "cache-ttl",
        {"system": [cached("2h")]},
        "system.0.cache_control.ttl: Input should be '5m' or '1h'",
        {"system": [cached("1h")]},
    ),
    Case(
        "cache-ttl",
        {"cache_control": {"type": "ephemeral", "ttl": "1d"}},
        "cache_control.ttl: Input should be '5m' or '1h'",
        {"cache_control": {"type": "ephemeral", "ttl": None}},
    ),
    Case(
        "cache-ttl-order",
        {**said(user(cached("1h"))), "tools": [tool(cache_control={"type": "ephemeral"})]},
        "messages.1.content.0.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
        "cache_control block. Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
        {**said(user(cached())), "tools": [tool(cache_control={"type": "ephemeral", "ttl": "1h"})]},
    ),
    Case(
        "cache-breakpoints",
        {**said(user(cached(), cached(), cached())), "system": [cached(), cached()]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        {**said(user(cached(), cached(), cached())), "system": [cached()], "cache_control": {"type": "ephemeral"}},
    ),
    Case(
        "cache-breakpoints",
        {**said(user(*[cached()] * 4, text())), "cache_control": {"type": "ephemeral"}},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        {**said(user(*[cached()] * 3, text())), "cache_control": {"type": "ephemeral"}},
    ),
    Case(
        "cache-automatic-ttl",
        {**said(user(cached("1h"))), "cache_control": {"type": "ephemeral"}},
        "Top-level cache_control has ttl='5m' but the target block already has cache_control with ttl='1h'",
        {**said(user(cached("5m"))), "cache_control": {"type": "ephemeral"}},
    ),
    Case(
        "cache-empty-text",
        {"system": [{**cached(), "text": " "}], **said(user(text("") | {"cache_control": {"type": "ephemeral"}}))},
        "messages.1.content.0.text: cache_control cannot be set for empty text blocks",
        {"system": [{**cached(), "text": " "}]},
    ),
    Case("tool-name-twice", {"tools": [tool(), tool()]}, "tools: Tool names must be unique.", {"tools": [tool()]}),
    Case(
        "tool-choice-without-tools",
        {"tool_choice": {"type": "any"}},
        "tool_choice.any may only be specified while providing tools",
        {"tool_choice": {"type": "auto"}},
    ),
    Case(
        "tool-choice-unknown",
        {"tool_choice": {"type": "tool", "name": "watch"}, "tools": [tool()]},
        "Tool 'watch' not found in provided tools",
        {"tool_choice": {"type": "tool", "name": "clock"}, "tools": [tool()]},
    ),
    Case(
        "tool-schema-alternatives",
        {"tools": [tool(), tool("b", input_schema={"type": "object", "anyOf": []})]},
        "tools.1.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
        {"tools": [tool(input_schema={"type": "object", "properties": {"n": {"anyOf": []}}})]},
    ),
    Case(
        "output-format-schema",
        {"output_format": {"type": "json_schema"}},
        "output_format.schema: Field required",
        {"output_format": {"type": "json_schema", "schema": CLOSED}},
        STRUCTURED,
    ),
    Case(
        "schema-limits",
        strict({**CLOSED, "properties": {"n": {"type": "array", "items": {"type": "integer", "minimum": 0}}}}),
        "output_config.format.schema: For 'integer' type, property 'minimum' is not supported",
        strict(CLOSED),
    ),
    Case(
        "schema-open",
        {"tools": [tool(strict=True)]},
        "tools.0.custom: For 'object' type, 'additionalProperties' must be explicitly set to false",
        {"tools": [tool(strict=True, input_schema=CLOSED), tool("b")]},
    ),
    Case(
        "schema-open",
        strict({**CLOSED, "properties": {"n": {"anyOf": [{"type": "null"}, {"type": "object"}]}}}),
        "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        strict({"type": "string"}),
    ),
    Case(
        "first-message-system",
        {"messages": [{"role": "system", "content": "Be brief."}, user(text())]},
        "messages.0: use the top-level 'system' parameter for the initial system prompt",
        said({"role": "system", "content": "Be brief."}),
    ),
    Case(
        "message-empty",
        said(model(text()), {"role": "user", "content": ""}),
        "messages.2: all messages must have non-empty content except for the optional final assistant message",
        said({"role": "assistant", "content": []}),
    ),
    Case(
        "text-empty",
        said(model(text(""), call()), user(result())),
        "messages: text content blocks must be non-empty",
        said(model(call()), user(result(content=""))),
    ),
    Case(
        "text-blank",
        said(model(text(" "), text("\n")), user(text())),
        "messages: text content blocks must contain non-whitespace text",
        said(model(text(" "), call()), user(result())),
    ),
    Case(
        "prefill-whitespace",
        said(model(text("Well: "))),
        "messages: final assistant content cannot end with trailing whitespace",
        said(model(text("Well: ")), user(text())),
    ),
    Case(
        "prefill-model",
        {**said(model(text())), "model": "claude-sonnet-4-6"},
        "This model does not support assistant message prefill. The conversation must end with a user message.",
        {**said(model(text())), "model": "claude-sonnet-4-5-20250929"},
    ),
    Case(
        "tool-use-role",
        said(user(call())),
        "messages.1: `tool_use` blocks can only be in `assistant` messages",
        said(model(call()), user(result())),
    ),
    Case(
        "tool-result-role",
        said(model(call()), user(result()), model(result())),
        "messages.3: `tool_result` blocks can only be in `user` messages",
        said(model(call()), user(result()), model(text())),
    ),
    Case(
        "tool-use-id",
        said(model(call("functions.clock:0")), user(result("functions.clock:0"))),
        "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
        said(model(call("call_0-A")), user(result("call_0-A"))),
    ),
    Case(
        "tool-use-id-twice",
        said(model(call(), call()), user(result())),
        "messages.1.content.1: `tool_use` ids must be unique",
        said(model(call()), user(result()), model(call()), user(result())),
    ),
    Case(
        "tool-result-missing",
        said(model(call("a"), call("b"), call("c")), user(result("b"))),
        NO_RESULTS.format("a, c"),
        said(model(call("a"), call("b")), user(result("b")), user(result("a"), text())),
    ),
    Case(
        "tool-result-missing",
        said(model(call())),
        NO_RESULTS.format("toolu_1").replace("messages.2", "messages.1"),
        said(model(text())),
    ),
    Case(
        "tool-result-late",
        said(model(call("a"), call("b")), user(result("a"), text(), result("b"))),
        NO_RESULTS.format("b"),
        said(model(call("a"), call("b")), user(result("a"), result("b"), text())),
    ),
    Case(
        "tool-result-unasked",
        said(model(call()), user(result(), result("toolu_2"))),
        "messages.2.content.1: unexpected `tool_use_id` found in `tool_result` blocks: toolu_2. Each `tool_result` "
        "block must have a corresponding `tool_use` block in the previous message.",
        said(model(call("toolu_1"), call("toolu_2")), user(result(), result("toolu_2"))),
    ),
    Case(
        "tool-result-twice",
        said(model(call()), user(result(), result())),
        "messages.2.content.1: each tool_use must have a single result. Found multiple `tool_result` blocks with id: "
        "toolu_1",
        said(model(call()), user(result())),
    ),
    Case(
        "tool-result-error-content",
        said(model(call()), user(result(is_error=True, content=[text(), image("image/png", PNG)]))),
        "messages.2.content.0.tool_result: all content must be type `text` if `is_error` is true",
        said(
            model(call(), call("b")),
            user(result(content=[text(), image("image/png", PNG)]), result("b", is_error=True, content=[text()])),
        ),
    ),
    Case(
        "server-result-unasked",
        said(model(search(), found("srvtoolu_2"), found(), text()), user(text())),
        "messages.1.content.1: unexpected `tool_use_id` found in `web_search_tool_result` blocks: srvtoolu_2. Each "
        "`web_search_tool_result` block must have a corresponding `server_tool_use` block before it.",
        said(model(search(), found(), text()), user(text())),
    ),
    Case(
        "server-result-missing",
        said(model(text(), search()), user(text("Go on."))),
        "messages.1: `web_search` tool use with id `srvtoolu_1` was found without a corresponding "
        "`web_search_tool_result` block",
        {
            **said(model(search("a"), found("a"), search("b"), text()), user(text()), model(text(), search())),
            "model": "claude-sonnet-5",
        },
    ),
    Case(
        "thinking-budget-small",
        {"thinking": {"type": "enabled", "budget_tokens": 1000}},
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    ),
    Case(
        "thinking-temperature",
        {**ADAPTIVE, "temperature": 0.5},
        "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode. Please consult our "
        "documentation at https://platform.claude.com/docs/en/build-with-claude/extended-thinking",
        {**ADAPTIVE, "temperature": 1},
    ),
    Case(
        "thinking-top-p",
        {**BUDGET, "top_p": 0.9},
        "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled or in adaptive mode. Please "
        "consult our documentation at https://platform.claude.com/docs/en/build-with-claude/extended-thinking",
        {**BUDGET, "top_p": 0.95},
    ),
    Case(
        "thinking-top-k",
        {**BUDGET, "top_k": 5},
        "`top_k` must be unset when thinking is enabled. Please consult our documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
        "#important-considerations-when-using-extended-thinking",
        {"thinking": {"type": "disabled"}, "top_k": 5},
    ),
    Case(
        "thinking-forced-tool",
        {**BUDGET, "tools": [tool()], "tool_choice": {"type": "any"}},
        "Thinking may not be enabled when tool_choice forces tool use.",
        {**BUDGET, "tools": [tool()], "tool_choice": {"type": "auto"}},
    ),
    Case(
        "thinking-not-first",
        {**BUDGET, **said(model(text(), thought(1), text()), user(text()))},
        "messages.1.content.0: If an assistant message contains any thinking blocks, the first block must be "
        "`thinking` or `redacted_thinking`. Found `text`.",
        {**BUDGET, **said(model(search(), found(), thought(2), text()), user(text()))},
    ),
    Case(
        "thinking-last",
        said(model(thought()), user(text())),
        "messages.1: The final block in an assistant message cannot be `thinking`.",
        said(model(thought()), model(text()), user(text())),
    ),
    Case(
        "thinking-missing",
        {**BUDGET, **said(model(call()), user(result()))},
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` "
        "is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of "
        "`tool_use` and `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid "
        "this requirement, disable `thinking`. Please consult our documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking",
        {**BUDGET, **said(model({"type": "redacted_thinking", "data": "x"}, call()), user(result()))},
    ),
    Case(
        "thinking-missing",
        {**BUDGET, **said(model(call()), user(result()), model(call("toolu_2")), user(result("toolu_2")))},
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` "
        "is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of "
        "`tool_use` and `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid "
        "this requirement, disable `thinking`. Please consult our documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking",
        {
            **BUDGET,
            **said(model(thought(), call()), user(result()), model(call("toolu_2")), user(result("toolu_2"))),
        },
    ),
    Case(
        "thinking-disabled",
        said(model(thought(), text())),
        "messages.1.content.0: When thinking is disabled, an `assistant` message in the final position cannot contain "
        "`thinking`. To use thinking blocks, enable `thinking` in your request.",
        {**BUDGET, **said(model(thought(), text()))},
    ),
    Case(
        "thinking-signature",
        said(model(thought(signature=""), text()), user(text())),
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        said(model(thought(signature="RWFybGllcg=="), text()), user(text())),
    ),
    Case(
        "thinking-signature",
        said(model(thought(), thought(1, signature=" "), text()), user(text())),
        "messages.1.content.1: Invalid `signature` in `thinking` block",
        said(model(thought(), thought(1, signature="sig_1"), text()), user(text())),
    ),
    Case(
        "thinking-changed",
        said(model(thought(), {**thought(), "thinking": "Hm!"}, text()), user(text())),
        "messages.1.content.1: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be "
        "modified. These blocks must remain as they were in the original response.",
        said(model({**thought(), "thinking": "Hm!"}, text()), user(text()), model(text()), user(text())),
    ),
]

CHATS_ALONE = [
    Case(
        "thinking-budget-large",
        {**BUDGET, "max_tokens": 2000},
        "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size",
        {**BUDGET, "max_tokens": 2001},
    ),
    Case(
        "thinking-budget-large",
        {**BUDGET, "max_tokens": 2000},
        "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size",
        {**BUDGET, "max_tokens": 2000, "tools": [tool()]},
        {"anthropic-beta": "interleaved-thinking-2025-05-14"},
    ),
]
"""Parameters that token counts do not have."""

_SAMPLING = {"temperature", "top_p", "top_k", "stop_sequences", "max_tokens", "service_tier", "output_format"}


def name_of(value: object) -> str:
    return value.rule if isinstance(value, Case) else str(value)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def post(emulator: Emulator, path: str, body: JSON, headers: dict[str, str] | None = None) -> requests.Response:
    return requests.post(emulator.url + path, headers=HEADERS | (headers or {}), json=body, timeout=DEADLINE)


def chat(changes: JSON) -> JSON:
    return {"model": "claude-haiku-4-5", "max_tokens": 4000, "messages": [user(text("Hi"))], **changes}


def words(response: requests.Response) -> str:
    error: JSON = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    return str(error["message"])


def test_each_rule_has_its_case() -> None:
    assert {case.rule for case in [*CASES, *CHATS_ALONE]} | {"batch-stream"} == set(RULES)


@pytest.mark.parametrize("case", [*CASES, *CHATS_ALONE], ids=name_of)
def test_a_chat_is_refused_in_the_apis_words(emulator: Emulator, case: Case) -> None:
    assert words(post(emulator, CHAT, chat(case.refused), case.headers)) == case.words
    assert post(emulator, CHAT, chat(case.taken), case.headers).status_code == 200


@pytest.mark.parametrize("case", [case for case in CASES if not _SAMPLING & case.refused.keys()], ids=name_of)
def test_a_token_count_is_refused_alike(emulator: Emulator, case: Case) -> None:
    refused, taken = chat(case.refused), chat({key: case.taken[key] for key in case.taken if key not in _SAMPLING})
    del refused["max_tokens"], taken["max_tokens"]
    assert words(post(emulator, COUNT, refused, case.headers)) == case.words
    assert post(emulator, COUNT, taken, case.headers).status_code == 200


def test_each_request_of_a_batch_is_refused_alike_when_it_is_done(emulator: Emulator) -> None:
    cases = [case for case in [*CASES, *CHATS_ALONE] if not case.headers]
    wrong = [chat(case.refused) for case in cases]
    bodies = [*wrong, chat({"stream": True}), chat({"stream": False})]
    asked = [{"custom_id": str(number), "params": params} for number, params in enumerate(bodies)]
    made = post(emulator, BATCHES, {"requests": asked}).json()
    shown = requests.get(f"{emulator.url}{BATCHES}/{made['id']}", headers=HEADERS, timeout=DEADLINE).json()
    assert (shown["request_counts"]["errored"], shown["request_counts"]["succeeded"]) == (len(wrong) + 1, 1)
    lines = requests.get(shown["results_url"], headers=HEADERS, timeout=DEADLINE).text.splitlines()
    errors = [json.loads(line)["result"]["error"]["error"]["message"] for line in lines[:-1]]
    assert errors == [*(case.words for case in cases), "stream: Extra inputs are not permitted"]


@pytest.mark.parametrize("case", [*CASES, *CHATS_ALONE], ids=name_of)
def test_a_rule_that_is_switched_off_refuses_nothing(case: Case) -> None:
    asked = ChatRequest(
        chat(case.refused),
        version=case.headers.get("anthropic-version", "2023-06-01"),
        betas=frozenset(case.headers.get("anthropic-beta", "").split(", ")),
        known=frozenset(chat(case.refused)) - {"foo", "output_format"},
    )
    assert first_refusal(asked, active()) == case.words
    assert case.words not in [found for rule in active({case.rule}) for found in rule.refusals(asked)]


def test_an_emulator_keeps_all_rules_but_those() -> None:
    prefill = chat(said(model(text("Well: "))))
    with Emulator(without=["prefill-whitespace", "text-empty"]) as emulator:
        assert post(emulator, CHAT, prefill).status_code == 200
        assert post(emulator, COUNT, {key: prefill[key] for key in ("model", "messages")}).status_code == 200
        assert post(emulator, CHAT, chat(said(model(text("")), user(text())))).status_code == 200
        assert post(emulator, CHAT, chat(said(model(text(" ")), user(text())))).status_code == 400


@pytest.mark.parametrize(
    ("without", "error", "said"),
    [
        (
            {"prefill_whitespace"},
            ValueError,
            "no rule is called 'prefill_whitespace'; did you mean 'prefill-whitespace'",
        ),
        ({"x"}, ValueError, "no rule is called 'x'; see anthropix_actors.emulator.RULES"),
        ([7], ValueError, "no rule is called 7"),
        ("base64", TypeError, r"without must be a collection of names: give \['base64'\]"),
    ],
)
def test_a_name_that_is_no_rules_is_an_error_at_once(without: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Emulator(without=without)
    with pytest.raises(error, match=said):
        serve(without=without)


def test_each_rule_says_where_it_is_known_from() -> None:
    for name, rule in RULES.items():
        assert rule.name == name
        assert rule.source.startswith("https://") or rule.source == "the API's OpenAPI document"
        assert rule.against
        assert rule.says
        assert "check" not in repr(rule)


def test_the_documentation_has_all_rules() -> None:
    assert table() in DOCS.read_text()


# Types, which are always checked


@pytest.mark.parametrize(
    ("changes", "begin"),
    [
        (said(user({"type": "text"})), "messages.1.content.0.text: Field required"),
        (said(user({"type": "text", "text": 7})), "messages.1.content.0.text: "),
        ({"thinking": {"type": "enabled", "budget_tokens": "2000"}}, "thinking.budget_tokens: "),
        ({"thinking": {"type": "enabled", "budget_tokens": True}}, "thinking.budget_tokens: "),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: Field required"),
        ({"system": [text("")]}, "system.0.text: "),
    ],
)
def test_what_is_missing_or_of_a_wrong_type_is_refused_whatever_is_switched_off(changes: JSON, begin: str) -> None:
    with Emulator(without=RULES) as emulator:
        assert words(post(emulator, CHAT, chat(changes))).startswith(begin)


# Thoughts that are sent back


def test_an_answer_can_be_sent_back_as_it_is_and_not_otherwise(emulator: Emulator) -> None:
    asked = chat({**BUDGET, "tools": [tool()], **said()})
    emulator.queue(Reply([Thinking("One."), Thinking("Two."), "I look.", ToolCall("clock", id="toolu_1")]))
    content = post(emulator, CHAT, asked).json()["content"]
    back = [*asked["messages"], model(*content), user(result())]
    assert post(emulator, CHAT, {**asked, "messages": back}).status_code == 200
    first, second, *rest = content
    for changed in (
        [{**first, "thinking": "One!"}, second, *rest],
        [second, first, *rest],
        [second, *rest],
        [first, {**second, "signature": first["signature"]}, *rest],
    ):
        back[-2] = model(*changed)
        assert "cannot be modified" in words(post(emulator, CHAT, {**asked, "messages": back}))


STREAM = (
    b"".join(
        encode(event)
        for event in message_events(
            {"type": "message", "role": "assistant", "content": [{**thought(), "signature": "c2ln"}, text()]}
        )
    ),
    [
        {"type": "message_start", "message": {"type": "message", "role": "assistant", "content": [], "usage": {}}},
        {"type": "content_block_start", "index": 0, "content_block": {**thought(), "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": text()},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_stop"},
    ],
)


@pytest.mark.parametrize(
    "answer",
    [
        Reply([Thinking("Hm.", signature="c2ln"), text(""), "Well.", ToolCall("clock")]),
        Pace({"type": "message", "role": "assistant", "content": [{**thought(), "signature": "c2ln"}, text()]}),
        *STREAM,
        Path,
    ],
    ids=["a reply", "a message", "bytes", "events", "a file"],
)
def test_the_thoughts_of_a_script_are_remembered(answer: Any, tmp_path: Path) -> None:
    if answer is Path:
        (tmp_path / "recorded.sse").write_bytes(STREAM[0])
        answer = tmp_path / "recorded.sse"
    asked = chat(ADAPTIVE)
    with Emulator() as emulator:
        for stream in (False, True):
            emulator.queue(answer)
            assert post(emulator, CHAT, {**asked, "stream": stream}).status_code == 200
        for thinking, status in (("Hm.", 200), ("Hm!", 400)):
            back = [*asked["messages"], model({**thought(), "thinking": thinking, "signature": "c2ln"}, text())]
            changed = post(emulator, CHAT, {**asked, "messages": [*back, user(text())]})
            assert changed.status_code == status, changed.text
        moved = model({**thought(), "thinking": "More."}, text(), {**thought(), "signature": "c2ln"}, text())
        assert post(emulator, COUNT, {"model": "m", "messages": [*asked["messages"], moved]}).status_code == 400
        never = model({**thought(), "signature": "bmV2ZXI="}, text())
        assert post(emulator, CHAT, {**asked, "messages": [*back[:-1], never, user(text())]}).status_code == 200


def test_the_thoughts_of_every_kind_of_answer_are_remembered() -> None:
    thoughts = SentThoughts()
    hm = Thinking("Hm.", signature="c2ln")
    answers: list[Any] = [
        Refusal(content=[hm]),
        PauseTurn(content=["One.", hm]),
        Reply(["One.", Compaction("All."), hm]),
    ]
    for place, answer in enumerate(answers):
        thoughts.record(chat({}), answer)
        assert ("Hm.", place) in thoughts.sent_with("c2ln")


def test_an_answer_that_cannot_be_read_is_not_remembered(tmp_path: Path) -> None:
    thoughts = SentThoughts()
    once = iter([text()])
    odd: list[Any] = [None, "Hi", b"no events", b'"signature', tmp_path / "none", {"content": 1}, Status(529), once]
    for answer in (*odd, {"content": once}):
        thoughts.record(chat({}), answer)
    assert list(once) == [text()]
    thoughts.record(None, Reply([Thinking("Hm.", signature="c2ln")]))
    thoughts.record(chat({}), Reply([Thinking("Hm.")]))
    assert not thoughts.sent_with("c2ln")


def test_the_oldest_thoughts_are_forgotten() -> None:
    thoughts = SentThoughts()
    for number in range(10_001):
        thoughts.record(chat({}), Reply([Thinking("Hm.", signature=str(number))]))
    assert not thoughts.sent_with("0")
    assert thoughts.sent_with("1") == thoughts.sent_with("10000") == {("Hm.", 0)}


def test_omitted_thoughts_are_signed_too(emulator: Emulator) -> None:
    asked = chat({"thinking": {"type": "adaptive", "display": "omitted"}})
    content = post(emulator, CHAT, asked).json()["content"]
    assert content[0]["thinking"] == ""
    for thinking, status in (("", 200), ("Made up.", 400)):
        back = [*asked["messages"], model({**content[0], "thinking": thinking}, *content[1:]), user(text())]
        assert post(emulator, CHAT, {**asked, "messages": back}).status_code == status


def test_the_thoughts_of_a_turn_that_went_on_are_where_they_were(emulator: Emulator) -> None:
    emulator.queue(
        Reply([Thinking("One."), text("I "), search()], stop_reason="pause_turn"),
        Reply([found(), text("see: "), text(""), Thinking("Two."), "noon."]),
    )
    asked = chat(ADAPTIVE)
    paused = post(emulator, CHAT, asked).json()
    assert paused["stop_reason"] == "pause_turn"
    messages = [*asked["messages"], model(*paused["content"])]
    more = post(emulator, CHAT, {**asked, "messages": messages}).json()["content"]
    shown = [block for block in more if block.get("text") != ""]
    for back in ([*messages, model(*shown)], [messages[0], model(*paused["content"], *shown)]):
        assert post(emulator, CHAT, {**asked, "messages": [*back, user(text())]}).status_code == 200
    alone = [messages[0], model(*shown[1:]), user(text())]
    assert "cannot be modified" in words(post(emulator, CHAT, {**asked, "messages": alone}))


@given(st.lists(st.sampled_from(["text", "thinking", "tool_use"])), st.integers(0, 8))
def test_places_do_not_change_when_texts_are_joined(kinds: list[str], cut: int) -> None:
    counted = places(kinds)
    joined = [kind for index, kind in enumerate(kinds) if kind != "text" or kinds[index - 1 : index] != ["text"]]
    others = [place for place, kind in zip(counted, kinds, strict=True) if kind != "text"]
    assert others == [place for place, kind in zip(places(joined), joined, strict=True) if kind != "text"]
    assert places(kinds[:cut]) == counted[:cut]


# Any JSON

SAID = """user assistant system text tool_use tool_result thinking image document base64 5m 1h ephemeral enabled any
tool custom object integer"""

KEYS = """role content type text id tool_use_id name input source media_type data ttl thinking signature cache_control
is_error input_schema strict properties items anyOf budget_tokens schema format effort"""

PARAMETERS = """model messages system tools tool_choice thinking output_config output_format max_tokens stop_sequences
temperature top_p top_k cache_control stream mcp_servers foo"""

_WORDS = st.sampled_from(["", " ", "\ud800", "é", *SAID.split()])
_KEYS = st.sampled_from(KEYS.split())
_TOP = st.sampled_from(PARAMETERS.split())
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2000) | st.just(1.5) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"])},
        optional={"content": st.lists(_ANY, max_size=3) | _ANY},
    ),
    max_size=4,
)


@given(st.dictionaries(_TOP, _ANY, max_size=5), _MESSAGES, st.sampled_from(["2023-06-01", "2026-10-21"]))
def test_whatever_json_comes_no_rule_raises(body: JSON, messages: list[JSON], version: str) -> None:
    for changed in (body, {**body, "messages": messages}):
        asked = ChatRequest(changed, version=version, betas=frozenset({"structured-outputs-2025-11-13"}), in_batch=True)
        for rule in RULES.values():
            for refusal in rule.refusals(asked):
                assert refusal.endswith(rule.says[-10:]) or "{}" in rule.says


def test_blocks_and_schemas_may_be_as_deep_as_json_can() -> None:
    content: list[JSON] = []
    schema: JSON = {}
    for _ in range(2000):
        content, schema = [result(content=content)], {"anyOf": [schema]}
    asked = ChatRequest({**said(model(call()), user(*content)), **strict(schema)}, known=frozenset({"messages"}))
    assert first_refusal(asked, active({"unknown-key"})) is None


def test_a_source_of_another_form_is_passed_over() -> None:
    odd: list[Any] = [None, {}, {"type": "url"}, {"type": "base64"}, {"type": "base64", "media_type": 1, "data": "*"}]
    asked = ChatRequest(
        said(user(*({"type": "image", "source": source} for source in odd))), known=frozenset({"messages"})
    )
    assert first_refusal(asked, active()) is None


def answers(corpus: Path) -> Iterator[tuple[str, list[JSON]]]:
    for path in sorted((corpus / "messages").glob("*.json")):
        yield path.stem, json.loads(path.read_text())["content"]
    for path in sorted((corpus / "streams").glob("*.expected.json")):
        expected = json.loads(path.read_text())
        if "message" in expected:
            yield path.stem, expected["message"]["content"]


MADE_UP = {"spliced-message-start.expected"}


def test_recorded_answers_can_be_sent_back(corpus: Path) -> None:
    count = 0
    for name, content in answers(corpus):
        if not content or "REDACTED" in json.dumps(content) or name in MADE_UP:
            continue  # an empty answer, or ids and signatures are not the API's
        blocks = [block for block in content if block.get("text") != ""]
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        back = said(model(*earlier(blocks), *blocks), user(*(result(call_id) for call_id in calls), text("Go on.")))
        asked = ChatRequest(back, known=frozenset({"messages"}))
        assert first_refusal(asked, active()) is None, name
        count += 1
    assert count > 80


def earlier(blocks: list[JSON]) -> Iterator[JSON]:
    """Return the calls of an earlier answer: a server tool may wait until the user's tools are done."""
    for block in blocks:
        called = any(each.get("id") == block.get("tool_use_id") for each in blocks)
        if block["type"].endswith("_tool_result") and not called:
            yield search(block["tool_use_id"])
