"""Answers → Messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from anthropix_actors.emulator._model import json as _json
from anthropix_actors.emulator._model.partial_json import complete_members
from anthropix_actors.emulator._model.tokens import count
from anthropix_actors.emulator.answers import PauseTurn, Refusal, Reply
from anthropix_actors.emulator.reply_parts import AskToUse, Compaction, Thinking, ToolCall
from anthropix_actors.emulator.rules.chat_request import ChatRequest
from anthropix_actors.emulator.rules.thinking import places, sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.emulator._model.ids import Ids

MessageAnswer: TypeAlias = str | ToolCall | Reply | Refusal | PauseTurn | Compaction


class CutInput(dict[str, Any]):
    """The complete arguments of a tool call that was cut.

    Args:
        text: The truncated JSON of all arguments.

    Attributes:
        text: The same.
    """

    def __init__(self, text: str) -> None:
        """Parse the complete arguments."""
        super().__init__(complete_members(text))
        self.text = text


def to_message(answer: MessageAnswer, body: Mapping[str, Any], ids: Ids, usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as a Message on the wire.

    Args:
        answer: The answer.
        body: The request that it answers.
        ids: Makes new ids.
        usage: The usage of the input, and the service tier.
    """
    reply = _reply(answer, ids)
    blocks = [_block(part, ids) for part in reply.content]
    _sign(blocks, body)
    return {
        "model": body["model"],
        "id": ids.new("msg_01"),
        "type": "message",
        "role": "assistant",
        "content": blocks,
        "stop_reason": reply.stop_reason or _stop_reason(blocks),
        "stop_sequence": reply.stop_sequence,
        "stop_details": _stop_details(answer),
        "usage": {**usage, **_output_usage(blocks, usage), **reply.usage},
    }


def count_output(part: str | Thinking | ToolCall) -> int:
    """Estimate the output tokens of a part of a reply."""
    match part:
        case str():
            return count(part)
        case Thinking():
            return count(part.thinking)
        case _:
            return count([part.name, part.input])


def _reply(answer: MessageAnswer, ids: Ids) -> Reply:
    match answer:
        case Reply():
            return answer
        case Refusal():
            return Reply(answer.content, stop_reason="refusal")
        case PauseTurn():
            call: dict[str, Any] = {
                "type": "server_tool_use",
                "id": answer.id or ids.new("srvtoolu_01"),
                "name": answer.name,
            }
            call |= {"input": dict(answer.input), "caller": {"type": "direct"}}
            return Reply([*answer.content, call], stop_reason="pause_turn")
        case _:
            return Reply([answer])


def _stop_reason(blocks: list[dict[str, Any]]) -> str:
    kinds = {block["type"] for block in blocks}
    if blocks and isinstance(blocks[-1].get("input"), CutInput):
        return "max_tokens"
    if "tool_use" in kinds:
        return "tool_use"
    return "compaction" if kinds == {"compaction"} else "end_turn"


def _stop_details(answer: MessageAnswer) -> dict[str, Any] | None:
    if not isinstance(answer, Refusal):
        return None
    return {"type": "refusal", "category": answer.category, "explanation": answer.explanation}


def _output_usage(blocks: list[dict[str, Any]], usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usage of the output; after a compaction, with the usage of each iteration."""
    said = [block for block in blocks if block["type"] != "compaction"]
    output = {
        "output_tokens": sum(map(_size, said)),
        "output_tokens_details": {
            "thinking_tokens": sum(_size(block) for block in said if block["type"] == "thinking")
        },
    }
    if len(said) == len(blocks):
        return output
    nothing = {
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    }
    summaries = sum(_size(block) for block in blocks if block["type"] == "compaction")
    compacting = {key: usage[key] for key in nothing if key in usage}
    iterations = [{"type": "compaction", **compacting, "output_tokens": summaries}]
    if said:  # the next iteration read only the summary
        nothing["input_tokens"] = summaries
        iterations.append({"type": "message", **nothing, "output_tokens": output["output_tokens"]})
    return {**nothing, **output, "iterations": iterations}


def _size(block: Mapping[str, Any]) -> int:
    keys = ("content",) if block["type"] == "compaction" else ("text", "thinking", "name", "input")
    return count([block.get(key) for key in keys])


def _block(part: str | Thinking | ToolCall | AskToUse | Compaction | Mapping[str, Any], ids: Ids) -> dict[str, Any]:
    match part:
        case str():
            return {"type": "text", "text": part}
        case Thinking():
            return {"type": "thinking", "thinking": part.thinking, "signature": part.signature}
        case ToolCall():
            call = {"type": "tool_use", "id": part.id or ids.new("toolu_01"), "name": part.name}
            return {**call, "input": _input(part), "caller": {"type": "direct"}}
        case Compaction():
            more = {"encrypted_content": part.encrypted_content, "signature": part.signature}
            return {"type": "compaction", "content": part.content} | {key: it for key, it in more.items() if it}
        case AskToUse():
            raise TypeError(f"only a session's agent asks for permission: {part!r}")
        case _:
            return dict(part)


def _input(call: ToolCall) -> dict[str, Any]:
    given = dict(call.input)
    return given if call.cut is None else CutInput(_json.encode(given).decode()[: call.cut])


def _sign(blocks: list[dict[str, Any]], body: Mapping[str, Any]) -> None:
    """Sign the thoughts without a signature, for their place in the whole turn, including a prefill."""
    last = ChatRequest(dict(body)).last_turn
    before = [block.kind for block in last.blocks] if last.role == "assistant" else []
    counted = places([*before, *(block["type"] for block in blocks)])[len(before) :]
    for block, place in zip(blocks, counted, strict=True):
        if block["type"] == "thinking" and block["signature"] is None:
            block["signature"] = sign(block["thinking"], place)
