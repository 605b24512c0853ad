"""A request as the model sees it: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model.json import is_array, is_object

if TYPE_CHECKING:
    from collections.abc import Mapping


def after_compaction(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a request without the messages before the last compaction, which its summary replaces.

    A failed compaction has no summary, and replaces nothing.

    Example:
        >>> compacted = [{"type": "compaction", "content": "They greeted."}, {"type": "text", "text": "Hello."}]
        >>> messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": compacted}]
        >>> after_compaction({"messages": messages})["messages"] == messages[1:]
        True

    Source: https://platform.claude.com/docs/en/build-with-claude/compaction, read 2026-11-26.
    """
    messages = body["messages"]
    for place in range(len(messages) - 1, -1, -1):
        content = messages[place].get("content")
        blocks: list[Any] = content if is_array(content) else []
        compacted = [index for index, block in enumerate(blocks) if _is_summary(block)]
        if compacted:
            message = {**messages[place], "content": blocks[compacted[-1] :]}
            return {**body, "messages": [message, *messages[place + 1 :]]}
    return body


def _is_summary(block: Any) -> bool:
    return is_object(block) and block.get("type") == "compaction" and bool(block.get("content"))
