"""Many chats that stream, cancelled at once: how long until the last has stopped, and its connection is closed."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka
from _measure import WAYS, Verdict, Worker, interleaved, median_and_range, table, title
from _pipelines import ASK, our_client
from _server import let_go, running_server

from anthropix_actors import ChatEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import ChatRef, Client

_CHATS = 200
_INTERVAL_MS = 50
_LONG = 60 * 1000 // _INTERVAL_MS
"""Events of an answer that does not end before it is cancelled."""

_LIMIT = 60


class _Took(NamedTuple):
    """Seconds from the first cancel."""

    stopped: float
    closed: float


def run(*, quick: bool) -> list[Verdict]:
    repetitions = 3 if quick else 11
    per_second = _CHATS * 1000 // _INTERVAL_MS
    title(f"cancel_many: {_CHATS} chats that stream, {per_second:,} events/s in all; {repetitions} times each")
    rows, verdicts = [], []
    for way, encrypted in WAYS.items():
        with running_server(encrypted=encrypted) as server:
            for name in _CANCELS:
                with Worker(_cancelling, server, name) as worker:
                    took = interleaved({name: worker}, repetitions)[name]
                stopped, closed = [each.stopped * 1000 for each in took], [each.closed * 1000 for each in took]
                rows.append([name, way, *median_and_range(stopped), *median_and_range(closed)])
                worst = max(closed)
                what = f"{_CHATS} chats cancelled at once, {way}, by {name}: the last, the worst"
                verdicts.append(Verdict(what, "<= 50 ms", f"{worst:.1f} ms", worst <= 50))
    table(["", "", "last stopped, ms", "from-to", "last closed, ms", "from-to"], rows)
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


def _cancelling(server: str, name: str) -> Callable[[], _Took]:
    cancel = _CANCELS[name]

    def measured() -> _Took:
        let_go(server)
        idle = _sockets()
        client = our_client(f"{server}/held-{_LONG}-{_INTERVAL_MS}")
        began = threading.Semaphore(0)
        subscriber = _Subscriber.start(began)
        chats = [client.chat(**ASK, stream=subscriber) for _ in range(_CHATS)]
        for _ in chats:
            if not began.acquire(timeout=_LIMIT):
                raise TimeoutError("not all chats stream")
        start = time.perf_counter()
        cancel(client, chats)
        for chat in chats:
            if not chat.actor_stopped.wait(_LIMIT):
                raise TimeoutError("a chat did not stop")
        stopped = time.perf_counter() - start
        while _sockets() > idle:
            time.sleep(0.0005)
        closed = time.perf_counter() - start
        client.close()
        subscriber.stop()
        return _Took(stopped, closed)

    return measured


def _each(_: Client, chats: list[ChatRef]) -> None:
    for chat in chats:
        chat.cancel()


def _close(client: Client, _: list[ChatRef]) -> None:
    client.close()


_CANCELS = {"chat.cancel() for each": _each, "client.close()": _close}


def _sockets() -> int:
    """Count the sockets that this process has open."""
    return sum(map(Path.is_socket, Path("/proc/self/fd").iterdir()))
