"""How long a chat lives on after `cancel()`, in each phase that it may be in."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import pykka
from _measure import Verdict, table, title

from anthropix_actors import Client, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
_PATIENT = Timeout(connect=120, read=120, idle=120)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_START = b'data: {"type":"message_start","message":{"id":"msg_1","content":[],"usage":{}}}\n\n'
_BLOCK = b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
_DELTA = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\n'
_BUSY = b"HTTP/1.1 529 Overloaded\r\ncontent-length: 0\r\nretry-after: 30\r\n\r\n"
_SETTLE = 0.02
"""Seconds until a chat surely is where it is to be cancelled."""


class _Ignore:
    """A subscriber that takes everything."""

    def tell(self, message: object, /) -> None:
        """Take it."""


class _Stuck(pykka.ThreadingActor):
    """A subscriber that handles nothing until it is let."""

    use_daemon_thread = True

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate = gate

    def on_receive(self, message: object) -> None:  # noqa: ARG002 - whatever it is
        self.gate.wait()


@contextlib.contextmanager
def _server(reply: bytes | None) -> Iterator[int]:
    """Serve connections that get `reply` to the first bytes they send, and then nothing; None is never accepted."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0 if reply is None else 128)
    port: int = listener.getsockname()[1]
    held: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                held.append(sock)
                sock.recv(1)
                sock.sendall(reply or b"")

    if reply is None:
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)  # noqa: FBT003 - socket's own signature
            filler.connect_ex(("127.0.0.1", port))
            held.append(filler)
    else:
        threading.Thread(target=accept, daemon=True).start()
    try:
        yield port
    finally:
        for sock in (listener, *held):
            sock.close()


def _plain(client: Client) -> tuple[Any, Callable[[], object]]:
    return client.chat(**_ASK, stream=_Ignore()), lambda: None


def _slow_actor(client: Client) -> tuple[Any, Callable[[], object]]:
    gate = threading.Event()
    ref = _Stuck.start(gate)

    def let_go() -> None:
        gate.set()
        ref.stop()

    return client.chat(**_ASK, stream=ref), let_go


def _slow_loop(client: Client) -> tuple[Any, Callable[[], object]]:
    stream = client.chat(**_ASK, stream=True)
    return stream.chat, stream.close


_MANY = _HEAD + _START + _BLOCK + _DELTA * 200
_PHASES: dict[str, tuple[str, bytes | None, Callable[[Client], tuple[Any, Callable[[], object]]]]] = {
    "connecting": ("http", None, _plain),
    "TLS handshake": ("https", b"", _plain),
    "waiting for headers": ("http", b"", _plain),
    "half a header": ("http", b"HTTP/1.1 200 OK\r\ncontent-ty", _plain),
    "between two events": ("http", _HEAD + _START + _BLOCK + _DELTA, _plain),
    "inside an event": ("http", _HEAD + _START + _BLOCK + _DELTA[:20], _plain),
    "waiting for a retry": ("http", _BUSY, _plain),
    "slow actor": ("http", _MANY, _slow_actor),
    "slow loop": ("http", _MANY, _slow_loop),
}


def run(*, quick: bool) -> list[Verdict]:
    repetitions = 5 if quick else 25
    title(f"cancel: from cancel() until the chat's actor has stopped, in ms; {repetitions} times each")
    rows: list[list[str]] = []
    worst = 0.0
    for phase, (scheme, reply, start) in _PHASES.items():
        with _server(reply) as port:
            took = [_once(f"{scheme}://127.0.0.1:{port}", start) for _ in range(repetitions)]
        rows.append([phase, f"{statistics.median(took):.2f}", f"{max(took):.2f}"])
        worst = max(worst, *took)
    table(["phase", "median", "worst"], rows)
    return [Verdict("cancel() in every phase, the worst", "<= 50 ms", f"{worst:.1f} ms", worst <= 50)]


def _once(url: str, start: Callable[[Client], tuple[Any, Callable[[], object]]]) -> float:
    with Client("key", base_url=url, timeout=_PATIENT, window=8, proxy="") as client:
        chat, let_go = start(client)
        time.sleep(_SETTLE)
        before = time.perf_counter()
        chat.cancel()
        chat.actor_stopped.wait(60)
        took = (time.perf_counter() - before) * 1000
        let_go()
    return took
