"""A store in Redis: what appending costs, and how long an entry takes to a reader in another process."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from _measure import Verdict, Worker, table, title
from _stores import redis_is_here, redis_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores.redis import RedisStore

_EVENT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello there"}}


def run(*, quick: bool) -> list[Verdict]:
    if not redis_is_here():
        title("redis: left out, as there is no redis-server, or no redis-py")
        return []
    with redis_server() as url, closing(_store(url)) as store:
        return [*_appending(store, quick=quick), *_latency(store, url, quick=quick)]


def _store(url: str) -> RedisStore:
    from anthropix_actors.stores.redis import RedisStore  # noqa: PLC0415

    return RedisStore.from_url(url)


def _asked(store: RedisStore, section: str) -> dict[str, Any]:
    found: dict[str, Any] = store._connections.ask(lambda client: client.info(section))  # noqa: SLF001
    return found


def _cpu(store: RedisStore) -> float:
    found = _asked(store, "cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def _appending(store: RedisStore, *, quick: bool) -> list[Verdict]:
    seconds, rounds = (0.5, 2) if quick else (1.0, 5)
    title(f"redis: one writer appends events of 95 bytes for {seconds} s; the best of {rounds}")
    best = {batch: max(_appended(store, batch, seconds) for _ in range(rounds)) for batch in (1, 8, 64, 512)}
    head = ["entries of a call", "events/s", "µs of the client/event", "µs of Redis/event"]
    table(
        head, [[batch, f"{rate:,.0f}", f"{ours:.1f}", f"{theirs:.1f}"] for batch, (rate, ours, theirs) in best.items()]
    )
    rate = best[64][0]
    return [Verdict("a store in Redis: events/s of one writer, 64 a call", ">= 26,000", f"{rate:,.0f}", rate >= 26_000)]


def _appended(store: RedisStore, batch: int, seconds: float) -> tuple[float, float, float]:
    """Return events per second, and microseconds of client and server for each."""
    store.delete("a")
    epoch, count = store.claim("a"), 0
    theirs, ours, began = _cpu(store), time.process_time(), time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        store.append("a", epoch, count, [_EVENT] * batch)
        count += batch
    return count / took, (time.process_time() - ours) / count * 1e6, (_cpu(store) - theirs) / count * 1e6


def _latency(store: RedisStore, url: str, *, quick: bool) -> list[Verdict]:
    seconds = 2 if quick else 10
    title(f"redis: from append to a reader in another process, which follows all logs, for {seconds} s")
    rows, found = [], {}
    for logs, rate in ((1, 50), (1, 1000), (1000, 50), (1000, 1000)):
        delays, cpu = _followed(store, url, logs, rate, seconds)
        parts = found[logs, rate] = statistics.quantiles(delays, n=100)
        rows.append([f"{logs:,}", f"{rate:,}", f"{parts[49]:.2f}", f"{parts[98]:.2f}", f"{cpu:,.0f}"])
    table(["logs", "events/s", "p50 ms", "p99 ms", "µs of the reader/event"], rows)
    p50 = found[1, 50][49]
    return [Verdict("a store in Redis: append to reader, p50", "<= 1.5 ms", f"{p50:.2f} ms", p50 <= 1.5)]


def _followed(store: RedisStore, url: str, logs: int, rate: int, seconds: int) -> tuple[list[float], float]:
    """Append to logs in turn; return the delays in ms, and the CPU of the reader in µs for each."""
    names = [f"{logs}-{rate}-{number}" for number in range(logs)]
    epochs, counts = [store.claim(name) for name in names], [0] * logs
    found: list[Any] = []
    with Worker(_reader, url, names, rate * seconds) as worker:
        reader = threading.Thread(target=lambda: found.append(worker()))
        reader.start()
        while not _asked(store, "clients")["blocked_clients"]:
            time.sleep(0.01)
        due = time.perf_counter()
        for number in range(rate * seconds):
            due += 1 / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            at = number * 37 % logs  # not in the order in which they are asked for
            store.append(names[at], epochs[at], counts[at], [{**_EVENT, "sent": time.monotonic_ns()}])
            counts[at] += 1
        reader.join()
    delays, cpu = found[0]
    return delays, cpu


def _reader(url: str, names: list[str], count: int) -> Callable[[], tuple[list[float], float]]:
    """Follow logs until so many entries have come."""

    def follow() -> tuple[list[float], float]:
        delays: list[float] = []
        cursors: dict[str, str | None] = dict.fromkeys(names)
        with closing(_store(url)) as store:
            before = time.process_time()
            while len(delays) < count:
                for name, entries in store.read_many(cursors, wait=30).items():
                    now = time.monotonic_ns()
                    if not isinstance(entries, list):
                        raise entries
                    delays += [(now - entry.data["sent"]) / 1e6 for entry in entries]
                    cursors[name] = entries[-1].cursor
        return delays, (time.process_time() - before) / count * 1e6

    return follow
