"""Memory while a subscriber is slower than the API: flat, as the chat stops reading and the server waits."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka
from _measure import MIB, Verdict, Worker, rss, table, title
from _pipelines import ASK, our_client
from _server import running_server

from anthropix_actors import ChatEvent

if TYPE_CHECKING:
    from collections.abc import Callable

_FLAT = 5 * MIB
_SAMPLE = 1000
_UNCONTROLLED_THOUSANDS = 100  # more would need gigabytes
_VERY_SLOW_SECONDS = 4.0


class _Figures(NamedTuple):
    seconds: float
    handled: int
    growth: int  # bytes, at the most
    mailbox: int  # messages, at the most


class _Pace(NamedTuple):
    """Rest for `rest` seconds after every `every` events."""

    every: int
    rest: float


_FAST = _Pace(1 << 30, 0)
_SLOWER = _Pace(500, 0.025)
_VERY_SLOW = _Pace(1, 0.001)


def run(*, quick: bool) -> list[Verdict]:
    thousands = 100 if quick else 1000
    title(f"slow: memory and mailbox while {thousands * 1000:,} events go to a slow actor")
    rows, verdicts = [], []
    for name, pace, make, count in (
        ("fast", _FAST, _following, thousands),
        ("slower than the server", _SLOWER, _following, thousands),
        (f"1 ms each, cancelled after {_VERY_SLOW_SECONDS:.0f} s", _VERY_SLOW, _following, thousands),
        ("(slower, and no flow control)", _SLOWER, _uncontrolled, _UNCONTROLLED_THOUSANDS),
    ):
        with running_server() as server, Worker(make, f"{server}/flood-{count}", pace) as worker:
            result = worker()
        growth = f"{result.growth / MIB:+.1f}"
        rows.append([name, f"{result.handled:,}", f"{result.seconds:.1f}", growth, f"{result.mailbox:,}"])
        if make is _following:
            flat = result.growth <= _FLAT
            verdicts.append(Verdict(f"subscriber {name}: memory", "flat, + 5 MiB", f"{growth} MiB", flat))
    table(["subscriber", "events handled", "s", "RSS growth MiB", "mailbox max"], rows)
    return verdicts


class _Watch:
    """Handles events at a pace, and looks at the memory and the mailbox meanwhile."""

    def __init__(self, pace: _Pace) -> None:
        self._pace = pace
        self._rss = 0
        self.handled = self.growth = self.mailbox = 0

    def event(self, waiting: int) -> None:
        self.handled += 1
        self.mailbox = max(self.mailbox, waiting)
        if self.handled % self._pace.every == 0:
            time.sleep(self._pace.rest)
        if self.handled == _SAMPLE:  # all code has run, all buffers are there
            self._rss = rss()
        elif self.handled % _SAMPLE == 0:
            self.growth = max(self.growth, rss() - self._rss)


class _Subscriber(pykka.ThreadingActor):
    """Counts events at a pace."""

    use_daemon_thread = True

    def __init__(self, watch: _Watch, over: threading.Event) -> None:
        super().__init__()
        self._watch = watch
        self._over = over

    def on_receive(self, message: Any) -> None:
        if isinstance(message, ChatEvent):
            self._watch.event(self.actor_inbox.qsize())  # type: ignore[attr-defined] # it is a queue
        else:
            self._over.set()


def _following(url: str, pace: _Pace) -> Callable[[], _Figures]:
    def measured() -> _Figures:
        start = time.monotonic()
        watch, over = _Watch(pace), threading.Event()
        chat = our_client(url).chat(**ASK, stream=_Subscriber.start(watch, over))
        over.wait(_VERY_SLOW_SECONDS if pace == _VERY_SLOW else None)
        chat.cancel("seen enough")
        return _Figures(time.monotonic() - start, watch.handled, watch.growth, watch.mailbox)

    return measured


class _Endless:
    """A subscriber that takes whatever it is told, at once: so nothing slows its chat down."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def tell(self, message: Any, /) -> None:
        self.queue.put(message)


def _uncontrolled(url: str, pace: _Pace) -> Callable[[], _Figures]:
    def measured() -> _Figures:
        start = time.monotonic()
        watch, inbox = _Watch(pace), _Endless()
        our_client(url).chat(**ASK, stream=inbox)
        while isinstance(inbox.queue.get(), ChatEvent):
            watch.event(inbox.queue.qsize())
        return _Figures(time.monotonic() - start, watch.handled, watch.growth, watch.mailbox)

    return measured
