"""Many chats that stream, cancelled at once: how long until the last has stopped, and its connection is closed."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import statistics
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka
from _measure import WAYS, Verdict, Worker, interleaved, median_and_range, ratio, table, title
from _pipelines import ASK, connected, our_client, raw_request
from _server import let_go, running_server

from anthropix_actors import ChatEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anthropix_actors import ChatRef, Client

_CHATS = 200
_PER_SECOND = (5, 20)
"""Events of each chat: calm, and about as fast as models write."""

_LONG = 60
"""Seconds of an answer that does not end before it is cancelled."""

_LIMIT = 60


class _Took(NamedTuple):
    """Seconds from the first cancel."""

    stopped: float
    closed: float


def run(*, quick: bool) -> list[Verdict]:
    repetitions = 3 if quick else 11
    title(f"cancel_many: {_CHATS} chats that stream; {repetitions} times each")
    rows, verdicts = [], []
    for (way, encrypted), rate in itertools.product(WAYS.items(), _PER_SECOND):
        with running_server(encrypted=encrypted) as server:
            workers = {name: Worker(_cancelling, server, name, rate) for name in (_RAW, *_CANCELS)}
            with contextlib.ExitStack() as stack:
                figures = interleaved({name: stack.enter_context(each) for name, each in workers.items()}, repetitions)
        closed = {name: [each.closed * 1000 for each in took] for name, took in figures.items()}
        for name, took in figures.items():
            stopped = median_and_range([each.stopped * 1000 for each in took])
            more = ratio(closed[name], closed[_RAW])
            rows.append([name, way, str(_CHATS * rate), *stopped, *median_and_range(closed[name]), more])
        for name in _CANCELS:
            middle = statistics.median(closed[name])
            what = f"{_CHATS} chats cancelled at once, {way}, {rate} events/s each, by {name}: the last"
            verdicts.append(Verdict(what, "<= 50 ms", f"{middle:.1f} ms", middle <= 50))
    table(["", "", "events/s", "last stopped, ms", "from-to", "last closed, ms", "from-to", "x raw"], rows)
    return verdicts


class _Subscriber(pykka.ThreadingActor):
    """Follows all chats; says when each has been told one text."""

    use_daemon_thread = True

    def __init__(self, began: threading.Semaphore) -> None:
        super().__init__()
        self._began = began
        self._known: set[ChatRef] = set()

    def on_receive(self, message: Any) -> None:
        if isinstance(message, ChatEvent):
            if message.data["type"] == "content_block_delta" and message.chat not in self._known:
                self._known.add(message.chat)
                self._began.release()
        else:
            self._known.discard(message.chat)


class _Streaming(NamedTuple):
    """Chats, or connections, that stream."""

    cancel: Callable[[], object]
    stopped: Sequence[Callable[[float], bool]]
    close: Callable[[], object]


def _cancelling(server: str, name: str, rate: int) -> Callable[[], _Took]:
    url = f"{server}/held-{_LONG * rate}-{1000 // rate}"
    start = _start_raw if name == _RAW else partial(_start_ours, _CANCELS[name])

    def measured() -> _Took:
        let_go(server)
        idle = _sockets()
        began = threading.Semaphore(0)
        streaming = start(url, began)
        for _ in range(_CHATS):
            if not began.acquire(timeout=_LIMIT):
                raise TimeoutError("not all stream")
        begin = time.perf_counter()
        streaming.cancel()
        for wait in streaming.stopped:
            if not wait(_LIMIT):
                raise TimeoutError("one did not stop")
        stopped = time.perf_counter() - begin
        while _sockets() > idle:
            time.sleep(0.0005)
        closed = time.perf_counter() - begin
        streaming.close()
        return _Took(stopped, closed)

    return measured


def _start_ours(cancel: Callable[[Client, list[ChatRef]], None], url: str, began: threading.Semaphore) -> _Streaming:
    client = our_client(url)
    subscriber = _Subscriber.start(began)
    chats = [client.chat(**ASK, stream=subscriber) for _ in range(_CHATS)]

    def close() -> None:
        client.close()
        subscriber.stop()

    return _Streaming(partial(cancel, client, chats), [chat.actor_stopped.wait for chat in chats], close)


def _start_raw(url: str, began: threading.Semaphore) -> _Streaming:
    """Read without looking at what comes, in bare threads: the least that ending 200 threads and connections takes."""
    socks = [connected(url) for _ in range(_CHATS)]
    handles = [socket.socket(fileno=os.dup(sock.fileno())) for sock in socks]  # plain ones, which know of no TLS
    ended = [threading.Event() for _ in socks]
    threads = [
        threading.Thread(target=_read_raw, args=(*each, url, began)) for each in zip(socks, handles, ended, strict=True)
    ]
    for thread in threads:
        thread.start()

    def cancel() -> None:
        for handle in handles:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def join() -> None:
        for thread in threads:
            thread.join()

    return _Streaming(cancel, [each.wait for each in ended], join)


def _read_raw(
    sock: socket.socket, handle: socket.socket, ended: threading.Event, url: str, began: threading.Semaphore
) -> None:
    sock.sendall(raw_request(url))
    first = True
    with sock, handle, contextlib.suppress(OSError):
        while data := sock.recv(65536):
            if first and b"text_delta" in data:
                first = False
                began.release()
    ended.set()


def _each(_: Client, chats: list[ChatRef]) -> None:
    for chat in chats:
        chat.cancel()


def _close(client: Client, _: list[ChatRef]) -> None:
    client.close()


_RAW = "raw sockets in threads"
_CANCELS = {"chat.cancel() for each": _each, "client.close()": _close}


def _sockets() -> int:
    """Count the sockets that this process has open."""
    return sum(map(Path.is_socket, Path("/proc/self/fd").iterdir()))
