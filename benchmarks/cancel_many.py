"""Many chats that stream, cancelled at once: how long until the last has stopped, and its connection is closed."""

from __future__ import annotations

import contextlib
import itertools
import statistics
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
            workers = {name: Worker(_cancelling, server, name, rate) for name in _CANCELS}
            with contextlib.ExitStack() as stack:
                figures = interleaved({name: stack.enter_context(each) for name, each in workers.items()}, repetitions)
        for name, took in figures.items():
            stopped, closed = [each.stopped * 1000 for each in took], [each.closed * 1000 for each in took]
            rows.append([name, way, str(_CHATS * rate), *median_and_range(stopped), *median_and_range(closed)])
            middle = statistics.median(closed)
            what = f"{_CHATS} chats cancelled at once, {way}, {rate} events/s each, by {name}: the last"
            verdicts.append(Verdict(what, "<= 50 ms", f"{middle:.1f} ms", middle <= 50))
    table(["", "", "events/s", "last stopped, ms", "from-to", "last closed, ms", "from-to"], rows)
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


def _cancelling(server: str, name: str, rate: int) -> Callable[[], _Took]:
    cancel = _CANCELS[name]

    def measured() -> _Took:
        let_go(server)
        idle = _sockets()
        client = our_client(f"{server}/held-{_LONG * rate}-{1000 // rate}")
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
