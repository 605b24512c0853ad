"""Servers that send exact bytes over real sockets, and fail in exact ways."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from typing import Self

    from anthropix_actors._tasks.flag import Flag

DEADLINE = 20.0
"""The longest wait of a test, in seconds; far more than it needs."""


class Peer:
    """The server's side of one connection, scripted by a test."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.head = b""
        self.body = b""

    def read_request(self) -> bool:
        """Read one request; False when the client has hung up."""
        data = b""
        while b"\r\n\r\n" not in data:
            received = self.sock.recv(65536)
            if not received:
                return False
            data += received
        self.head, _, self.body = data.partition(b"\r\n\r\n")
        length = int(self.header("content-length") or 0)
        while len(self.body) < length:
            received = self.sock.recv(65536)
            if not received:
                return False
            self.body += received
        return True

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.sock.sendall(piece)

    def wait_for_hang_up(self) -> None:
        """Wait until the client has closed the connection, or reset it."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Server:
    """Runs `script(peer)` in a thread for every connection, on loopback. Ends with its `with` block."""

    def __init__(
        self, script: Callable[[Peer], object], tls: ssl.SSLContext | None = None, family: int = socket.AF_INET
    ) -> None:
        self.script = script
        self.tls = tls
        place = "127.0.0.1" if family == socket.AF_INET else "::1"
        self.listener = socket.create_server((place, 0), family=family, backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}"
        self.hung_up = threading.Semaphore(0)  # released at the end of each script
        self.accepted = threading.Semaphore(0)
        self.connections = 0
        self.errors: list[BaseException] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="test-acceptor")

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(DEADLINE)  # first: a connection it has just accepted is to be shut down too
        assert not self._acceptor.is_alive(), "the test's server goes on accepting"
        self.listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive(), "a script of the test's server does not end"
        for sock in self._sockets:
            sock.close()

    def hang_up(self) -> None:
        """Shut all connections down, like a server that stops, so that a waiting client goes on."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or small pieces wait for 40 ms
            self.connections += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._run, args=(sock, self.connections), name="test-peer")
            self._threads.append(thread)
            thread.start()
            self.accepted.release()

    def _run(self, sock: socket.socket, number: int) -> None:
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                self._sockets.append(sock)
                sock.do_handshake()
            self.script(Peer(sock, number))
        except OSError:
            pass  # the client was faster
        except BaseException as exc:  # noqa: BLE001
            self.errors.append(exc)
        finally:
            with contextlib.suppress(OSError):
                sock.close()
            self.hung_up.release()


