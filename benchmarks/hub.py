"""What it costs to write chats into a store and to follow them of it: in another process, where the store is shared."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from _measure import Verdict, Worker, rss, table, title
from _server import running_server
from _stores import MEMORY, NORMAL, shared, stores_here

from anthropix_actors import ChatDone, ChatEvent, Client, Hub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.hub import LogWriter

_NOBODY: Any = None
_ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
_END = ChatDone(_NOBODY, {"id": "msg_1", "content": []})  # type: ignore[typeddict-item] # nobody looks at it
_numbers = itertools.count()


def run(*, quick: bool) -> list[Verdict]:
    rows, verdicts = [], []
    many, seconds = (100, 2.0) if quick else (1000, 10.0)
    title(f"hub: one chat of 50 events/s; flat out; {many:,} chats of 1 event/s by one follower; cancel")
    with stores_here() as urls:
        for name, url in urls.items():
            if name == NORMAL:
                continue
            one, _, _ = _followed(url, chats=1, pace=0.02, seconds=seconds)
            rate = _flat_out(url, 2000 if quick else 20_000)
            all_of_them, cpu, kib = _followed(url, chats=many, pace=1.0, seconds=seconds)
            back = _cancelled(url, 5 if quick else 50)
            rows.append([name, *_ms(one), f"{rate:,.0f}", *_ms(all_of_them), f"{cpu:.0f}", f"{kib:.0f}", *_ms(back)])
            p50 = statistics.median(back)
            verdicts.append(Verdict(f"hub, {name}: cancel, back at the reader", "< 5 ms", f"{p50:.1f} ms", p50 < 5))
    head = ["store", "p50 ms", "p99", "events/s", "many p50", "p99", "us CPU", "KiB", "cancel p50", "p99"]
    table(head, rows)
    return verdicts


def _ms(delays: list[float]) -> tuple[str, str]:
    parts = statistics.quantiles(delays, n=100)
    return f"{parts[49]:.2f}", f"{parts[98]:.2f}"


def _name() -> str:
    return f"bench-{time.monotonic_ns()}-{next(_numbers)}"


def _followed(url: str, *, chats: int, pace: float, seconds: float) -> tuple[list[float], float, float]:
    """Return the delays in ms of events up to the reader, its CPU per event in us, and the KiB of a chat."""
    prefix = _name()
    with Hub(shared(url)) as hub, contextlib.ExitStack() as stack:
        before = rss()
        writers = [hub.to(f"{prefix}-{number}") for number in range(chats)]
        read: Callable[[], Any] = _reader(url, prefix, chats)
        if url != MEMORY:
            read = stack.enter_context(Worker(_reader, url, prefix, chats))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        reading = pool.submit(read)
        hub.store.post(f"{prefix}/ready", {}, key="here")
        while len(hub.store.read(f"{prefix}/ready")) < 2:  # ours, and the reader's
            time.sleep(0.01)
        _write(writers, pace, seconds)
        kib = (rss() - before) / 1024 / chats
        for writer in writers:
            writer.tell(_END)
        delays, cpu, theirs = reading.result()
    return delays, cpu, kib + theirs


def _write(writers: list[LogWriter], pace: float, seconds: float) -> None:
    """Tell each an event in each interval, evenly spread."""
    step = pace / len(writers)
    due = time.monotonic()
    for writer in itertools.islice(itertools.cycle(writers), int(seconds / step)):
        due += step
        time.sleep(max(0.0, due - time.monotonic()))
        writer.tell(_event())


def _event() -> ChatEvent:
    delta = {"type": "text_delta", "text": str(time.monotonic_ns())}
    event: Any = {"type": "content_block_delta", "index": 0, "delta": delta}
    return ChatEvent(_NOBODY, event)


class _Reads:
    """A subscriber that notes how late each event is."""

    def __init__(self, delays: list[float], ended: threading.Semaphore) -> None:
        self.delays = delays
        self.ended = ended

    def tell(self, message: Any, /) -> None:
        if isinstance(message, ChatEvent):
            event: Any = message.data
            self.delays.append((time.monotonic_ns() - int(event["delta"]["text"])) / 1e6)
        else:
            self.ended.release()


def _reader(url: str, prefix: str, chats: int) -> Callable[[], tuple[list[float], float, float]]:
    def run() -> tuple[list[float], float, float]:
        delays: list[float] = []
        ended = threading.Semaphore(0)
        with Hub(shared(url)) as hub:
            before = rss()
            for number in range(chats):
                hub.follow(f"{prefix}-{number}", to=_Reads(delays, ended))
            kib, cpu = (rss() - before) / 1024 / chats, time.process_time()
            hub.store.post(f"{prefix}/ready", {}, key="reader")
            for _ in range(chats):
                ended.acquire()
            used = time.process_time() - cpu
        return delays, used * 1e6 / len(delays), 0.0 if url == MEMORY else kib

    return run


def _flat_out(url: str, count: int) -> float:
    """Return how many events a second one chat writes at most."""
    with Hub(shared(url)) as hub:
        writer = hub.to(_name())
        event, start = _event(), time.monotonic()
        for _ in range(count):
            while not writer.window.room(256):
                time.sleep(0.0001)
            writer.tell(event)
        writer.tell(_END)
        writer.wait()
        return count / (time.monotonic() - start)


def _cancelled(url: str, count: int) -> list[float]:
    """Return the ms from a cancel by another hub to the end at a reader."""
    delays = []
    with running_server() as server, Hub(shared(url)) as here, Hub(shared(url)) as there:
        client = Client("k", base_url=f"{server}/paced-100000", proxy="")
        for _ in range(count):
            name = _name()
            client.chat(**_ASK, stream=here.to(name))
            messages: Iterator[Any] = iter(there.follow(name))
            next(messages)
            time.sleep(0.02)
            start = time.monotonic()
            there.cancel(name)
            for _ in messages:
                pass
            delays.append((time.monotonic() - start) * 1000)
        client.close()
    return delays
