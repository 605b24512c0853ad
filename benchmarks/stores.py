"""What stores cost: entries a second of one writer, one entry before a tool runs, and how soon a reader has it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from _measure import Verdict, Worker, interleaved, table, times, title
from _stores import opened, stores_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.stores import Store

_BATCHES = (1, 8, 64, 512)
_COMPARED = 64
_TURNS = 5
_BY_HAND = "sqlite3 by hand"

_EVENT = {
    "kind": "event",
    "event": {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "some twenty letters"},
    },
}
_INTERVAL = 0.02

_SCHEMA = "CREATE TABLE entries (log, number INTEGER, data, PRIMARY KEY (log, number)) WITHOUT ROWID"


def run(*, quick: bool) -> list[Verdict]:
    seconds = 0.5 if quick else 3.0
    with stores_here() as urls:
        cpu = _writers(urls, seconds)
        _intents(urls, 200 if quick else 2000)
        behind = _readers(urls, 100 if quick else 1000)
        _many(urls, 100 if quick else 1000)
    verdicts = [
        Verdict("sqlite: CPU of an entry, 64 at once, by hand", "<= 2 x", f"{cpu:.2f} x", cpu <= 2),
        Verdict(
            "sqlite: from append's return to another process, p50",
            "<= 5 ms",
            f"{behind['sqlite']:.2f} ms",
            behind["sqlite"] <= 5,
        ),
    ]
    if "redis" in urls:
        verdicts.append(Verdict("redis: the same", "<= 1.5 ms", f"{behind['redis']:.2f} ms", behind["redis"] <= 1.5))
    return verdicts


def _writers(urls: dict[str, str], seconds: float) -> float:
    """Return how many times the CPU of `sqlite3` by hand an entry in SQLite takes, 64 at once."""
    size = len(json.dumps(_EVENT))
    title(f"stores: entries a second of one writer, {size} bytes each, and µs of its CPU for each; median of {_TURNS}")
    names = (*urls, _BY_HAND)
    rows: dict[str, list[str]] = {name: [name] for name in names}
    compared = 0.0
    for batch in _BATCHES:
        with contextlib.ExitStack() as stack:
            writers = {name: stack.enter_context(_writer(name, urls)) for name in names}
            turns = {name: partial(_rate, append, batch, seconds / _TURNS) for name, append in writers.items()}
            figures = interleaved(turns, _TURNS)
        cpu = {name: [each for _, each in figures[name]] for name in names}
        for name in names:
            rate = statistics.median(each for each, _ in figures[name])
            rows[name] += [f"{rate:,.0f}", f"{statistics.median(cpu[name]):.1f}"]
        if batch == _COMPARED:
            compared = times(cpu["sqlite"], cpu[_BY_HAND])
    table(["store", *(cell for batch in _BATCHES for cell in (f"{batch} at once", "µs"))], rows.values())
    return compared


@contextlib.contextmanager
def _writer(name: str, urls: dict[str, str]) -> Iterator[Callable[[int], object]]:
    """Get what appends so many entries after those before."""
    if name == _BY_HAND:
        with tempfile.TemporaryDirectory() as folder, contextlib.closing(_by_hand(folder)) as db:
            yield _counting(partial(_insert, db))
    else:
        with contextlib.closing(opened(urls[name])) as store:
            yield _counting(partial(_append, store, "a", store.claim("a")))
            store.delete("a")


def _counting(append: Callable[[int, int], object]) -> Callable[[int], object]:
    written = 0

    def more(count: int) -> None:
        nonlocal written
        append(written, count)
        written += count

    return more


def _append(store: Store, log: str, epoch: int, first: int, count: int) -> None:
    store.append(log, epoch, first, [_EVENT] * count)


def _by_hand(folder: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{folder}/logs.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(_SCHEMA)
    return db


def _insert(db: sqlite3.Connection, first: int, count: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    rows = ((number, json.dumps(_EVENT)) for number in range(first, first + count))
    db.executemany("INSERT INTO entries VALUES ('a', ?, ?)", rows)
    db.execute("COMMIT")


def _rate(append: Callable[[int], object], batch: int, seconds: float) -> tuple[float, float]:
    """Return entries a second, and µs of CPU for each."""
    written = 0
    start, cpu = time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - start) < seconds:
        append(batch)
        written += batch
    return written / took, (time.process_time() - cpu) / written * 1e6


def _intents(urls: dict[str, str], count: int) -> None:
    title(f"stores: one entry that has to be there before a tool runs, {count} times; µs")
    rows = []
    for name in (*urls, _BY_HAND):
        took = []
        with _writer(name, urls) as append:
            for _ in range(count):
                start = time.perf_counter()
                append(1)
                took.append((time.perf_counter() - start) * 1e6)
        parts = statistics.quantiles(took, n=100)
        rows.append([name, f"{parts[49]:.0f}", f"{parts[98]:.0f}", f"{max(took):.0f}"])
    table(["store", "p50", "p99", "worst"], rows)


def _readers(urls: dict[str, str], count: int) -> dict[str, float]:
    """Return by how much the reader is later than `append` returns: the difference of the medians, in ms."""
    title(f"stores: from the call of append to its return, and to the reader, 50 entries a second, {count} of them; ms")
    rows, behind = [], {}
    for name, url in urls.items():
        with contextlib.closing(opened(url)) as store:
            epoch = store.claim("latency")
            if name == "memory":
                returns, delays, cpu = _followed(store, partial(_follow, store), epoch, count)
            else:
                with Worker(_follower, url) as worker:
                    returns, delays, cpu = _followed(store, worker, epoch, count)
            store.delete("latency")
            store.delete("reading")
        parts = statistics.quantiles(delays, n=100)
        behind[name] = parts[49] - statistics.median(returns)
        where = "another thread" if name == "memory" else "another process"
        rows.append(
            [
                name,
                where,
                f"{statistics.median(returns):.2f}",
                f"{parts[49]:.2f}",
                f"{parts[98]:.2f}",
                f"{max(delays):.1f}",
                f"{cpu * 1000:.1f}",
            ]
        )
    table(["store", "reader", "return p50", "reader p50", "p99", "worst", "its CPU, ms a second"], rows)
    return behind


def _followed(
    store: Store, follow: Callable[[], Any], epoch: int, count: int
) -> tuple[list[float], list[float], float]:
    """Write so many entries while somebody follows; return how long it took, the delays, and the follower's CPU."""
    results: list[Any] = []
    returns: list[float] = []
    reader = threading.Thread(target=lambda: results.append(follow()))
    reader.start()
    while not store.names("reading"):
        time.sleep(0.01)
    for number in range(count):
        time.sleep(_INTERVAL)
        at = time.monotonic()
        entry = {**_EVENT, "at": at}
        store.append("latency", epoch, number, [entry], close=number == count - 1)
        returns.append((time.monotonic() - at) * 1000)
    reader.join()
    [(delays, cpu)] = results
    return returns, delays, cpu


