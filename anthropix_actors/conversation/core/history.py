"""The messages of a conversation: legal for the API at every instant. Pure.

- Each call of an answer has its result in the very next message, results first, in the model's order.
- An answer is sent back as it came; of one that was cut, the blocks that are whole, and its open text.
- Nothing is sent for an answer that has no block left.

Source: https://docs.claude.com/en/docs/agents-and-tools/tool-use/implement-tool-use and
https://docs.claude.com/en/docs/build-with-claude/extended-thinking, read 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anthropix_actors.chat.block import PartialBlock
from anthropix_actors.chat.resume import usable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anthropix_actors.conversation.core.state import Call, State

NOT_STARTED = "not started"
CANCELLED = "cancelled"
UNKNOWN = "cancelled; it may have taken effect"
INTERRUPTED = "interrupted: what came of it is unknown; it may have taken effect"

THINKING = frozenset({"thinking", "redacted_thinking"})
_RAW_INPUT = "input_json"
_MARK = "cache_control"
_NESTED = ("content", "source")
_LONGEST_REASON = 500

Message = dict[str, Any]


def said(content: Iterable[Mapping[str, Any]]) -> Message:
    """Return a message of the user."""
    return {"role": "user", "content": [*content]}


def result_block(call: Call) -> dict[str, Any]:
    """Return the result of a call; for one without an outcome, the truth about it.

    Example:
        >>> from anthropix_actors.conversation.core.state import Call
        >>> result_block(Call("toolu_1", "search", {}))
        {'type': 'tool_result', 'tool_use_id': 'toolu_1', 'content': 'not started', 'is_error': True}
    """
    if call.status == "ended":
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": call.id}
        if call.content:  # the API takes a result without content, and refuses an empty text
            block["content"] = call.content if isinstance(call.content, str) else [*call.content]
        return {**block, "is_error": True} if call.is_error else block
    truth = UNKNOWN if call.started else NOT_STARTED
    return {"type": "tool_result", "tool_use_id": call.id, "content": truth, "is_error": True}


def with_results(
    messages: Sequence[Mapping[str, Any]],
    answer: Sequence[Mapping[str, Any]],
    calls: Sequence[Call],
    more: Iterable[Mapping[str, Any]] = (),
) -> tuple[Mapping[str, Any], ...]:
    """Return the messages with an answer, the results of its calls, and what is said after them.

    Example:
        >>> with_results((), [{"type": "text", "text": "Hello."}], ())
        ({'role': 'assistant', 'content': [{'type': 'text', 'text': 'Hello.'}]},)
    """
    after = [*map(result_block, calls), *more]
    return (
        *messages,
        *([{"role": "assistant", "content": [*answer]}] if answer else []),
        *([said(after)] if after else []),
    )


def settled(state: State) -> tuple[Mapping[str, Any], ...]:
    """Return the history as it would be if the turn ended now: legal, so that anything can be said next."""
    before = with_results(state.messages, kept_of_whole(block for content in state.paused for block in content), ())
    return before if state.answer is None else with_results(before, state.answer, state.calls)


def kept_of(parts: Sequence[PartialBlock]) -> tuple[Mapping[str, Any], ...]:
    """Return what stays of an answer that was cut: its whole blocks, and a text that was open, up to the first gap.

    Example:
        >>> from anthropix_actors.chat.block import PartialBlock
        >>> kept_of([PartialBlock({"type": "text", "text": "Well, "}, open=True)])
        ({'type': 'text', 'text': 'Well, '},)
    """
    kept = [{key: value for key, value in part.data.items() if key != _RAW_INPUT} for part in parts[: usable(parts)]]
    return lasting(without_repeated(kept))


def lasting(content: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return an answer as it can be sent back: without thoughts and blank texts at its end, which the API refuses.

    Example:
        >>> lasting([{"type": "text", "text": "So."}, {"type": "thinking", "thinking": "Hm."}])
        ({'type': 'text', 'text': 'So.'},)
    """
    kept = [*content]
    while kept and (kept[-1].get("type") in THINKING or is_blank(kept[-1])):
        kept.pop()
    return tuple(kept)


