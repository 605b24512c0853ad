"""The Message that a `Reply` stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._asked import Asked
from anthropix_actors.emulator._rules_thinking import places, sign
from anthropix_actors.emulator._tokens import count, count_input
from anthropix_actors.emulator.answers import Reply, Thinking, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.emulator._ids import Ids


def write(reply: Reply, body: Mapping[str, Any], ids: Ids, tier: str) -> dict[str, Any]:
    """Write a reply to the request `body` as the Message it is on the wire, served in the service tier `tier`."""
    blocks = [_block(part, ids) for part in reply.content]
    _sign(blocks, body)
    called = any(block["type"] == "tool_use" for block in blocks)
    return {
        "model": body["model"],
        "id": ids.new("msg_01"),
        "type": "message",
        "role": "assistant",
        "content": blocks,
        "stop_reason": reply.stop_reason or ("tool_use" if called else "end_turn"),
        "stop_sequence": reply.stop_sequence,
        "stop_details": None,
        "usage": {**_usage(blocks, body), "service_tier": tier, "inference_geo": "global", **reply.usage},
    }


def cost(part: str | Thinking | ToolCall) -> int:
    """Estimate the output tokens of a part of a reply."""
    match part:
        case str():
            return count(part)
        case Thinking():
            return count(part.thinking)
        case _:
            return count([part.name, part.input])


def _usage(blocks: list[dict[str, Any]], body: Mapping[str, Any]) -> dict[str, Any]:
    said = [count([block.get(key) for key in ("text", "thinking", "name", "input")]) for block in blocks]
    thought = [count(block["thinking"]) for block in blocks if block["type"] == "thinking"]
    return {
        "input_tokens": count_input(body),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": sum(said),
        "output_tokens_details": {"thinking_tokens": sum(thought)},
    }


def _block(part: str | Thinking | ToolCall | Mapping[str, Any], ids: Ids) -> dict[str, Any]:
    match part:
        case str():
            return {"type": "text", "text": part}
        case Thinking():
            return {"type": "thinking", "thinking": part.thinking, "signature": part.signature}
        case ToolCall():
            call = {"type": "tool_use", "id": part.id or ids.new("toolu_01"), "name": part.name}
            return {**call, "input": dict(part.input), "caller": {"type": "direct"}}
        case _:
            return dict(part)


def _sign(blocks: list[dict[str, Any]], body: Mapping[str, Any]) -> None:
    """Sign the thoughts that nobody signed, for their place in the whole turn: what is gone on with counts, too."""
    last = Asked(dict(body)).last
    before = [block.kind for block in last.blocks] if last.role == "assistant" else []
    counted = places([*before, *(block["type"] for block in blocks)])[len(before) :]
    for block, place in zip(blocks, counted, strict=True):
        if block["type"] == "thinking" and block["signature"] is None:
            block["signature"] = sign(block["thinking"], place)
