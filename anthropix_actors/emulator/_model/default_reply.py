"""The default reply, when none is scripted; its rules are in `anthropix_actors.emulator.answers`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model import json as _json
from anthropix_actors.emulator._model.compaction import after_compaction
from anthropix_actors.emulator._model.json import is_array, is_object
from anthropix_actors.emulator._model.messages import count_output
from anthropix_actors.emulator._model.schema_example import example_for
from anthropix_actors.emulator._model.tokens import count_input, tokens
from anthropix_actors.emulator.answers import Reply
from anthropix_actors.emulator.reply_parts import Compaction, Thinking, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_QUOTE = 200

_ANSWER = (
    "{said} This is the emulator of the Anthropic API: no model has read your prompt. Each word of this answer travels "
    "as an event of its own, just as from the API, so your program sees a stream and not a block of text. Ask for "
    "tools, for thinking or for JSON, and you will get those too."
)

_REMINDER = re.compile(r"<system-reminder>.*?(</system-reminder>|\Z)", re.DOTALL)

_THOUGHTS = "The prompt has {words} words. There is no model here to weigh them, so I will say plainly what I am."

_SUMMARY = "The conversation so far, in {messages} messages, was: {said}"

_TRIGGER = 150_000
"""Input tokens at which the API compacts by default."""

ContentPart = str | Thinking | ToolCall | Compaction | Mapping[str, Any]


def default_reply(body: Mapping[str, Any]) -> Reply:
    """Return a plausible reply to a request, the same one every time.

    Example:
        >>> asked = {"model": "claude-sonnet-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
        >>> default_reply(asked).content, default_reply(asked).stop_reason
        (['You said: "Hi'], 'max_tokens')
    """
    compacted, paused = _compaction(body)
    if paused:
        return Reply(compacted)
    thoughts = _thinking_blocks(body)
    calls = _tool_calls(body)
    words, stop = cut_at_stop_sequence(_reply_text(body, calls), body.get("stop_sequences") or ())
    parts: list[ContentPart] = [*compacted, *server_tool_results(body), *thoughts, *([words] if words else []), *calls]
    kept = cut_to_limit(parts, body["max_tokens"])
    if kept != parts or body["max_tokens"] == 0:
        return Reply(kept, stop_reason="max_tokens")
    if stop is not None and not calls:
        return Reply(kept, stop_reason="stop_sequence", stop_sequence=stop)
    return Reply(kept)


def server_tool_results(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return empty results for the server tools that a paused turn has called."""
    last = body["messages"][-1] if body["messages"] else {}
    blocks = _objects(last["content"]) if last.get("role") == "assistant" and is_array(last["content"]) else []
    answered = {block.get("tool_use_id") for block in blocks}
    calls = [block for block in blocks if block.get("type") == "server_tool_use" and block.get("id") not in answered]
    return [_empty_result(str(call.get("name")), call.get("id")) for call in calls]


def _empty_result(name: str, call_id: Any) -> dict[str, Any]:
    kind = "tool_search_tool_result" if name.startswith("tool_search_tool") else f"{name}_tool_result"
    content = [] if name == "web_search" else {"type": f"{kind}_error", "error_code": "unavailable"}
    return {"type": kind, "tool_use_id": call_id, "content": content}


def _compaction(body: Mapping[str, Any]) -> tuple[list[Compaction], bool]:
    """Return the summary that goes first, if one is asked for, and whether the reply ends with it."""
    edits = _object(body, "context_management").get("edits")
    found = [edit for edit in (edits if is_array(edits) else ()) if is_object(edit)]
    edit = next((edit for edit in found if edit.get("type") == "compact_20260112"), None)
    asked = bool(_object(body, "compaction"))
    if not asked and (edit is None or count_input(after_compaction(body)) < _trigger(edit)):
        return [], False
    summary = _SUMMARY.format(messages=len(body["messages"]), said=_clip(_prompt(body)))
    return [Compaction(summary)], asked or bool(edit and edit.get("pause_after_compaction"))


def _trigger(edit: Mapping[str, Any]) -> float:
    trigger = edit.get("trigger")
    value = trigger.get("value") if is_object(trigger) else None
    return value if isinstance(value, (int, float)) else _TRIGGER


def _thinking_blocks(body: Mapping[str, Any]) -> list[Thinking]:
    thinking = _object(body, "thinking")
    if thinking.get("type") not in {"enabled", "adaptive"}:
        return []
    thought = _THOUGHTS.format(words=len(_prompt(body).split()))
    if thinking.get("display") == "omitted":
        return [Thinking("")]
    return [Thinking(thought)]


def _tool_calls(body: Mapping[str, Any]) -> list[ToolCall]:
    tools: list[Mapping[str, Any]] = body.get("tools") or []
    choice = _object(body, "tool_choice")
    match choice.get("type", "auto"):
        case "tool":
            wanted = [tool for tool in tools if tool.get("name") == choice.get("name")]
        case "any":
            wanted = tools[:1]
        case "auto":
            said = "" if _tool_result(body) is not None else _prompt(body)
            wanted = [tool for tool in tools if _mentions(said, str(tool.get("name", "")))]
        case _:
            wanted = []
    if choice.get("disable_parallel_tool_use"):
        wanted = wanted[:1]
    return [ToolCall(str(tool["name"]), example_for(tool.get("input_schema") or {"type": "object"})) for tool in wanted]


def _mentions(prompt: str, name: str) -> bool:
    return bool(name) and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prompt) is not None


