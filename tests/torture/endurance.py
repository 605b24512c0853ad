"""Mixed work for many minutes: memory, threads and descriptors must not grow. `make endurance` runs it, with a graph.

The servers have processes of their own, so what is measured is the client's.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import logging
import multiprocessing
import random
import statistics
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anthropix_actors import AnthropixError, Client
from anthropix_actors.emulator import Emulator

from servers import Server
from torture import schedules
from torture.plans import plan
from torture.subscribers import Notes
from torture.watch import KEY, descriptors, rss

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.connection import Connection

WORKERS = 12
EVERY = 2.0
"""Seconds between two looks."""

WARM_UP = 0.2
"""The part of the time after which nothing may grow any more."""

SLACK = 8 << 20
"""Bytes by which the memory at the end may be more than in the middle: the heap breathes."""


class Look(NamedTuple):
    """What there was at a moment: seconds since the beginning, bytes, threads, descriptors, chats so far."""

    at: float
    rss: int
    threads: int
    descriptors: int
    chats: int


class Work:
    """All that goes on, in threads; counts what was done, and keeps what went wrong."""

    def __init__(self, seed: int, chats_at: str, others_at: str) -> None:
        self._seed = seed
        self._numbers = itertools.count()
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._clients = schedules.Clients(chats_at)
        self._others = others_at
        self._client = Client(KEY, base_url=others_at, proxy="")
        self.report = schedules.Report()
        self.done: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(WORKERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._clients.close()

    def _work(self, worker: int) -> None:
        dice = random.Random(f"{self._seed} {worker}")
        kinds = {self._chat: 90, self._batch: 2, self._file: 3, self._calls: 4, self._fresh: 1}
        while not self._end.is_set():
            (do,) = dice.choices(list(kinds), list(kinds.values()))
            try:
                do()
            except AnthropixError as error:
                with self._lock:
                    self.report.failures.append(f"{do.__name__}: {error!r}")
            with self._lock:
                self.done[do.__name__.strip("_")] += 1

    def _chat(self) -> None:
        number = next(self._numbers)
        chat = schedules.Chat(plan(self._seed, number), self._clients.one(number))
        chat.run()
        with self._lock:
            chat.check(self.report)

    def _batch(self) -> None:
        notes = Notes()
        asked = {"model": "claude-test", "messages": [{"role": "user", "content": "Hello"}]}
        requests: Any = [{"custom_id": f"request-{number}", "params": asked} for number in range(20)]
        work = self._client.batches.run(requests, notes, poll=0.05)
        if work.result(timeout=schedules.HUNG)["succeeded"] != len(requests):
            raise AssertionError(f"a batch lost results: {notes.messages}")
        self._client.batches.delete(work.ids[0])

    def _file(self) -> None:
        file = self._client.files.upload(b"0123456789" * 10_000, filename="digits.txt")
        self._client.files.retrieve(file["id"])
        self._client.files.delete(file["id"])

    def _calls(self) -> None:
        list(self._client.models.list())
        self._client.count_tokens(model="claude-sonnet-5", messages=[{"role": "user", "content": "Hello"}])

    def _fresh(self) -> None:
        """Have a client of its own for one chat, and leave it in the middle."""
        with Client(KEY, base_url=self._others, proxy="") as client:
            for _ in client.chat(model="m", messages=[{"role": "user", "content": "Hello"}], stream=True):
                break


def _stage(pipe: Connection, seed: int) -> None:
    stage = schedules.Stage(seed)
    with Server(stage.script) as server:
        pipe.send(server.url)
        pipe.recv()


def _emulator(pipe: Connection, _: int) -> None:
    with Emulator() as emulator:
        pipe.send(emulator.url)
        pipe.recv()


@contextlib.contextmanager
def _elsewhere(serve: Callable[[Connection, int], None], seed: int) -> Generator[str]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, seed), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def endure(seed: int, minutes: float, say: Callable[[str], object] = print) -> tuple[list[Look], Work]:
    """Work for so long, and look at what it takes."""
    logging.getLogger("pykka").setLevel(logging.CRITICAL)  # actors that fail are part of it
    looks: list[Look] = []
    with _elsewhere(_stage, seed) as chats_at, _elsewhere(_emulator, seed) as others_at:
        work = Work(seed, chats_at, others_at)
        start = time.monotonic()
        work.start()
        pause = threading.Event()
        while (at := time.monotonic() - start) < minutes * 60:
            looks.append(Look(at, rss(), threading.active_count(), descriptors(), work.report.chats))
            if len(looks) % 30 == 0:
                last = looks[-1]
                say(f"  {at / 60:.0f} min: {last.rss / 2**20:.1f} MiB, {last.threads} threads, {last.chats:,} chats")
            pause.wait(EVERY)
        work.stop()
    gc.collect()
    return looks, work


def grown(looks: list[Look]) -> list[str]:
    """Find what is more in the last fifth of the time than in the fifth after the warm-up."""
    end = looks[-1].at
    early = [look for look in looks if WARM_UP * end < look.at <= 2 * WARM_UP * end]
    late = [look for look in looks if look.at > (1 - WARM_UP) * end]
    found = []
    for name, slack in (("rss", SLACK), ("threads", 10), ("descriptors", 20)):
        before, after = (statistics.median(getattr(look, name) for look in part) for part in (early, late))
        if after > before + slack:
            found.append(f"{name} grew from {before:,.0f} to {after:,.0f}")
    return found


def draw(looks: list[Look], path: Path) -> None:
    """Draw the three curves, and how many chats there were."""
    import matplotlib as mpl  # noqa: PLC0415  # pyright: ignore[reportMissingImports] - an extra; nothing else needs it
    from matplotlib.figure import Figure  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    mpl.rcParams["svg.hashsalt"] = "endurance"  # the same numbers make the same file
    figure: Any = Figure(figsize=(9, 7), layout="constrained")
    curves = (
        ("memory, MiB", [look.rss / 2**20 for look in looks]),
        ("threads", [look.threads for look in looks]),
        ("descriptors", [look.descriptors for look in looks]),
        ("chats so far", [look.chats for look in looks]),
    )
    axes: Any = figure.subplots(len(curves), sharex=True)
    for axis, (label, values) in zip(axes, curves, strict=True):
        axis.plot([look.at / 60 for look in looks], values, linewidth=1)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--graph", type=Path, help="an SVG file to draw")
    options = parser.parse_args()
    looks, work = endure(options.seed, options.minutes)
    failures = work.report.failures + grown(looks)
    first, last = looks[len(looks) // 5], looks[-1]
    print(f"seed {options.seed}, {options.minutes:.0f} minutes: {dict(work.done)}; ended as: {dict(work.report.ended)}")
    for name in ("rss", "threads", "descriptors"):
        print(f"{name}: {getattr(first, name):,} after the warm-up, {getattr(last, name):,} at the end")
    print(f"checks: {work.report.checks:,}; failures: {len(failures)}", *failures[:20], sep="\n")
    if options.graph:
        draw(looks, options.graph)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
