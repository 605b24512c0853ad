"""The API on loopback, in a process of its own: answers are bytes made beforehand, so that the client is what counts.

The first part of a request's path says what is answered, its numbers how much of it; see `_ANSWERS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import multiprocessing
import os
import resource
import ssl
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trustme

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from multiprocessing.connection import Connection

PIECE = "word {:4d} "
TOOL_PIECE = 40  # characters; 100,000 of them are 4 MB
PACKED = 16384
RESULT_WORDS = 70  # with what is around them, a result of 1 kB
PACE = 0.005  # seconds between two paced events
_TRUSTED = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")  # requests and we look for the first, ssl and the SDK for the second

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nrequest-id: req_1\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_LAST_CHUNK = b"0\r\n\r\n"
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
_BATCH: dict[str, Any] = {
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
_TEXT_BLOCK: dict[str, Any] = {"type": "text", "text": ""}
_TOOL_BLOCK: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "write", "input": {}}


def text_of(count: int) -> str:
    """Get the whole text of an answer in `count` deltas."""
    return "".join(PIECE.format(number % 10000) for number in range(count))


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _delta(kind: str, key: str, piece: str) -> bytes:
    return _event({"type": "content_block_delta", "index": 0, "delta": {"type": kind, key: piece}})


def _text(piece: str) -> bytes:
    return _delta("text_delta", "text", piece)


def _beginning(block: dict[str, Any]) -> list[bytes]:
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    return [_event({"type": "message_start", "message": _MESSAGE}), _event(start)]


def _ending(stop_reason: str = "end_turn") -> list[bytes]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return [
        _event({"type": "content_block_stop", "index": 0}),
        _event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5000}}),
        _event({"type": "message_stop"}),
    ]


def _chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@functools.cache
def _text_events(count: int) -> list[bytes]:
    return [*_beginning(_TEXT_BLOCK), *(_text(PIECE.format(number % 10000)) for number in range(count)), *_ending()]


@functools.cache
def _text_answer(count: int) -> list[bytes]:
    return [_chunked([event]) for event in _text_events(count)]


@functools.cache
def _packed_answer(count: int) -> bytes:
    whole = b"".join(_text_events(count))
    return _chunked([whole[start : start + PACKED] for start in range(0, len(whole), PACKED)])


@functools.cache
def _tool_answer(count: int) -> bytes:
    whole = json.dumps({"content": "x" * (count * TOOL_PIECE - len('{"content": ""}'))})
    pieces = [whole[start : start + TOOL_PIECE] for start in range(0, len(whole), TOOL_PIECE)]
    deltas = [_delta("input_json_delta", "partial_json", piece) for piece in pieces]
    return _chunked([*_beginning(_TOOL_BLOCK), *deltas, *_ending("tool_use")])


class _Server:
    """The scenarios, and what the connections share."""

    def __init__(self) -> None:
        self._go = asyncio.Event()
        self._held = 0

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                path = head.split(b" ", 2)[1].decode()
                name, *numbers = path.split("/")[1].split("-")
                if name == "batch":
                    await _batch(writer, path, head, int(numbers[0]))
                    continue
                writer.write(_HEAD)
                await _ANSWERS[name](self, writer, *map(int, numbers))
                writer.write(_LAST_CHUNK)
                await writer.drain()
        writer.close()

    async def text(self, writer: asyncio.StreamWriter, count: int) -> None:
        """One chunk for each of `count` text deltas, as the API does it; over TLS, in a record of its own."""
        writer.writelines(_text_answer(count))

    async def packed(self, writer: asyncio.StreamWriter, count: int) -> None:
        """The same events in chunks of 16 KiB."""
        writer.write(_packed_answer(count))

    async def tool(self, writer: asyncio.StreamWriter, count: int) -> None:
        """A tool's input in `count` deltas."""
        writer.write(_tool_answer(count))

    async def paced(self, writer: asyncio.StreamWriter, count: int) -> None:
        """200 events a second; the text of each is when it was sent, in nanoseconds of the monotonic clock."""
        writer.write(_chunked(_beginning(_TEXT_BLOCK)))
        for _ in range(count):
            await asyncio.sleep(PACE)
            writer.write(_chunked([_text(str(time.monotonic_ns()))]))
        await asyncio.sleep(PACE)
        writer.write(_chunked(_ending()))

    async def flood(self, writer: asyncio.StreamWriter, thousands: int) -> None:
        """As many short text deltas as the client takes."""
        block = _chunked([_text("ab")]) * 1000
        writer.write(_chunked(_beginning(_TEXT_BLOCK)))
        for _ in range(thousands):
            writer.write(block)
            await writer.drain()
        writer.write(_chunked(_ending()))

    async def held(self, writer: asyncio.StreamWriter, count: int, interval_ms: int) -> None:
        """Begin, wait until somebody asks for `go`, then send an event each interval."""
        events = _text_events(count)
        writer.write(_chunked(events[:2]))
        self._held += 1
        place = self._held * 0.618 % 1  # the connections do not all send at the same moment
        await self._go.wait()
        start = time.monotonic() + place * interval_ms / 1000
        for number, event in enumerate(events[2:]):
            await asyncio.sleep(max(0.0, start + number * interval_ms / 1000 - time.monotonic()))
            writer.write(_chunked([event]))

    async def timed(self, writer: asyncio.StreamWriter, count: int, interval_ms: int) -> None:
        """As `held`; the text of each event is its number and when it was sent, in ns of the monotonic clock."""
        writer.write(_chunked(_beginning(_TEXT_BLOCK)))
        self._held += 1
        place = self._held * 0.618 % 1
        await self._go.wait()
        start = time.monotonic() + place * interval_ms / 1000
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number * interval_ms / 1000 - time.monotonic()))
            writer.write(_chunked([_text(f"{number}:{time.monotonic_ns()}")]))
        writer.write(_chunked(_ending()))

    async def go(self, _: asyncio.StreamWriter) -> None:
        """Let all that are held go on."""
        self._go.set()