def _reply_text(body: Mapping[str, Any], calls: Sequence[ToolCall]) -> str:
    """Return the text of the reply; empty if a tool is forced."""
    if calls:
        named = " and ".join(call.name for call in calls)
        forced = _object(body, "tool_choice").get("type") in {"any", "tool"}
        return "" if forced else f"I will use {named}."
    wanted = _object(_object(body, "output_config"), "format")
    if wanted.get("type") == "json_schema":
        return _json.encode(example_for(wanted.get("schema"))).decode()
    result = _tool_result(body)
    said = f'You said: "{_clip(_prompt(body))}".' if result is None else f'The tool said: "{_clip(result)}".'
    text = _ANSWER.format(said=said)
    last: Mapping[str, Any] = body["messages"][-1] if body["messages"] else dict[str, Any]()
    if last.get("role") == "assistant" and not _text(last.get("content")).endswith(" "):
        return " " + text  # it continues the prefill
    return text


def cut_at_stop_sequence(text: str, sequences: Sequence[str]) -> tuple[str, str | None]:
    """Cut a text before the first stop sequence in it."""
    found = [(place, sequence) for sequence in sequences if sequence and (place := text.find(sequence)) >= 0]
    if not found:
        return text, None
    place, sequence = min(found)
    return text[:place], sequence


def cut_to_limit(parts: list[ContentPart], limit: int) -> list[ContentPart]:
    """Cut the parts to `limit` tokens. Parts that the model does not write itself do not count."""
    kept: list[ContentPart] = []
    for part in parts:
        size = count_output(part) if isinstance(part, (str, Thinking, ToolCall)) else 0
        if size > limit:
            return kept + _first_tokens(part, limit)
        kept.append(part)
        limit -= size
    return kept


def _first_tokens(part: ContentPart, limit: int) -> list[ContentPart]:
    """Return the first `limit` tokens of a part; a tool call's name counts, and must fit whole."""
    match part:
        case str() if limit:
            return ["".join(tokens(part)[:limit])]
        case Thinking() if limit:
            return [Thinking("".join(tokens(part.thinking)[:limit]))]
        case ToolCall() if limit > (named := count_output(ToolCall(part.name))):
            text = _json.encode(part.input).decode()
            return [ToolCall(part.name, part.input, cut=len("".join(tokens(text)[: limit - named])))]
        case _:
            return []


def _prompt(body: Mapping[str, Any]) -> str:
    """Return the last text of the last user message, without `<system-reminder>`s.

    Programs such as Claude Code put texts of their own before the user's, and reminders into it, that name all tools.
    """
    said = [message for message in body["messages"] if message.get("role") == "user"]
    content = said[-1].get("content") if said else None
    if is_array(content):
        texts = [block.get("text") for block in _objects(content) if block.get("type") == "text"]
        words = [_REMINDER.sub("", text) for text in texts if isinstance(text, str)]
        return next((text for text in reversed(words) if text.strip()), "")
    return _REMINDER.sub("", _text(content))


def _tool_result(body: Mapping[str, Any]) -> str | None:
    """Return the result of a tool, if the last message has one; a `system` message may follow it."""
    said = [message for message in body["messages"] if message.get("role") != "system"]
    content = said[-1].get("content") if said else None
    if not is_array(content):
        return None
    results = [block for block in _objects(content) if block.get("type") == "tool_result"]
    return _text(results[-1].get("content")) if results else None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = _objects(content) if is_array(content) else []
    return " ".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")


def _object(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object of the request; an empty one if it is null or absent."""
    return body.get(key) or dict[str, Any]()


def _objects(content: list[Any]) -> list[dict[str, Any]]:
    return [block for block in content if is_object(block)]


def _clip(text: str) -> str:
    return text if len(text) <= _MAX_QUOTE else text[: _MAX_QUOTE - 3] + "..."
