"""What the server answers: bytes, most of them made once."""

from __future__ import annotations

import functools
import json
from typing import Any

_PIECE = "word {:4d} "
TOOL_PIECE = 40  # characters; 100,000 of them are 4 MB
_PACKED = 16384
_RESULT_WORDS = 70  # with what is around them, a result of 1 kB

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nrequest-id: req_1\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
_MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 1},
}
BATCH: dict[str, Any] = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 1000, "errored": 0, "canceled": 0, "expired": 0},
    "created_at": "2026-11-23T00:00:00Z",
    "expires_at": "2026-11-24T00:00:00Z",
    "ended_at": "2026-11-23T00:00:00Z",
    "cancel_initiated_at": None,
    "archived_at": None,
}
FILE = {
    "id": "file_1",
    "type": "file",
    "filename": "file.png",
    "mime_type": "image/png",
    "size_bytes": 1,
    "created_at": "2026-11-23T00:00:00Z",
    "downloadable": False,
}
_TEXT_BLOCK: dict[str, Any] = {"type": "text", "text": ""}
_TOOL_BLOCK: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "write", "input": {}}


def text_of(count: int) -> str:
    """Get the whole text of an answer in `count` deltas."""
    return "".join(_PIECE.format(number % 10000) for number in range(count))


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _delta(kind: str, key: str, piece: str) -> bytes:
    return _event({"type": "content_block_delta", "index": 0, "delta": {"type": kind, key: piece}})


def text_delta(piece: str) -> bytes:
    return _delta("text_delta", "text", piece)


def beginning(block: dict[str, Any] = _TEXT_BLOCK) -> list[bytes]:
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    return [_event({"type": "message_start", "message": _MESSAGE}), _event(start)]


def ending(stop_reason: str = "end_turn") -> list[bytes]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return [
        _event({"type": "content_block_stop", "index": 0}),
        _event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5000}}),
        _event({"type": "message_stop"}),
    ]


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@functools.cache
def _text_events(count: int) -> list[bytes]:
    return [*beginning(), *(text_delta(_PIECE.format(number % 10000)) for number in range(count)), *ending()]


@functools.cache
def text_answer(count: int) -> list[bytes]:
    return [chunked([event]) for event in _text_events(count)]


@functools.cache
def packed_answer(count: int) -> bytes:
    whole = b"".join(_text_events(count))
    return chunked([whole[start : start + _PACKED] for start in range(0, len(whole), _PACKED)])


@functools.cache
def tool_answer(count: int) -> bytes:
    whole = json.dumps({"content": "x" * (count * TOOL_PIECE - len('{"content": ""}'))})
    pieces = [whole[start : start + TOOL_PIECE] for start in range(0, len(whole), TOOL_PIECE)]
    deltas = [_delta("input_json_delta", "partial_json", piece) for piece in pieces]
    return chunked([*beginning(_TOOL_BLOCK), *deltas, *ending("tool_use")])


def json_answer(data: object) -> bytes:
    body = json.dumps(data).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@functools.cache
def thousand_results(thousand: int) -> bytes:
    """Return results whose names nobody has had before: a result is delivered once."""
    whole = _named_alike().replace(b'"custom_id":"', b'"custom_id":"%03d-' % thousand)
    return chunked([whole[start : start + _PACKED] for start in range(0, len(whole), _PACKED)])


@functools.cache
def _named_alike() -> bytes:
    block = {"type": "text", "text": text_of(_RESULT_WORDS)}
    message = {**_MESSAGE, "content": [block], "stop_reason": "end_turn"}
    results = [
        {"custom_id": f"request-{number}", "result": {"type": "succeeded", "message": message}}
        for number in range(1000)
    ]
    return b"".join(json.dumps(result, separators=(",", ":")).encode() + b"\n" for result in results)