class Tunnel:
    """A proxy that opens a tunnel to one server on loopback, whatever host a client asks for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        peer.read_request()
        self.asked.append(peer.head)
        with socket.create_connection(("127.0.0.1", self.port)) as upstream:
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(upstream, peer.sock))
            back.start()
            pump(peer.sock, upstream)
            back.join(DEADLINE)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on all bytes and then the end, be it a reset."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def acquire(semaphore: threading.Semaphore) -> None:
    assert semaphore.acquire(timeout=DEADLINE), "what the test waited for did not happen"


def wait(event: threading.Event | Flag) -> None:
    assert event.wait(DEADLINE), "what the test waited for did not happen"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def head(
    status: str = "200 OK",
    *,
    framing: str = "chunked",
    content_type: str = "text/event-stream; charset=utf-8",
    headers: dict[str, str] | None = None,
) -> bytes:
    """Return a response's head. `framing` is "chunked", "close", or a content length."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {content_type}", "request-id: req_test"]
    if framing == "chunked":
        lines.append("transfer-encoding: chunked")
    elif framing == "close":
        lines.append("connection: close")
    else:
        lines.append(f"content-length: {framing}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()


def json_answer(status: str, body: Any, headers: dict[str, str] | None = None) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(status, framing=str(len(data)), content_type="application/json", headers=headers) + data


def error_body(kind: str, message: str = "no") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_test"}


BUSY = json_answer("529 Overloaded", error_body("overloaded_error", "Overloaded"), {"retry-after-ms": "1"})
"""An overload that asks for a retry at once."""


def batch_of(batch_id: str, lines: int | None = None, **more: Any) -> dict[str, Any]:
    """Return a batch that runs; or one that has ended, with this number of results."""
    counts = {"processing": 1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    running = {"id": batch_id, "type": "message_batch", "processing_status": "in_progress", "results_url": None}
    if lines is not None:
        counts.update(processing=0, expired=lines)
        running.update(processing_status="ended", results_url=f"/v1/messages/batches/{batch_id}/results")
    return {**running, "request_counts": counts, **more}


def line_of(custom_id: str) -> bytes:
    """Return a line of a batch's results: that of a request which expired."""
    return json.dumps({"custom_id": custom_id, "result": {"type": "expired"}}).encode() + b"\n"


def sse(event: dict[str, Any]) -> bytes:
    data = json.dumps(event, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


LAST_CHUNK = b"0\r\n\r\n"
PING: dict[str, Any] = {"type": "ping"}
STOP: dict[str, Any] = {"type": "message_stop"}


def start(**usage: int) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1, **usage},
    }
    return {"type": "message_start", "message": message}


def text_delta(text: str, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def block_start(index: int = 0, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block or {"type": "text", "text": ""}}


def block_stop(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def message_delta(stop_reason: str = "end_turn", output_tokens: int = 9) -> dict[str, Any]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": output_tokens}}


def answer(*texts: str) -> list[dict[str, Any]]:
    """Return the events of a complete answer."""
    return [start(), block_start(), *map(text_delta, texts), block_stop(), message_delta(), STOP]


def chunks(events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(chunk(sse(event)) for event in events)


def stream_of(*events: dict[str, Any]) -> bytes:
    """Return a response that is a stream of these events."""
    return head() + chunks(events) + LAST_CHUNK


def whole(*texts: str) -> bytes:
    """Return a response that is the stream of a complete answer."""
    return stream_of(*answer(*texts))


def send_answer(peer: Peer, *texts: str) -> None:
    peer.send(whole(*texts))


def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition by polling, with a deadline: for changes that no event announces."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "what the test waited for did not happen"
        time.sleep(0.001)


# Scripts: what a server does on each connection


def after(*pieces: bytes) -> Callable[[Peer], None]:
    """Read a request, send exactly these bytes, and close."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*pieces)

    return script


class Always:
    """Give the same response to every request, and note the heads of the requests."""

    def __init__(self, response: bytes) -> None:
        self.response = response
        self.heads: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            self.heads.append(peer.head)
            peer.send(self.response)


def answering(*texts: str) -> Callable[[Peer], None]:
    """Answer every chat with these pieces of text."""

    def script(peer: Peer) -> None:
        while peer.read_request():
            send_answer(peer, *texts)

    return script


class Paused:
    """Send the first events of an answer; the others when `go_on` is set."""

    def __init__(self, events: list[dict[str, Any]], first: int) -> None:
        self.go_on = threading.Event()
        self._events = events
        self._first = first

    def __call__(self, peer: Peer) -> None:
        peer.read_request()
        peer.send(head(), chunks(self._events[: self._first]))
        wait(self.go_on)
        peer.send(chunks(self._events[self._first :]), LAST_CHUNK)


class Flood:
    """Send more than any window, and the buffers between, can hold.

    Attributes:
        sent: How many bytes of deltas the network took.
        all: How many there are.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.all = 5000 * 10_000

    def __call__(self, peer: Peer) -> None:
        peer.read_request()
        peer.send(head(), chunks(answer("x")[:2]))
        more = chunks(answer("y" * 10_000)[2:3])
        for _ in range(5000):
            peer.send(more)
            self.sent += len(more)


class Replies:
    """Give one response to each request, in turn and over any connections; close the connection for None."""

    def __init__(self, *responses: bytes | None) -> None:
        self.responses = list(responses)
        self.bodies: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            self.bodies.append(peer.body)
            response = self.responses.pop(0)
            if response is None:
                return
            peer.send(response)


class Halt:
    """Read a request, send these bytes, and then nothing more until the client hangs up.

    Attributes:
        reached: Released when all bytes have been sent.
    """

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.reached = threading.Semaphore(0)

    def __call__(self, peer: Peer) -> None:
        if peer.read_request():
            peer.send(*self.pieces)
            self.reached.release()
            peer.wait_for_hang_up()


def stalling(peer: Peer) -> None:
    """Begin an answer, with some text, and send nothing more until the client hangs up."""
    Halt(head(), chunks(answer("Hi")[:3]))(peer)


class Gated:
    """Send the first events of an answer, and the rest once the gate is open.

    Attributes:
        go_on: The gate: open for good once it is set.
        reached: Released when the first events have been sent.
    """

    def __init__(self, events: list[dict[str, Any]], first: int = 3, go_on: threading.Event | None = None) -> None:
        self.events = events
        self.first = first
        self.go_on = go_on or threading.Event()
        self.reached = threading.Semaphore(0)

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            peer.send(head(), chunks(self.events[: self.first]))
            self.reached.release()
            wait(self.go_on)
            peer.send(chunks(self.events[self.first :]), LAST_CHUNK)


class Turnstile:
    """Send the first events of each answer, and the rest of one answer each time that the test lets one pass.

    Attributes:
        reached: Released when the first events of an answer have been sent.
        let: Acquired before the rest of an answer is sent.
    """

    def __init__(self, *texts: str, first: int | None = 3, headers: dict[str, str] | None = None) -> None:
        """If `first` is None, send nothing, not even the head, before the test releases `let`."""
        self.texts = texts
        self.first = first
        self.headers = headers
        self.reached = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            pieces = [head(headers=self.headers), *[chunk(sse(event)) for event in self.events_for(peer)], LAST_CHUNK]
            cut = 0 if self.first is None else 1 + self.first
            peer.send(b"".join(pieces[:cut]))
            self.reached.release()
            acquire(self.let)
            self.passes()
            peer.send(b"".join(pieces[cut:]))

    def events_for(self, peer: Peer) -> list[dict[str, Any]]:  # noqa: ARG002 - for subclasses
        """Return the events of the answer to a request."""
        return answer(*self.texts)

    def passes(self) -> None:
        """Called when an answer is about to end, before the client can know; for subclasses."""
