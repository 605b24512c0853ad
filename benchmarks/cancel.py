"""How long a chat lives on after `cancel()`, in each phase that it may be in."""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
from _measure import WAYS, Verdict, table, title
from _peer import ROOM, accepted
from _server import trusted_certificate

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
"""Seconds after an answer, until a chat surely is where it is to be cancelled."""


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
def _server(answer: Callable[[socket.socket], None] | None) -> Iterator[tuple[int, Callable[[], object]]]:
    """Serve connections, each by `answer`, and hold them; with None, none is ever accepted.

    Get the port, and what waits until one more connection was answered.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=0 if answer is None else 128)
    port: int = listener.getsockname()[1]
    held: list[socket.socket] = []
    answered = threading.Semaphore(0)

    def accept(answer: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                held.append(sock)
                with contextlib.suppress(OSError):
                    answer(sock)
                answered.release()

    if answer is None:
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)  # noqa: FBT003 - socket's own signature
            filler.connect_ex(("127.0.0.1", port))
            held.append(filler)
    else:
        threading.Thread(target=accept, args=(answer,), daemon=True).start()
    try:
        yield port, (lambda: None) if answer is None else partial(answered.acquire, timeout=60)
    finally:
        for sock in (listener, *held):
            sock.close()


def _to_nothing(client: Client) -> tuple[Any, Callable[[], object]]:
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
_PHASES: dict[str, tuple[bytes, Callable[[Client], tuple[Any, Callable[[], object]]]]] = {
    "waiting for headers": (b"", _to_nothing),
    "half a header": (b"HTTP/1.1 200 OK\r\ncontent-ty", _to_nothing),
    "between two events": (_HEAD + _START + _BLOCK + _DELTA, _to_nothing),
    "inside an event": (_HEAD + _START + _BLOCK + _DELTA[:20], _to_nothing),
    "waiting for a retry": (_BUSY, _to_nothing),
    "slow actor": (_MANY, _slow_actor),
    "slow loop": (_MANY, _slow_loop),
}
_CUT = 20
"""Bytes; a record that lacks its last ones cannot be decrypted."""


def run(*, quick: bool) -> list[Verdict]:
    repetitions = 5 if quick else 25
    title(f"cancel: from cancel() until the chat's actor has stopped, in ms; {repetitions} times each")
    rows: list[list[str]] = []
    worst = dict.fromkeys(WAYS, 0.0)
    with trusted_certificate() as certificate:
        for way, phase, answer, start in _cases(certificate):
            with _server(answer) as (port, wait):
                address = f"https://localhost:{port}" if WAYS[way] else f"http://127.0.0.1:{port}"
                took = [_once(address, start, wait) for _ in range(repetitions)]
            rows.append([phase, way, f"{statistics.median(took):.2f}", f"{max(took):.2f}"])
            worst[way] = max(worst[way], *took)
    table(["phase", "", "median", "worst"], rows)
    return [
        Verdict(f"cancel() in every phase, {way}, the worst", "<= 50 ms", f"{most:.1f} ms", most <= 50)
        for way, most in worst.items()
    ]


def _cases(certificate: str) -> Iterator[tuple[str, str, Any, Any]]:
    """Get all phases: how it travels, the name, how the server answers, and how the chat is started."""
    tls, older = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    for context in (tls, older):
        context.load_cert_chain(certificate)
    plain, encrypted = WAYS
    yield plain, "connecting", None, _to_nothing
    for phase, (reply, start) in _PHASES.items():
        yield plain, phase, partial(_reply, reply=reply), start
    yield encrypted, "handshake: no answer", lambda sock: sock.recv(1), _to_nothing
    yield encrypted, "handshake: half of the server's part", partial(_shake, tls=tls, part=0.5), _to_nothing
    yield encrypted, "handshake: no end (TLS 1.2)", partial(_shake, tls=older, part=1), _to_nothing
    for phase, (reply, start) in _PHASES.items():
        yield encrypted, phase, partial(_reply, reply=reply, tls=tls), start
    yield encrypted, "inside a record", partial(_reply, reply=_MANY, tls=tls, cut=_CUT), _to_nothing


def _reply(sock: socket.socket, *, reply: bytes, tls: ssl.SSLContext | None = None, cut: int = 0) -> None:
    """Answer the first bytes of a request, but for the last `cut` bytes."""
    peer = accepted(sock, tls)
    peer.recv()
    data = peer.made(reply)
    sock.sendall(data[: len(data) - cut])


def _shake(sock: socket.socket, *, tls: ssl.SSLContext, part: float) -> None:
    """Send the first part of what the server says first in a handshake, and nothing more."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(sock.recv(ROOM))
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    said = outgoing.read()
    sock.sendall(said[: round(len(said) * part)])


def _once(
    url: str, start: Callable[[Client], tuple[Any, Callable[[], object]]], answered: Callable[[], object]
) -> float:
    with Client("key", base_url=url, timeout=_PATIENT, window=8, proxy="") as client:
        chat, let_go = start(client)
        answered()
        time.sleep(_SETTLE)
        before = time.perf_counter()
        chat.cancel()
        chat.actor_stopped.wait(60)
        took = (time.perf_counter() - before) * 1000
        let_go()
    return took
