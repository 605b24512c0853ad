"""The answer that every fault is tried on, and what may be known of it at each point: made apart from the package."""

from __future__ import annotations

import copy
import json
from typing import Any

from servers import PING, STOP, block_start, block_stop, message_delta, start

Event = dict[str, Any]


def _delta(index: int, kind: str, key: str, value: str) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: value}}


EVENTS: list[Event] = [
    start(),
    PING,
    block_start(0, type="thinking", thinking="", signature=""),
    _delta(0, "thinking_delta", "thinking", "They ask for "),
    _delta(0, "thinking_delta", "thinking", "the weather in Zürich."),
    _delta(0, "signature_delta", "signature", "c2lnbmF0dXJl"),
    block_stop(0),
    block_start(1),
    _delta(1, "text_delta", "text", "Grüezi! "),
    _delta(1, "text_delta", "text", "Ich schaue 🌦️ nach."),
    _delta(1, "text_delta", "text", " Une seconde…"),
    block_stop(1),
    block_start(2, type="tool_use", id="toolu_1", name="weather", input={}),
    _delta(2, "input_json_delta", "partial_json", '{"city": "Zü'),
    _delta(2, "input_json_delta", "partial_json", 'rich", "days": '),
    _delta(2, "input_json_delta", "partial_json", "3}"),
    block_stop(2),
    message_delta("tool_use", output_tokens=41),
    STOP,
]
"""One event of each kind at the least, with characters of two, three and four bytes."""

TOLD = [event for event in EVENTS if event is not PING]
"""What a subscriber is told of it."""


def wire(event: Event) -> bytes:
    """Get an event as it is sent, with its text as UTF-8."""
    data = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


WHOLE = b"".join(map(wire, EVENTS))


def message_after(events: list[Event]) -> dict[str, Any] | None:
    """Get the Message that events make, in the plainest way; a tool's unfinished input is under `input_json`."""
    if not events:
        return None
    message: dict[str, Any] = copy.deepcopy(events[0]["message"])
    for event in events[1:]:
        match event:
            case {"type": "content_block_start", "content_block": block}:
                message["content"].append(copy.deepcopy(block))
            case {"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta"} as delta}:
                block = message["content"][index]
                block["input_json"] = block.get("input_json", "") + delta["partial_json"]
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                key = delta["type"].removesuffix("_delta")
                message["content"][index][key] += delta[key]
            case {"type": "content_block_stop", "index": index}:
                block = message["content"][index]
                if "input_json" in block:
                    block["input"] = json.loads(block.pop("input_json"))
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                message.update(delta)
                message["usage"].update(usage)
    return message


SNAPSHOTS = [message_after(TOLD[:count]) for count in range(len(TOLD) + 1)]
"""The Message after so many events."""

MESSAGE = SNAPSHOTS[-1]
"""The whole of it."""
