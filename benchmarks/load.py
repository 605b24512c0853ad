"""How many chats one process carries: latency, CPU and memory under load, and where it bends."""

from __future__ import annotations

import array
import statistics
import threading
import time
import urllib.request
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
from _measure import HAS_SDK, Verdict, Worker, rss, table, title
from _pipelines import ASK, SimpleQueueInbox, our_client
from _server import running_server

from anthropix_actors import ChatDone, ChatEvent

if TYPE_CHECKING:
    from collections.abc import Callable


OURS = "ours, one subscriber"
OURS_SIMPLE = "ours, SimpleQueue inbox"
OURS_NARROW = "ours, window of 16"
SDK = "SDK in threads"

_LATE = 60
"""Seconds after its time at which a run is given up."""

_KEPT_UP = 1.0
"""Seconds after which an event is too late."""


@dataclass(frozen=True)
class Figures:
    """What one run showed.

    Attributes:
        chats: How many there were.
        rate: Events per second that were sent.
        taken: Events per second that were taken, from the first to the last.
        cpu: Seconds of CPU for each event.
        cores: How much of a core that was.
        p50: The median of an event's way, in seconds.
        p99: The longest way but for a hundredth of the events.
        worst: The longest.
        memory: Bytes for each chat, while all were open.
        lost: Chats that did not get every event, in order, and their end.
    """

    chats: int
    rate: float
    taken: float
    cpu: float
    cores: float
    p50: float
    p99: float
    worst: float
    memory: float
    lost: int

    @property
    def kept_up(self) -> bool:
        """Whether nothing was lost, and nothing came late."""
        return not self.lost and self.p99 < _KEPT_UP

    def cells(self) -> list[str]:
        """Get what goes into a table, after the name."""
        times = [f"{seconds * 1000:.1f}" for seconds in (self.p50, self.p99, self.worst)]
        rates = [f"{self.rate:,.0f}", f"{self.taken:,.0f}", f"{self.cpu * 1e6:.0f}", f"{self.cores:.2f}"]
        return [f"{self.chats:,}", *rates, *times, f"{self.memory / 1024:.0f}", str(self.lost)]


HEAD = ["", "chats", "sent/s", "taken/s", "µs/event", "cores", "p50 ms", "p99 ms", "worst ms", "KiB/chat", "lost"]


def run(*, quick: bool) -> list[Verdict]:
    seconds = 10 if quick else 60
    title(f"load: 1,000 chats held for {seconds} s at 5 events/s each")
    held = measured(OURS, chats=1000, seconds=seconds, interval_ms=200)
    table(HEAD, [[OURS, *held.cells()]])
    verdicts = [Verdict("1,000 chats at 5 events/s each: chats that lost an event", "0", str(held.lost), not held.lost)]

    seconds = 5 if quick else 10
    title(f"load: where it bends; {seconds} s at 50 events/s each")
    names = (OURS, OURS_SIMPLE, OURS_NARROW, *([SDK] if HAS_SDK else []))
    most = dict.fromkeys(names, 0)
    rows = []
    for chats in (50, 200) if quick else (50, 100, 200, 300, 500):
        for name in names:
            try:
                figures = measured(name, chats=chats, seconds=seconds, interval_ms=20)
            except (TimeoutError, RuntimeError) as exc:
                rows.append([name, f"{chats:,}", "failed: " + str(exc).strip().splitlines()[-1]])
                continue
            rows.append([name, *figures.cells()])
            if figures.kept_up:
                most[name] = max(most[name], chats)
    width = len(HEAD)
    table(HEAD, [[*row, *[""] * (width - len(row))] for row in rows])
    print(
        "\nkept up (nothing lost, p99 below 1 s): "
        + "; ".join(f"{name}: {count} chats" for name, count in most.items())
    )
    return verdicts


def measured(name: str, *, chats: int, seconds: int, interval_ms: int) -> Figures:
    """Hold so many chats open, in a process of their own, and have each told an event every interval."""
    count = seconds * 1000 // interval_ms
    make: Any = {OURS: _ours, OURS_SIMPLE: _ours_simple, OURS_NARROW: _ours_narrow, SDK: _sdk}[name]
    with running_server() as server, Worker[Figures](make, server, chats, count, interval_ms) as worker:
        return worker(seconds + _LATE)


