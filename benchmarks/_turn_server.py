"""The API on loopback for turns, in a process of its own: it reads each request's body, and answers as if by a clock.

The first part of a request's path says what is answered, its numbers how much of it; see `_ANSWERS`. Whoever sends
results of calls gets a short text.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import multiprocessing
import time
from typing import TYPE_CHECKING, Any

from _answers import HEAD, LAST_CHUNK, beginning, chunked, ending
from _server import PACE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from multiprocessing.connection import Connection

TOOL = "work"
TOOLS = [{"name": TOOL, "description": "Work.", "input_schema": {"type": "object"}}]


class _Connection(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 0
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer a chat."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        content = body["messages"][-1]["content"]
        has_results = not isinstance(content, str) and any(block["type"] == "tool_result" for block in content)
        name, *numbers = self.path.split("/")[1].split("-")
        pieces = _text(["Done."]) if has_results else _ANSWERS[name](*map(int, numbers))
        self.wfile.write(HEAD)
        for piece in pieces:
            self.wfile.write(piece)
        self.wfile.write(LAST_CHUNK)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it has
        """Say nothing."""


def _calls(count: int, gap_ms: int, tail_ms: int) -> Iterator[bytes]:
    """So many calls, one each `gap_ms`; then text for `tail_ms`."""
    yield chunked(beginning()[:1])
    for index in range(count):
        yield _call(index)
        time.sleep(gap_ms / 1000)
        yield _chunk("content_block_stop", index=index)
    yield from _paced_text(count, tail_ms / 1000, lambda: "word ")
    yield chunked(ending("tool_use")[1:])


def _timed(calls: int, count: int) -> Iterator[bytes]:
    """So many calls, then 200 events a second; the text of each is when it was sent, in ns of the monotonic clock."""
    yield chunked(beginning()[:1])
    for index in range(calls):
        yield _call(index)
        yield _chunk("content_block_stop", index=index)
    yield from _paced_text(calls, count * PACE, lambda: str(time.monotonic_ns()))
    yield chunked(ending("tool_use" if calls else "end_turn")[1:])


def _call(index: int) -> bytes:
    block = {"type": "tool_use", "id": f"toolu_{time.monotonic_ns()}_{index}", "name": TOOL, "input": {}}
    return _chunk("content_block_start", index=index, content_block=block)


def _paced_text(index: int, seconds: float, text: Callable[[], str]) -> Iterator[bytes]:
    """A block of text that takes so long; a call before it is whole when it begins."""
    due = time.monotonic()
    yield _chunk("content_block_start", index=index, content_block={"type": "text", "text": ""})
    for _ in range(round(seconds / PACE)):
        due += PACE
        time.sleep(max(0.0, due - time.monotonic()))
        yield _chunk("content_block_delta", index=index, delta={"type": "text_delta", "text": text()})
    yield _chunk("content_block_stop", index=index)


def _text(texts: list[str]) -> Iterator[bytes]:
    yield chunked(beginning())
    for text in texts:
        yield _chunk("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    yield chunked(ending())


def _chunk(kind: str, **data: Any) -> bytes:
    return chunked([f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()])


_ANSWERS: dict[str, Callable[..., Iterator[bytes]]] = {"calls": _calls, "timed": _timed}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client has gone."""


def _main(pipe: Connection) -> None:
    with contextlib.suppress(KeyboardInterrupt), _Server(("127.0.0.1", 0), _Connection) as server:
        pipe.send(server.server_address[1])
        server.serve_forever()


@contextlib.contextmanager
def running_turn_server() -> Generator[str]:
    """Run a server; get its address, to which an answer is added: `f"{server}/calls-5-50-300"`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()