async def _batch(writer: asyncio.StreamWriter, path: str, head: bytes, thousands: int) -> None:
    """A batch that has ended, with so many results of a kilobyte each, in chunks of 16 KiB."""
    if not path.endswith("/results"):
        host = head.partition(b"\r\nhost: ")[2].partition(b"\r\n")[0].decode()
        counts = {**_BATCH["request_counts"], "succeeded": thousands * 1000}
        results_url = f"http://{host}{path}/results"
        writer.write(_json_answer({**_BATCH, "request_counts": counts, "results_url": results_url}))
        return
    writer.write(_HEAD.replace(b"text/event-stream; charset=utf-8", b"application/x-jsonl"))
    for number in range(thousands):
        writer.write(_thousand_results(number))
        await writer.drain()
    writer.write(_LAST_CHUNK)
    await writer.drain()


def _json_answer(data: dict[str, Any]) -> bytes:
    body = json.dumps(data).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _thousand_results(thousand: int) -> bytes:
    """Return results whose names nobody has had before: a result is delivered once."""
    whole = _named_alike().replace(b'"custom_id":"', b'"custom_id":"%03d-' % thousand)
    return _chunked([whole[start : start + PACKED] for start in range(0, len(whole), PACKED)])


@functools.cache
def _named_alike() -> bytes:
    block = {"type": "text", "text": text_of(RESULT_WORDS)}
    message = {**_MESSAGE, "content": [block], "stop_reason": "end_turn"}
    results = [
        {"custom_id": f"request-{number}", "result": {"type": "succeeded", "message": message}}
        for number in range(1000)
    ]
    return b"".join(json.dumps(result, separators=(",", ":")).encode() + b"\n" for result in results)


_ANSWERS: dict[str, Callable[..., Awaitable[None]]] = {
    "text": _Server.text,
    "packed": _Server.packed,
    "tool": _Server.tool,
    "paced": _Server.paced,
    "flood": _Server.flood,
    "held": _Server.held,
    "timed": _Server.timed,
    "go": _Server.go,
}


async def _serve(pipe: Connection, certificate: str | None) -> None:
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    server = await asyncio.start_server(_Server().connection, "127.0.0.1", 0, backlog=4096, ssl=tls)
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _main(pipe: Connection, certificate: str | None) -> None:
    allow_many_descriptors()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(pipe, certificate))


def allow_many_descriptors() -> None:
    """Let this process open as many sockets as the system grants."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def running_server(*, encrypted: bool = False) -> Iterator[str]:
    """Run a server; get its address, to which a scenario is added: `f"{server}/text-5000"`.

    Processes that are started meanwhile trust its certificate, by the environment.
    """
    with _certificate() if encrypted else contextlib.nullcontext() as certificate:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_main, args=(theirs, certificate), daemon=True)
        process.start()
        try:
            yield f"{'https://localhost' if encrypted else 'http://127.0.0.1'}:{ours.recv()}"
        finally:
            process.terminate()
            process.join()


@contextlib.contextmanager
def _certificate() -> Iterator[str]:
    """Make a certificate for localhost, whose authority is trusted."""
    authority = trustme.CA()
    before = {name: os.environ.get(name) for name in _TRUSTED}
    with tempfile.TemporaryDirectory() as folder:
        bundle, certificate = Path(folder, "authority.pem"), Path(folder, "localhost.pem")
        authority.cert_pem.write_to_path(str(bundle))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        os.environ.update(dict.fromkeys(_TRUSTED, str(bundle)))
        try:
            yield str(certificate)
        finally:
            for name in _TRUSTED:
                del os.environ[name]
            os.environ.update({name: value for name, value in before.items() if value is not None})