class _Load:
    """One run: open all, let them go, note when what came."""

    def __init__(self, server: str, chats: int, count: int, interval_ms: int) -> None:
        self._server = server
        self._chats = chats
        self._interval_ms = interval_ms
        self._count = count
        self._next: dict[Any, int] = {}
        self._delays = array.array("q")
        self._wrong = 0
        self._ended = 0
        self._opened = threading.Semaphore(0)
        self._over = threading.Event()
        self._last = 0.0
        self._lock = threading.Lock()

    def begin(self, chat: Any) -> None:
        self._next[chat] = 0
        self._opened.release()

    def text(self, chat: Any, text: str) -> None:
        """Take an event: they must come in order, none missing."""
        number, _, sent = text.partition(":")
        self._delays.append(time.monotonic_ns() - int(sent))
        if int(number) == self._next[chat]:
            self._next[chat] += 1

    def end(self, chat: Any, *, good: bool) -> None:
        with self._lock:
            self._wrong += not (good and self._next.get(chat) == self._count)
            self._ended += 1
            if self._ended == self._chats:
                self._last = time.monotonic()
                self._over.set()

    def run(self, open_all: Callable[[], object]) -> Figures:
        before = rss()
        open_all()
        for _ in range(self._chats):
            if not self._opened.acquire(timeout=_LATE):
                raise TimeoutError("not all chats came up")
        memory = (rss() - before) / self._chats
        cpu, start = time.process_time(), time.monotonic()
        urllib.request.urlopen(f"{self._server}/go").read()
        while not self._over.wait(1):
            pass  # the worker is given up by whoever waits for it
        cpu, seconds = time.process_time() - cpu, self._last - start
        delays = sorted(self._delays)
        return Figures(
            chats=self._chats,
            rate=1000 * self._chats / self._interval_ms,
            taken=len(delays) / seconds,
            cpu=cpu / len(delays),
            cores=cpu / seconds,
            p50=statistics.median(delays) / 1e9,
            p99=delays[len(delays) * 99 // 100] / 1e9,
            worst=delays[-1] / 1e9,
            memory=memory,
            lost=self._wrong,
        )


class _Subscriber(pykka.ThreadingActor):
    """Follows all chats."""

    use_daemon_thread = True

    def __init__(self, load: _Load) -> None:
        super().__init__()
        self._load = load

    def on_receive(self, message: Any) -> None:
        if isinstance(message, ChatEvent):
            event: Any = message.data
            if event["type"] == "content_block_delta":
                self._load.text(message.chat, event["delta"]["text"])
            elif event["type"] == "content_block_start":
                self._load.begin(message.chat)
        else:
            self._load.end(message.chat, good=isinstance(message, ChatDone))


class _SimpleQueueSubscriber(SimpleQueueInbox, _Subscriber):
    pass


def _to(
    subscriber: type[_Subscriber], server: str, chats: int, count: int, interval_ms: int, **options: Any
) -> Callable[[], Figures]:
    our_client(f"{server}/text-10").chat(**ASK)  # for what is imported and made only once
    client = our_client(f"{server}/timed-{count}-{interval_ms}", **options)
    load = _Load(server, chats, count, interval_ms)
    ref = subscriber.start(load)

    def open_all() -> None:
        for _ in range(chats):
            client.chat(**ASK, stream=ref)

    return partial(load.run, open_all)


_ours = partial(_to, _Subscriber)
_ours_simple = partial(_to, _SimpleQueueSubscriber)
_ours_narrow = partial(_to, _Subscriber, window=16)


def _sdk(server: str, chats: int, count: int, interval_ms: int) -> Callable[[], Figures]:
    from _sdk import create, sdk_client  # noqa: PLC0415 - it may not be installed

    create(f"{server}/text-10")(str)
    client = sdk_client(f"{server}/timed-{count}-{interval_ms}")
    load = _Load(server, chats, count, interval_ms)

    def follow(key: int) -> None:
        good = False
        with client.messages.create(**ASK, stream=True) as stream:
            for event in stream:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    load.text(key, event.delta.text)
                elif event.type == "content_block_start":
                    load.begin(key)
                good = event.type == "message_stop"
        load.end(key, good=good)

    def open_all() -> None:
        for key in range(chats):
            threading.Thread(target=follow, args=(key,), daemon=True).start()

    return partial(load.run, open_all)
