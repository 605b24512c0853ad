"""Rules on tool calls and their results. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from anthropix_actors.emulator.rules.chat_request import NO_TURN
from anthropix_actors.emulator.rules.rule import AEGIS, DOCS, Violation, documented, issue, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator.rules.chat_request import Block, ChatRequest, Turn

_ID = re.compile(r"[a-zA-Z0-9_-]+")

_SERVER_CALLS = ("server_tool_use", "mcp_tool_use")


def _tool_use_by_user(request: ChatRequest) -> Iterator[Violation]:
    for message in request.messages:
        if message.role == "user" and any(block.kind == "tool_use" for block in message.blocks):
            yield Violation(message.place)


def _results_by_assistant(request: ChatRequest) -> Iterator[Violation]:
    for message in request.messages:
        if message.role == "assistant" and any(block.kind == "tool_result" for block in message.blocks):
            yield Violation(message.place)


def _invalid_call_ids(request: ChatRequest) -> Iterator[Violation]:
    for block in (block for message in request.messages for block in message.blocks):
        key = {"tool_use": "id", "tool_result": "tool_use_id"}.get(block.kind)
        if key and isinstance(block.data.get(key), str) and not _ID.fullmatch(block.text(key)):
            yield Violation(f"{block.typed_place}.{key}")


def _duplicate_call_ids(request: ChatRequest) -> Iterator[Violation]:
    """Find an id that a turn uses twice; as recordings show, another turn may use it again."""
    for turn in request.turns:
        known: set[str] = set()
        for block in turn.blocks:
            if block.kind == "tool_use":
                if block.text("id") in known:
                    yield Violation(block.place)
                known.add(block.text("id"))


def _call_and_result_turns(request: ChatRequest) -> Iterator[tuple[Turn, Turn]]:
    """Yield each turn of the model, and the user's after it."""
    for turn, after in zip(request.turns, [*request.turns[1:], NO_TURN], strict=False):
        if turn.role == "assistant":
            yield turn, (after if after.role == "user" else NO_TURN)


def _missing_results(request: ChatRequest) -> Iterator[Violation]:
    for turn, after in _call_and_result_turns(request):
        results = set(after.ids("tool_result", "tool_use_id"))
        missing = [call for call in turn.ids("tool_use", "id") if call not in results]
        if missing:
            yield Violation(after.place or turn.place, (", ".join(missing),))


def _late_results(request: ChatRequest) -> Iterator[Violation]:
    for turn, after in _call_and_result_turns(request):
        calls = set(turn.ids("tool_use", "id"))
        first = next((n for n, block in enumerate(after.blocks) if block.kind != "tool_result"), len(after.blocks))
        late = [block.text("tool_use_id") for block in after.blocks[first:] if block.kind == "tool_result"]
        if late := [call for call in late if call in calls]:
            yield Violation(after.place, (", ".join(late),))


def _unexpected_results(request: ChatRequest) -> Iterator[Violation]:
    for before, turn in zip([NO_TURN, *request.turns], request.turns, strict=False):
        calls = set(before.ids("tool_use", "id")) if before.role == "assistant" else ()
        for block in turn.blocks if turn.role == "user" else ():
            if block.kind == "tool_result" and block.text("tool_use_id") not in calls:
                yield Violation(block.place, (block.text("tool_use_id"),))


def _duplicate_results(request: ChatRequest) -> Iterator[Violation]:
    for turn in request.turns:
        known: set[str] = set()
        for block in turn.blocks:
            if block.kind == "tool_result":
                if block.text("tool_use_id") in known:
                    yield Violation(block.place, (block.text("tool_use_id"),))
                known.add(block.text("tool_use_id"))


def _unexpected_server_results(request: ChatRequest) -> Iterator[Violation]:
    calls: set[str] = set()
    for block in (block for turn in request.turns if turn.role == "assistant" for block in turn.blocks):
        if block.kind in _SERVER_CALLS:
            calls.add(block.text("id"))
        elif _is_server_result(block) and block.text("tool_use_id") not in calls:
            call = "mcp_tool_use" if block.kind == "mcp_tool_result" else "server_tool_use"
            yield Violation(block.place, (block.kind, block.text("tool_use_id"), block.kind, call))


def _is_server_result(block: Block) -> bool:
    return block.kind.endswith("_tool_result")


