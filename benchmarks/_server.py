"""The API on loopback, in a process of its own: answers are bytes made beforehand, so that the client is what counts.

The first part of a request's path says what is answered, its numbers how much of it; see `_STREAMS`. Each connection
has a thread, which answers as plainly as can be: so the server is not what limits, over TLS neither.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import multiprocessing
import os
import random
import resource
import socket
import ssl
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import certifi
from _answers import (
    BATCH,
    FILE,
    HEAD,
    LAST_CHUNK,
    beginning,
    chunked,
    ending,
    json_answer,
    packed_answer,
    text_answer,
    text_delta,
    thousand_results,
    tool_answer,
)
from _peer import accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.connection import Connection

    from _peer import Peer

PACE = 0.005  # seconds between two paced events
_TRUSTED = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")  # requests and we look for the first, ssl and the SDK for the second


class _Timetable(threading.Thread):
    """Sends what many connections are to get, each piece at its time: one thread for all, which few waits need."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._begun = threading.Event()
        self._waiting: list[tuple[float, int, float, Iterator[bytes], Peer, threading.Event]] = []
        self._numbers = itertools.count()
        self._place = random.Random(1).random
        self._changed = threading.Condition()

    def send(self, peer: Peer, pieces: Iterable[bytes], interval: float) -> None:
        """Send a piece each interval, once all may begin; return when all are sent, or the connection is gone."""
        over = threading.Event()
        self._begun.wait()
        with self._changed:  # the connections know nothing of each other: each begins at any moment of an interval
            first = time.monotonic() + self._place() * interval
            heapq.heappush(self._waiting, (first, next(self._numbers), interval, iter(pieces), peer, over))
            self._changed.notify()
        over.wait()

    def begin(self) -> None:
        """Let all that wait begin, and those that come."""
        self._begun.set()

    def run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                due, number, interval, pieces, peer, over = heapq.heappop(self._waiting)
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                peer.send(next(pieces))
            except (StopIteration, OSError):
                over.set()
            else:
                with self._changed:
                    heapq.heappush(self._waiting, (due + interval, number, interval, pieces, peer, over))


class _Server:
    """The scenarios, and what the connections share."""

    def __init__(self) -> None:
        self._timetable = _Timetable()
        self._timetable.start()

    def connection(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answer the requests of one connection until it ends."""
        with contextlib.suppress(OSError), sock, accepted(sock, tls) as peer:
            for head in _heads(peer):
                path = head.split(b" ", 2)[1].decode()
                name, *numbers = path.split("/")[1].split("-")
                if name in _PLAIN_ANSWERS:
                    _PLAIN_ANSWERS[name](peer, path, head, *map(int, numbers))
                else:
                    peer.send(HEAD)
                    _STREAMS[name](self, peer, *map(int, numbers))
                    peer.send(LAST_CHUNK)

    def text(self, peer: Peer, count: int) -> None:
        """One chunk for each of `count` text deltas, as the API does it; over TLS, in a record of its own."""
        peer.send(*text_answer(count))

    def packed(self, peer: Peer, count: int) -> None:
        """The same events in chunks of 16 KiB."""
        peer.send(packed_answer(count))

    def tool(self, peer: Peer, count: int) -> None:
        """A tool's input in `count` deltas."""
        peer.send(tool_answer(count))

    def paced(self, peer: Peer, count: int) -> None:
        """200 events a second; the text of each is when it was sent, in nanoseconds of the monotonic clock."""
        peer.send(chunked(beginning()))
        for _ in range(count):
            time.sleep(PACE)
            peer.send(chunked([text_delta(str(time.monotonic_ns()))]))
        time.sleep(PACE)
        peer.send(chunked(ending()))

    def flood(self, peer: Peer, thousands: int) -> None:
        """As many short text deltas as the client takes."""
        block = chunked([text_delta("ab")]) * 1000
        peer.send(chunked(beginning()))
        for _ in range(thousands):
            peer.send(block)
        peer.send(chunked(ending()))

    def held(self, peer: Peer, count: int, interval_ms: int) -> None:
        """Begin, wait until somebody asks for `go`, then send an event each interval."""
        first, second, *others = text_answer(count)
        peer.send(first + second)
        self._timetable.send(peer, others, interval_ms / 1000)

    def timed(self, peer: Peer, count: int, interval_ms: int) -> None:
        """As `held`; the text of each event is its number and when it was sent, in ns of the monotonic clock."""
        peer.send(chunked(beginning()))
        pieces = (chunked([text_delta(f"{number}:{time.monotonic_ns()}")]) for number in range(count))
        self._timetable.send(peer, pieces, interval_ms / 1000)
        peer.send(chunked(ending()))

    def swift(self, peer: Peer, seconds: int) -> None:
        """5,000 events a second: five each millisecond, once somebody asks for `go`."""
        peer.send(chunked(beginning()))
        five = chunked([*[text_delta("word ")] * 4, text_delta("word\n")])
        self._timetable.send(peer, (five for _ in range(seconds * 1000)), 0.001)
        peer.send(chunked(ending()))

    def go(self, _: Peer) -> None:
        """Let all that are held go on."""
        self._timetable.begin()


def _heads(peer: Peer) -> Iterator[bytes]:
    """Get the head of each request, in small letters; throw the body away."""
    while data := peer.recv():
        while b"\r\n\r\n" not in data and (more := peer.recv()):
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        head = head.lower()
        left = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0) - len(body)
        while left > 0 and (more := peer.recv()):
            left -= len(more)
        yield head


