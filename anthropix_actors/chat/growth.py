"""What an event makes longer: a text, thinking, or the input of a tool. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.event_repair import GROWING
from anthropix_actors.chat.block import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT, THINKING, TOOL_INPUT = GROWING

_STARTS_WITH = {"text": (TEXT, "text"), "thinking": (THINKING, "thinking")}
"""Type of a block → what it begins with, and under which key."""


def grown(event: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what an event adds to a text: `TEXT`, `THINKING` or `TOOL_INPUT`, and the piece. None if it adds nothing.

    A block may also have a text as it starts. Raises nothing, whatever the event.

    Example:
        >>> grown({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}})
        ('text_delta', 'Hi')
    """
    kind = event.get("type")
    if kind == "content_block_delta":
        delta: Any = event.get("delta")
        try:
            kind, piece = delta["type"], delta[GROWING[delta["type"]]]
        except (LookupError, TypeError):
            return _untyped(delta) if isinstance(delta, dict) else None
    elif kind == "content_block_start":
        block = event.get("content_block")
        if not isinstance(block, dict) or block.get("type") not in ("text", "thinking"):
            return None
        kind, key = _STARTS_WITH[block["type"]]
        piece = block.get(key)
    else:
        return None
    return (kind, piece) if piece and isinstance(piece, str) else None


def _untyped(delta: dict[str, Any]) -> tuple[str, str] | None:
    """Return what a delta adds that has no type, as some servers send them: its keys tell."""
    kind = kind_of(delta)
    piece = None if "type" in delta else delta.get(GROWING.get(kind, ""))
    return (kind, piece) if piece and isinstance(piece, str) else None
