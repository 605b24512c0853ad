"""How many chats one process carries: latency, CPU and memory under load, and where it bends."""

from __future__ import annotations

import array
import math
import statistics
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
from _measure import HAS_SDK, Verdict, Worker, rss, table, times, title
from _pipelines import ASK, SimpleQueueInbox, connected, our_client, raw, raw_events
from _server import cpu_of_server, let_go, running_server

from anthropix_actors import ChatDone, ChatEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


OURS = "ours, one subscriber"
OURS_SIMPLE = "ours, SimpleQueue inbox"
OURS_NARROW = "ours, window of 16"
RAW = "raw sockets in threads"
SDK = "SDK in threads"

_LATE = 60
"""Seconds after its time at which a run is given up."""

_PROMISED = 200
"""How many chats at 50 events/s each one process is promised to carry over TLS."""

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
        server: How much of a core the server needed: with all of one, it is what limits.
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
    server: float
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
        rates = [f"{self.rate:,.0f}", f"{self.taken:,.0f}", f"{self.cpu * 1e6:.0f}"]
        cores = [f"{self.cores:.2f}", f"{self.server:.2f}"]
        delays = [f"{seconds * 1000:.1f}" for seconds in (self.p50, self.p99, self.worst)]
        return [f"{self.chats:,}", *rates, *cores, *delays, f"{self.memory / 1024:.0f}", str(self.lost)]


HEAD = ["", "chats", "sent/s", "taken/s", "µs/event", "cores", "server's", "p50 ms", "p99 ms", "worst ms", "KiB/chat"]
HEAD += ["lost"]


def run(*, quick: bool) -> list[Verdict]:
    seconds = 5 if quick else 60
    title(f"load: 1,000 chats held for {seconds} s at 5 events/s each, plain")
    held = measured(OURS, chats=1000, seconds=seconds, interval_ms=200)
    table(HEAD, [[OURS, *held.cells()]])
    verdicts = [Verdict("1,000 chats at 5 events/s each: chats that lost an event", "0", str(held.lost), not held.lost)]

    seconds = 3 if quick else 10
    title(f"load: where it bends, plain; {seconds} s at 50 events/s each")
    names = (OURS, OURS_SIMPLE, OURS_NARROW, *([SDK] if HAS_SDK else []))
    _bend(names, dict.fromkeys((200,) if quick else (50, 100, 200, 300, 500), 1), seconds, encrypted=False)

    turns = {_PROMISED: 1} if quick else {_PROMISED: 3, 300: 1}
    title(f"load: where it bends, over TLS; {seconds} s at 50 events/s each; the median of {turns[_PROMISED]} turns")
    found = _bend((RAW, *names), turns, seconds, encrypted=True)
    for name in (OURS, OURS_SIMPLE) if HAS_SDK else ():
        parts = times(*([_p99(each) for each in found[which, _PROMISED]] for which in (SDK, name)))
        what = f"{_PROMISED} chats at 50 events/s each, over TLS: p99, {name}, against {SDK}"
        verdicts.append(Verdict(what, "<= 1/10", f"1/{parts:.1f}", parts >= 10))
    return verdicts


def _bend(
    names: Sequence[str], turns: dict[int, int], seconds: int, *, encrypted: bool
) -> dict[tuple[str, int], list[Figures | None]]:
    """Measure more and more chats, each number so many turns; tell of the run that is the median by its p99."""
    found: dict[tuple[str, int], list[Figures | None]] = {}
    most = dict.fromkeys(names, 0)
    rows = []
    for chats, rounds in turns.items():
        for name in [*names] * rounds:
            found.setdefault((name, chats), []).append(_tried(name, chats, seconds, encrypted=encrypted))
        for name in names:
            typical = sorted(found[name, chats], key=_p99)[rounds // 2]
            if typical is not None and typical.kept_up:
                most[name] = chats
            cells = ["failed", *[""] * (len(HEAD) - 3)] if typical is None else typical.cells()[1:]
            rows.append([name, f"{chats:,}", *cells])
    table(HEAD, rows)
    kept_up = "; ".join(f"{name}: {count} chats" for name, count in most.items())
    print(f"\nkept up (nothing lost, p99 below 1 s): {kept_up}")
    return found


def _tried(name: str, chats: int, seconds: int, *, encrypted: bool) -> Figures | None:
    try:
        return measured(name, chats=chats, seconds=seconds, interval_ms=20, encrypted=encrypted)
    except (TimeoutError, RuntimeError) as exc:
        print(f"{name}, {chats:,} chats: {str(exc).strip().splitlines()[-1]}")
        return None


def _p99(figures: Figures | None) -> float:
    return math.inf if figures is None else figures.p99


def measured(name: str, *, chats: int, seconds: int, interval_ms: int, encrypted: bool = False) -> Figures:
    """Hold so many chats open, in a process of their own, and have each told an event every interval."""
    count = seconds * 1000 // interval_ms
    make: Any = {RAW: _raw, OURS: _ours, OURS_SIMPLE: _ours_simple, OURS_NARROW: _ours_narrow, SDK: _sdk}[name]
    with (
        running_server(encrypted=encrypted) as server,
        Worker[Figures](make, server, chats, count, interval_ms) as worker,
    ):
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
        server, cpu, start = cpu_of_server(self._server), time.process_time(), time.monotonic()
        let_go(self._server)
        while not self._over.wait(1):
            pass  # the worker is given up by whoever waits for it
        cpu, seconds = time.process_time() - cpu, self._last - start
        server = cpu_of_server(self._server) - server
        delays = sorted(self._delays)
        return Figures(
            chats=self._chats,
            rate=1000 * self._chats / self._interval_ms,
            taken=len(delays) / seconds,
            cpu=cpu / len(delays),
            cores=cpu / seconds,
            server=server / seconds,
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


def _in_threads(load: _Load, chats: int, follow: Callable[[int], None]) -> Callable[[], Figures]:
    def open_all() -> None:
        for key in range(chats):
            threading.Thread(target=follow, args=(key,), daemon=True).start()

    return partial(load.run, open_all)


def _raw(server: str, chats: int, count: int, interval_ms: int) -> Callable[[], Figures]:
    raw(f"{server}/text-10")(str)
    url = f"{server}/timed-{count}-{interval_ms}"
    load = _Load(server, chats, count, interval_ms)

    def follow(key: int) -> None:
        kind = ""
        with connected(url) as sock:
            for event in raw_events(sock, url):
                kind = event["type"]
                if kind == "content_block_delta":
                    load.text(key, event["delta"]["text"])
                elif kind == "content_block_start":
                    load.begin(key)
        load.end(key, good=kind == "message_stop")

    return _in_threads(load, chats, follow)


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

    return _in_threads(load, chats, follow)