def _batch(peer: Peer, path: str, head: bytes, thousands: int) -> None:
    """A batch that has ended, with so many results of a kilobyte each, in chunks of 16 KiB."""
    if not path.endswith("/results"):
        host = head.partition(b"\r\nhost: ")[2].partition(b"\r\n")[0].decode()
        counts = {**BATCH["request_counts"], "succeeded": thousands * 1000}
        results_url = f"{peer.scheme}://{host}{path}/results"
        peer.send(json_answer({**BATCH, "request_counts": counts, "results_url": results_url}))
        return
    peer.send(HEAD.replace(b"text/event-stream; charset=utf-8", b"application/x-jsonl"))
    for number in range(thousands):
        peer.send(thousand_results(number))
    peer.send(LAST_CHUNK)


def _uploaded(peer: Peer, _path: str, _head: bytes) -> None:
    """A file of any size was taken."""
    peer.send(json_answer(FILE))


def _cpu(peer: Peer, _path: str, _head: bytes) -> None:
    """The seconds of CPU that this process has used."""
    peer.send(json_answer(time.process_time()))


_STREAMS: dict[str, Callable[..., None]] = {
    "text": _Server.text,
    "packed": _Server.packed,
    "tool": _Server.tool,
    "paced": _Server.paced,
    "flood": _Server.flood,
    "held": _Server.held,
    "timed": _Server.timed,
    "swift": _Server.swift,
    "go": _Server.go,
}
_PLAIN_ANSWERS: dict[str, Callable[..., None]] = {"batch": _batch, "upload": _uploaded, "cpu": _cpu}


def _main(pipe: Connection, certificate: str | None) -> None:
    allow_many_descriptors()
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    server = _Server()
    with contextlib.suppress(KeyboardInterrupt), socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        pipe.send(listener.getsockname()[1])
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=server.connection, args=(sock, tls), daemon=True).start()


def allow_many_descriptors() -> None:
    """Let this process open as many sockets as the system grants."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def running_server(*, encrypted: bool = False) -> Iterator[str]:
    """Run a server; get its address, to which a scenario is added: `f"{server}/text-5000"`.

    Processes that are started meanwhile trust its certificate, by the environment.
    """
    with trusted_certificate() if encrypted else contextlib.nullcontext() as certificate:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_main, args=(theirs, certificate), daemon=True)
        process.start()
        try:
            yield f"{'https://localhost' if encrypted else 'http://127.0.0.1'}:{ours.recv()}"
        finally:
            process.terminate()
            process.join()


def let_go(server: str) -> None:
    """Let all that are held go on."""
    _asked(server, "go")


def cpu_of_server(server: str) -> float:
    """Get the seconds of CPU that the server has used."""
    seconds: float = json.loads(_asked(server, "cpu"))
    return seconds


def _asked(server: str, what: str) -> Any:
    """Ask in plain HTTP, which costs the asker little."""
    with urllib.request.urlopen(f"http://127.0.0.1:{urlsplit(server).port}/{what}") as response:
        return response.read()


@contextlib.contextmanager
def trusted_certificate() -> Iterator[str]:
    """Make a certificate for localhost, and trust its authority beside the usual ones, which cost time to load."""
    import trustme  # noqa: PLC0415 - it takes long, and the processes that are measured do without

    authority = trustme.CA()
    before = {name: os.environ.get(name) for name in _TRUSTED}
    with tempfile.TemporaryDirectory() as folder:
        bundle, certificate = Path(folder, "authorities.pem"), Path(folder, "localhost.pem")
        bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        os.environ.update(dict.fromkeys(_TRUSTED, str(bundle)))
        try:
            yield str(certificate)
        finally:
            for name in _TRUSTED:
                del os.environ[name]
            os.environ.update({name: value for name, value in before.items() if value is not None})
