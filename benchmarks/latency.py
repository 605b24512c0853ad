"""How long an event takes from the server's `send` to the reader, at 200 events a second."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING

from _measure import WAYS, Verdict, Worker, interleaved, median_and_range, table, title
from _pipelines import ACTOR, BLOCKING, ITERATOR, NAMES, RAW, SDK_CREATE, SDK_STREAM, pipeline
from _server import PACE, running_server

if TYPE_CHECKING:
    from collections.abc import Callable


def run(*, quick: bool) -> list[Verdict]:
    rounds, count = (1, 100) if quick else (3, 400)
    names = [name for name in NAMES if name != BLOCKING]
    verdicts = []
    for way, encrypted in WAYS.items():
        title(f"latency: µs to the reader, {way}, {1 / PACE:.0f} events/s, {count} events; median of {rounds} rounds")
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(running_server(encrypted=encrypted))
            workers = {name: stack.enter_context(Worker(_reader, name, f"{server}/paced-{count}")) for name in names}
            figures = interleaved(workers, rounds)
        p50 = {name: [half for half, _ in pairs] for name, pairs in figures.items()}
        p99 = {name: [most for _, most in pairs] for name, pairs in figures.items()}
        rows = []
        for name in names:
            over_raw = statistics.median(p50[name]) - statistics.median(p50[RAW])
            rows.append([name, *median_and_range(p50[name], 0), f"{over_raw:+.0f}", *median_and_range(p99[name], 0)])
        table(["pipeline", "p50", "from-to", "over raw", "p99", "from-to"], rows)
        verdicts += _verdicts({name: statistics.median(values) for name, values in p99.items()}, way)
    return verdicts


def _verdicts(p99: dict[str, float], way: str) -> list[Verdict]:
    verdicts = []
    for sdk in (SDK_CREATE, SDK_STREAM):
        for name in (ITERATOR, ACTOR) if sdk in p99 else ():
            measured = f"{p99[name]:.0f} : {p99[sdk]:.0f} µs"
            what = f"latency p99, {way}, {name}, against {sdk}"
            verdicts.append(Verdict(what, "not above", measured, p99[name] <= p99[sdk]))
    return verdicts


def _reader(name: str, url: str) -> Callable[[], tuple[float, float]]:
    read = pipeline(name, url)

    def measured() -> tuple[float, float]:
        delays: list[int] = []
        read(lambda text: delays.append(time.monotonic_ns() - int(text)))
        parts = statistics.quantiles(delays, n=100)
        return parts[49] / 1000, parts[98] / 1000

    return measured