def _missing_server_results(request: ChatRequest) -> Iterator[Violation]:
    """Find a paused turn, which ends with a server tool's call without its result, that other messages follow.

    A turn that also calls the user's tools may wait for those results first, and is accepted. So is one in which other
    blocks follow the call: it was resumed, even if a script left the result out.
    """
    done = {block.text("tool_use_id") for turn in request.turns for block in turn.blocks if _is_server_result(block)}
    for turn in request.turns[:-1]:
        for last in turn.blocks[-1:] if turn.role == "assistant" and not turn.ids("tool_use", "id") else ():
            if last.kind == "server_tool_use" and last.text("id") not in done:
                name = last.text("name")
                yield Violation(turn.place, (name, last.text("id"), _result_kind(name)))


def _result_kind(name: str) -> str:
    """Return the type of a server tool's results.

    Example:
        >>> _result_kind("web_search"), _result_kind("tool_search_tool_bm25")
        ('web_search_tool_result', 'tool_search_tool_result')
    """
    return "tool_search_tool_result" if name.startswith("tool_search_tool_") else f"{name}_tool_result"


def _error_content(request: ChatRequest) -> Iterator[Violation]:
    for block in request.all_blocks:
        if block.kind == "tool_result" and block.data.get("is_error") is True:
            content = block.data.get("content")
            if isinstance(content, list) and any(_is_not_text(item) for item in content):
                yield Violation(block.typed_place)


def _is_not_text(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") != "text"


_NO_RESULTS = (
    "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a "
    "corresponding `tool_result` block in the next message."
)

_CLAUDE_CODE = "anthropics/claude-code"

RULES = (
    seen(
        "tool-use-role",
        _tool_use_by_user,
        "a `tool_use` in a message of the user's",
        "`tool_use` blocks can only be in `assistant` messages",
        issue("microsoft/agent-framework", 4328),
    ),
    seen(
        "tool-result-role",
        _results_by_assistant,
        "a `tool_result` in a message of the model's",
        "`tool_result` blocks can only be in `user` messages",
        AEGIS,
    ),
    seen(
        "tool-use-id",
        _invalid_call_ids,
        "a call's id with characters other than letters, digits, _ and -",
        "String should match pattern '^[a-zA-Z0-9_-]+$'",
        issue("anomalyco/opencode", 1279),
    ),
    seen(
        "tool-use-id-twice",
        _duplicate_call_ids,
        "two calls of one turn with the same id",
        "`tool_use` ids must be unique",
        issue(_CLAUDE_CODE, 21317),
    ),
    seen(
        "tool-result-missing",
        _missing_results,
        "a call whose result is not in the user's very next turn",
        _NO_RESULTS,
        issue(_CLAUDE_CODE, 8210),
    ),
    documented(
        "tool-result-late",
        _late_results,
        "a text, or any other block, before the results of calls",
        _NO_RESULTS,
        DOCS + "agents-and-tools/tool-use/implement-tool-use",
    ),
    seen(
        "tool-result-unasked",
        _unexpected_results,
        "a result without a call in the turn before",
        "unexpected `tool_use_id` found in `tool_result` blocks: {}. Each `tool_result` block must have a "
        "corresponding `tool_use` block in the previous message.",
        issue(_CLAUDE_CODE, 18947),
    ),
    seen(
        "tool-result-twice",
        _duplicate_results,
        "two results of one call",
        "each tool_use must have a single result. Found multiple `tool_result` blocks with id: {}",
        issue("sipeed/picoclaw", 1792),
    ),
    seen(
        "tool-result-error-content",
        _error_content,
        "a result that is an error and has blocks other than text",
        "all content must be type `text` if `is_error` is true",
        issue("vellum-ai/vellum-assistant", 18387),
    ),
    seen(
        "server-result-unasked",
        _unexpected_server_results,
        "a server tool's result without its call before it",
        "unexpected `tool_use_id` found in `{}` blocks: {}. Each `{}` block must have a corresponding `{}` block "
        "before it.",
        issue(_CLAUDE_CODE, 64383),
    ),
    seen(
        "server-result-missing",
        _missing_server_results,
        "a message after a paused turn: one that ends with a server tool's call, without its result",
        "`{}` tool use with id `{}` was found without a corresponding `{}` block",
        issue("anthropics/anthropic-sdk-python", 1339),
    ),
)
