"""A Message ↔ the events that stream it ↔ their bytes, as the API writes them.

Source: https://docs.claude.com/en/docs/build-with-claude/streaming, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.sse import SSEDecoder
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.emulator._model import json as _json
from anthropix_actors.emulator._model.messages import CutInput
from anthropix_actors.emulator._model.tokens import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PING: Mapping[str, Any] = {"type": "ping"}

_INPUT_PIECE = 16
"""Characters of a tool's input per delta."""

_AT_THE_END = ("stop_reason", "stop_sequence", "stop_details", "container")
"""Keys of a Message that its `message_delta` has."""

_CUMULATIVE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
)
"""Keys of a usage that the `message_delta` repeats, with their totals."""


def encode(event: Mapping[str, Any]) -> bytes:
    r"""Encode one event as the API does.

    Example:
        >>> encode({"type": "message_stop"})
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    """
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), _json.encode(event))


def message_events(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events that stream a Message, with a ping after the first block has started, as from the API."""
    usage: Mapping[str, Any] = message.get("usage") or dict[str, Any]()
    start: dict[str, Any] = {key: None if key in _AT_THE_END else value for key, value in message.items()}
    begun = {key: value for key, value in usage.items() if key not in {"output_tokens_details", "iterations"}}
    if usage.get("iterations"):  # a stream starts with the usage of its first iteration
        begun |= {key: value for key, value in usage["iterations"][0].items() if key in begun}
    begun["output_tokens"] = min(1, usage.get("output_tokens", 0))
    yield {"type": "message_start", "message": start | {"content": [], "usage": begun}}
    for index, block in enumerate(message["content"]):
        hollow, deltas = _unroll(block)
        yield {"type": "content_block_start", "index": index, "content_block": hollow}
        if index == 0:
            yield dict(PING)
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {key: message[key] for key in _AT_THE_END if key in message}
    yield {"type": "message_delta", "delta": delta, "usage": {key: usage[key] for key in _CUMULATIVE if key in usage}}
    yield {"type": "message_stop"}


def _unroll(block: Mapping[str, Any]) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Return a block emptied of the content that comes in deltas, and those deltas; other kinds start complete."""
    match block:
        case {"type": "text", "text": str()}:
            hollow = {**block, "text": ""}
            if block.get("citations"):
                hollow["citations"] = []
            return hollow, _text_deltas(block)
        case {"type": "thinking", "thinking": str()}:
            return {**block, "thinking": "", "signature": ""}, _thinking_deltas(block)
        case {"type": "tool_use" | "server_tool_use" | "mcp_tool_use", "input": given}:
            return {**block, "input": {}}, _input_deltas(given)
        case {"type": "compaction"}:
            return {"type": "compaction", "content": None}, _compaction_deltas(block)
        case _:
            return dict(block), iter(())


def _text_deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for citation in block.get("citations") or ():
        yield {"type": "citations_delta", "citation": citation}
    for piece in tokens(block["text"]):
        yield {"type": "text_delta", "text": piece}


def _thinking_deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for piece in tokens(block["thinking"]):
        yield {"type": "thinking_delta", "thinking": piece}
    yield {"type": "signature_delta", "signature": block.get("signature", "")}


def _compaction_deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    rest = {key: value for key, value in block.items() if key != "type"}
    yield {"type": "compaction_delta", **rest}  # the API sends a summary in one delta


def _input_deltas(given: Any) -> Iterator[dict[str, Any]]:
    yield {"type": "input_json_delta", "partial_json": ""}
    text = given.text if isinstance(given, CutInput) else _json.encode(given).decode() if given else ""
    for place in range(0, len(text), _INPUT_PIECE):
        yield {"type": "input_json_delta", "partial_json": text[place : place + _INPUT_PIECE]}


def accumulate(stream: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a client without a stream would get for these events: the Message, or the body of their error.

    Raises:
        ProtocolError: they are not an answer of the API.
    """
    answer = Accumulator()
    for event in stream:
        if event["type"] == "error":
            return dict(event)
        answer.add(dict(event))
    return dict(answer.snapshot() or {})


def decode(recorded: bytes) -> Iterator[dict[str, Any]]:
    """Return the events of a recorded stream.

    Raises:
        ProtocolError: it is not an event stream of the API.
    """
    decoder = SSEDecoder()
    yield from decoder.feed(recorded)
    yield from decoder.close()


def split(recorded: bytes) -> Iterator[bytes]:
    r"""Cut a recorded stream after its empty lines, changing no byte.

    Example:
        >>> list(split(b"data: 1\n\ndata: 2\n\nda"))
        [b'data: 1\n\n', b'data: 2\n\n', b'da']
    """
    place = 0
    while (end := recorded.find(b"\n\n", place)) >= 0:
        yield recorded[place : end + 2]
        place = end + 2
    if place < len(recorded):
        yield recorded[place:]