def _follower(url: str) -> Callable[[], Any]:
    return partial(_follow, opened(url))


def _follow(store: Store) -> tuple[list[float], float]:
    store.post("reading", {}, key="a")
    delays: list[float] = []
    cursor = None
    start, cpu = time.monotonic(), time.process_time()
    while entries := store.read("latency", cursor, wait=60):
        now = time.monotonic()
        delays += [(now - entry.data["at"]) * 1000 for entry in entries]
        cursor = entries[-1].cursor
    return delays, (time.process_time() - cpu) / (time.monotonic() - start)


def _many(urls: dict[str, str], logs: int) -> None:
    title(
        f"stores: {logs} logs followed at once: ms of a read_many that finds nothing, or one; and 8 threads that write"
    )
    rows = []
    for name, url in urls.items():
        with contextlib.closing(opened(url)) as store:
            cursors = {}
            for number in range(logs):
                log = f"many-{number}"
                _append(store, log, store.claim(log), 0, 1)
                cursors[log] = store.read(log)[0].cursor
            nothing = _timed(partial(store.read_many, cursors))
            _append(store, "many-7", store.claim("many-7"), 1, 1)
            one = _timed(partial(store.read_many, cursors))
            rate = _threads(store, 8, 100)
            for log in cursors:
                store.delete(log)
        rows.append([name, f"{nothing:.2f}", f"{one:.2f}", f"{rate:,.0f}"])
    table(["store", "nothing", "one entry", "entries a second, one at once"], rows)


def _timed(call: Callable[[], object], count: int = 20) -> float:
    took = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)


def _threads(store: Store, threads: int, count: int) -> float:
    def write(log: str) -> None:
        epoch = store.claim(log)
        for number in range(count):
            _append(store, log, epoch, number, 1)

    writers = [threading.Thread(target=write, args=(f"thread-{number}",)) for number in range(threads)]
    start = time.perf_counter()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    took = time.perf_counter() - start
    for number in range(threads):
        store.delete(f"thread-{number}")
    return threads * count / took