def kept_of_whole(blocks: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return what stays of whole blocks when the model is not to go on with them: no server's call without its result.

    Example:
        >>> kept_of_whole([{"type": "text", "text": "Let me see."}, {"type": "server_tool_use", "id": "srvtoolu_1"}])
        ({'type': 'text', 'text': 'Let me see.'},)
    """
    return kept_of([PartialBlock(block, open=False) for block in blocks if not is_blank(block)])


def is_blank(block: Mapping[str, Any]) -> bool:
    """Return whether a block is a text of nothing but spaces, which the API refuses."""
    return block.get("type") == "text" and not str(block.get("text", "")).strip()


def without_repeated(content: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return an answer without calls that have the id of one before them: the API takes no such answer back.

    Example:
        >>> call = {"type": "tool_use", "id": "toolu_1"}
        >>> without_repeated([call, {"type": "text", "text": "So."}, call])
        ({'type': 'tool_use', 'id': 'toolu_1'}, {'type': 'text', 'text': 'So.'})
    """
    seen: set[str] = set()
    kept: list[Mapping[str, Any]] = []
    for block in content:
        call_id = str(block.get("id")) if block.get("type") == "tool_use" else None
        if call_id not in seen:
            kept.append(block)
        if call_id is not None:
            seen.add(call_id)
    return tuple(kept)


def calls_in(content: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the calls of an answer that want a result, one for each id; before a `fallback` they were another model's.

    Example:
        >>> calls_in([{"type": "text", "text": "So."}, {"type": "tool_use", "id": "toolu_1"}])
        [{'type': 'tool_use', 'id': 'toolu_1'}]
    """
    found: dict[str, Mapping[str, Any]] = {}
    for block in content:
        if block.get("type") == "fallback":
            found.clear()
        elif block.get("type") == "tool_use":
            found.setdefault(str(block.get("id")), block)
    return [*found.values()]


def may_end_at(messages: Sequence[Mapping[str, Any]], place: int) -> bool:
    """Return whether the first `place` messages are a history that the API takes: each call has its result."""
    if not place:
        return True
    content = messages[place - 1]["content"]
    return messages[place - 1]["role"] == "user" or isinstance(content, str) or not calls_in(content)


def without_refused(messages: Sequence[Mapping[str, Any]], heard: int, why: str) -> tuple[Mapping[str, Any], ...]:
    """Return a history without what the API has refused: what was added since it took `heard` messages.

    Answers stay, and each call keeps a result, which says why its own cannot be sent.

    Example:
        >>> hello = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
        >>> without_refused([hello, hello], 1, "too long") == (hello,)
        True
    """
    kept = [*messages[:heard]]
    for message in messages[heard:]:
        if message["role"] == "assistant":
            kept.append(message)
        elif results := [_unsent(block, why) for block in message["content"] if block["type"] == "tool_result"]:
            kept.append(said(results))
    return tuple(kept)


def _unsent(block: Mapping[str, Any], why: str) -> Message:
    text = f"the call has ended, but the API refused the request with its result: {why[:_LONGEST_REASON]}"
    return {"type": "tool_result", "tool_use_id": block["tool_use_id"], "content": text, "is_error": True}


def marks_in(content: Any) -> int:
    """Return how many breakpoints of the cache there are in blocks or messages, at any depth.

    Example:
        >>> marks_in([{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}])
        1
    """
    if isinstance(content, Mapping):
        return bool(content.get(_MARK)) + sum(marks_in(content.get(key)) for key in _NESTED)
    return sum(map(marks_in, content)) if isinstance(content, list | tuple) else 0


def without_marks(content: Any) -> Any:
    """Return blocks without breakpoints of the cache.

    Example:
        >>> without_marks([{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}])
        ({'type': 'text', 'text': 'Hi'},)
    """
    if isinstance(content, Mapping):
        nested = {key: without_marks(content[key]) for key in _NESTED if key in content}
        return {key: value for key, value in {**content, **nested}.items() if key != _MARK}
    return tuple(map(without_marks, content)) if isinstance(content, list | tuple) else content
