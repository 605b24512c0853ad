"""Kill what can be killed in the middle of answers: readers, workers, the broker, connections. Then count the words.

Jobs are given to a store, real workers answer them, real readers follow the answers; each word of an answer is there
once in the world. Whatever is killed or frozen meanwhile, each reader has each answer word for word, or is told that it
is lost, and then has a beginning of it; and no answer is paid for twice, unless it was to be, or nobody had been told.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anthropix_actors import AnthropixError, Hub
from anthropix_actors.emulator import Emulator, Pace
from anthropix_actors.stores import open_store

from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from anthropix_actors.emulator import Answer, Request

LEASE = 1.0
"""Seconds after which a worker that was killed counts as dead."""

PATIENCE = 12 * DEADLINE
"""Seconds for all of it."""

READER = """
import json, os, sys, threading
from anthropix_actors import AnthropixError, ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatResumed, Hub, text_of
from anthropix_actors.stores import open_store

def said(message):
    match message:
        case ChatEvent(data={"type": "message_start"}) | ChatResumed(kept=0):
            return "begin", None
        case ChatEvent(data={"type": "content_block_delta", "delta": {"text": text}}):
            return "text", text
        case ChatDone(message=whole):
            return "done", text_of(whole)
        case ChatFailed(error=error):
            return type(error).__name__, None if error.partial is None else text_of(error.partial)
        case ChatCancelled(reason=reason):
            return "cancelled", reason
    return "other", None

def told(name, *what):
    os.write(1, (json.dumps([name, *what]) + "\\n").encode())  # in one piece, or not at all

def read(name, after):
    try:
        follow = hub.follow(name, after=after)
        for message in follow:
            told(name, follow.cursor, *said(message))
    except AnthropixError as error:
        told(name, None, type(error).__name__, "not there")

hub = Hub(open_store(sys.argv[1]), lease=float(sys.argv[3]))
threads = [threading.Thread(target=read, args=each) for each in json.loads(sys.argv[2]).items()]
for each in threads: each.start()
for each in threads: each.join()
"""

ENDS = {"done", "cancelled", "Lost"}


@dataclass
class Heard:
    """What a reader has heard of one answer, over all its lives."""

    cursor: str | None = None
    text: str = ""
    ends: list[tuple[str, Any]] = field(default_factory=list)

    def take(self, cursor: str | None, kind: str, value: Any) -> None:
        self.cursor = cursor
        if kind == "begin":
            self.text = ""
        elif kind == "text":
            self.text += value
        elif kind != "other":
            self.ends.append((kind, value))


@dataclass
class Report:
    """What came of it."""

    jobs: int = 0
    words: int = 0
    checks: int = 0
    kills: collections.Counter[str] = field(default_factory=collections.Counter)
    ended: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)

    def __iadd__(self, other: Report) -> Self:
        self.jobs += other.jobs
        self.words += other.words
        self.checks += other.checks
        self.kills += other.kills
        self.ended += other.ended
        self.failures += other.failures
        return self

    def check(self, holds: object, text: str) -> None:
        self.checks += 1
        if not holds:
            self.failures.append(text)


class Model:
    """Answers each job with words of its own, at a model's pace, and counts how often it was asked."""

    def __init__(self, words: int, seconds: float) -> None:
        self.words = words
        self.pace = words / seconds
        self.asked: collections.Counter[str] = collections.Counter()

    def __call__(self, request: Request) -> Answer:
        job = request.body["messages"][0]["content"]
        self.asked[job] += 1
        return Pace(self.text(job), tokens_per_second=self.pace)

    def text(self, job: str) -> str:
        return " ".join(f"{job}w{number}" for number in range(self.words))


class Reader:
    """A process that follows answers, and is started again where it was."""

    def __init__(self, url: str, names: Sequence[str]) -> None:
        self.url = url
        self.heard = {name: Heard() for name in names}
        self._begin()

    def kill(self) -> None:
        """Kill it, and start another that goes on where this one was."""
        self.end()
        self._begin()

    def end(self) -> None:
        self.process.kill()
        self.thread.join(DEADLINE)
        self.process.wait(DEADLINE)

    @property
    def left(self) -> dict[str, str | None]:
        return {name: heard.cursor for name, heard in self.heard.items() if not heard.ends}

    def _begin(self) -> None:
        command = [sys.executable, "-P", "-c", READER, self.url, json.dumps(self.left), str(LEASE)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self._listen, name="test-reader")
        self.thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):
                    name, *told = json.loads(line)
                    self.heard[name].take(*told)


class Workers:
    """Processes of `anthropix worker`."""

    def __init__(self, url: str, environment: Mapping[str, str], count: int) -> None:
        self.url = url
        self.environment = environment
        self.running = [self._begun() for _ in range(count)]
        self.frozen: list[tuple[float, subprocess.Popen[bytes]]] = []

    def _begun(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "anthropix_actors.cli", "worker", "--store", self.url]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            [*command, "--lease", str(LEASE), "--grace", "10", "--attempts", "99"],
            env=dict(self.environment),
            stdout=quiet,
            stderr=quiet,
        )

    def kill(self, which: int) -> None:
        """Kill one, and start another."""
        self.running[which].kill()
        self.running[which].wait(DEADLINE)
        self.running[which] = self._begun()

    def freeze(self, which: int) -> None:
        """Stop one until long after it counts as dead; start another."""
        self.running[which].send_signal(signal.SIGSTOP)
        self.frozen.append((time.monotonic() + 2.5 * LEASE, self.running[which]))
        self.running[which] = self._begun()

    def wake(self, *, all_of_them: bool = False) -> None:
        for due, process in [*self.frozen]:
            if all_of_them or time.monotonic() > due:
                process.send_signal(signal.SIGCONT)
                self.frozen.remove((due, process))
                self.running.append(process)

    def end(self) -> Iterator[int]:
        """End all of them as a system does; yield their exit statuses."""
        self.wake(all_of_them=True)
        for each in self.running:
            each.send_signal(signal.SIGTERM)
        for each in self.running:
            try:
                yield each.wait(2 * DEADLINE)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait(DEADLINE)
                yield -signal.SIGKILL


@dataclass(frozen=True)
class Plan:
    """What is tried.

    Attributes:
        jobs: How many jobs; every other one wants another answer where one was lost.
        words: How many words each answer has.
        seconds: How long each answer takes.
        every: Seconds between two kills, on average.
        most: How many kills there are.
        kills: The ways to kill that are mixed; see `Kill`.
        cancels: How many of the jobs are cancelled from here, at some time.
        keeps: Whether the store keeps what it has been told, whatever is killed.
    """

    jobs: int = 12
    words: int = 60
    seconds: float = 2.0
    every: float = 0.4
    most: int = 8
    kills: tuple[str, ...] = ("reader", "worker", "freeze")
    cancels: int = 1
    keeps: bool = True


class Storm:
    """One plan, from its first job to the count of its words."""

    def __init__(self, url: str, plan: Plan, seed: int, more: Mapping[str, Callable[[], object]] | None = None) -> None:
        """`more` are further ways to kill: of the broker, for example."""
        self.url = url
        self.plan = plan
        self.random = random.Random(seed)
        self.names = [f"job-{seed}-{number}" for number in range(plan.jobs)]
        self.cancelled = set(self.random.sample(self.names, plan.cancels))
        self.model = Model(plan.words, plan.seconds)
        self.report = Report()
        self.ways: dict[str, Callable[[], object]] = {
            "reader": lambda: self.random.choice(self.readers).kill(),
            "worker": lambda: self.workers.kill(self.random.randrange(2)),
            "freeze": lambda: self.workers.freeze(self.random.randrange(2)),
            **(more or {}),
        }

    def run(self) -> Report:
        """Do all of it, and return what came of it."""
        environment = {**os.environ, "ANTHROPIC_API_KEY": "sk-ant-test"}
        with Emulator(handler=self.model) as emulator, contextlib.closing(open_store(self.url)) as store:
            environment["ANTHROPIC_BASE_URL"] = emulator.url
            with Hub(store, lease=LEASE) as hub:
                self.give(hub)
                self.workers = Workers(self.url, environment, 2)
                self.readers = [Reader(self.url, self.names) for _ in range(2)]
                try:
                    self.storm(hub)
                    self.finish(hub)
                    self.count(hub)
                finally:
                    for reader in self.readers:
                        reader.end()
                    for _ in self.workers.end():
                        pass
        return self.report

    def give(self, hub: Hub) -> None:
        for number, name in enumerate(self.names):
            messages = [{"role": "user", "content": name}]
            hub.submit({"model": "m", "messages": messages}, id=name, retry_lost=number % 2 == 1)

    def storm(self, hub: Hub) -> None:
        """Kill one thing after the other until all readers have all ends."""
        to_cancel = [*self.cancelled]
        deadline = time.monotonic() + PATIENCE / 2
        while any(reader.left for reader in self.readers) and time.monotonic() < deadline:
            self.workers.wake()
            time.sleep(self.random.uniform(0, 2 * self.plan.every))
            if self.report.kills.total() < self.plan.most and self.is_in_the_middle():
                way = self.random.choice(self.plan.kills)
                self.report.kills[way] += 1
                self.ways[way]()
            if to_cancel:
                with contextlib.suppress(*() if self.plan.keeps else (AnthropixError,)):
                    hub.cancel(to_cancel.pop(), "enough")

    def is_in_the_middle(self) -> bool:
        """Return whether an answer has begun, and not ended, as far as a reader has heard."""
        return any(heard.text and not heard.ends for reader in self.readers for heard in reader.heard.values())

    def finish(self, hub: Hub) -> None:
        self.workers.wake(all_of_them=True)
        deadline = time.monotonic() + 2 * DEADLINE
        while time.monotonic() < deadline and any(self.left(hub)):
            time.sleep(0.05)
        statuses = [*self.workers.end()]
        may = {0, -signal.SIGTERM}  # one that has only just been started does not handle signals yet
        self.report.check({*statuses} <= may, f"workers that were told to end ended with {statuses}")
        for reader in self.readers:
            reader.thread.join(DEADLINE)

    def left(self, hub: Hub) -> tuple[int, int, int]:
        """Return how many jobs wait, are taken, are orphaned."""
        state = hub.store.queue_state("jobs")
        return state.waiting, state.taken, state.orphaned

    def count(self, hub: Hub) -> None:
        self.report.check(not any(self.left(hub)), f"jobs are left: {self.left(hub)}")
        self.report.jobs += len(self.names)
        for number, name in enumerate(self.names):
            entries = [*whole(hub, name)] if self.plan.keeps else None
            for text in self.wrong_in(name, entries, again=number % 2 == 1):
                self.report.check(holds=False, text=f"{name}: {text}")
            self.report.checks += 8

    def wrong_in(self, name: str, entries: list[Any] | None, *, again: bool) -> Iterator[str]:
        """Yield what must not be, of one job."""
        truth = self.model.text(name)
        heard = [reader.heard[name] for reader in self.readers]
        ends = [each.ends for each in heard]
        if any(len(end) != 1 for end in ends):
            yield f"expected one end for each reader, got {ends}"
            return
        if ends[0] != ends[1] and self.plan.keeps:
            yield f"its readers disagree: {ends}"
        kind, value = ends[0][0]
        self.report.ended[kind] += 1
        self.report.words += sum(len(each.text.split()) for each in heard)
        if kind not in ENDS:
            yield f"ended as {kind}: {value}"
        done = {each.text for each in heard if each.ends[0][0] == "done"}
        if kind == "done" and {value, *done} != {truth}:
            yield f"it was told as {value!r} and read as {[parted(truth, each.text) for each in heard]}"
        if kind == "Lost" and again and self.plan.keeps:
            yield "it is lost, and was to be asked again"
        if kind == "Lost" and self.plan.keeps and any(each.text != (value or "") for each in heard):
            yield f"the partial is {value!r}, and was read as {[each.text for each in heard]}"
        if not all(truth.startswith(each.text) for each in heard):
            yield f"words that are not its own, or twice: {[parted(truth, each.text) for each in heard]}"
        if kind == "cancelled" and name not in self.cancelled:
            yield f"it was cancelled: {value}"
        if entries is not None:
            yield from wrong_in_log(entries, again=again)


def parted(truth: str, text: str) -> str:
    """Return where a text is not what it should be, with what is around that."""
    at = next((place for place, (one, other) in enumerate(zip(truth, text, strict=False)) if one != other), None)
    at = min(len(truth), len(text)) if at is None else at
    return f"{text[max(0, at - 40) : at]} | {text[at : at + 40]} ({len(text)} of {len(truth)} characters)"


def whole(hub: Hub, name: str) -> Iterator[Any]:
    """Yield the entries of a log."""
    after = None
    while entries := hub.store.read(name, after):
        yield from entries
        after = entries[-1].cursor


def wrong_in_log(entries: list[Any], *, again: bool) -> Iterator[str]:
    """Yield what must not be in the log of a job that has ended."""
    kinds = [entry.data["kind"] for entry in entries]
    if [entry.number for entry in entries] != [*range(len(entries))]:
        yield "its log has gaps"
    epochs = [entry.epoch for entry in entries]
    if epochs != sorted(epochs):
        yield f"a writer that was fenced has written: {epochs}"
    told = {entry.epoch for entry in entries if entry.data["kind"] == "event"}
    if len(told) > 1 and not again:
        yield f"it was told again, in {told}"
    ends = [kind for kind in kinds if kind in {"done", "failed", "cancelled"}]
    if len(ends) != 1 or kinds[-1:] != ends:
        yield f"expected one end, and last, got {kinds[-3:]}"


@contextlib.contextmanager
def broker(*settings: str) -> Generator[tuple[str, dict[str, Callable[[], object]]]]:
    """Run a Redis that can be killed, behind a network that can be cut; yield its URL, and the ways to do so."""
    from redis_servers import Cutter, RedisServer  # noqa: PLC0415 - where there is one

    with RedisServer(*settings) as redis, Cutter(redis) as network:
        yield network.url, {"broker": redis.restart, "cut": network.armed.set}


@contextlib.contextmanager
def several(
    servers: Callable[[], contextlib.AbstractContextManager[Any]], seed: int
) -> Generator[tuple[str, dict[str, Callable[[], object]]]]:
    """Run servers of which some follow others; yield their URL, and a way to kill one that a replica then replaces."""
    chance = random.Random(seed)
    with servers() as found:

        def fail_over() -> None:
            killed = found.primary_of(chance.choice(KEYS))
            if chance.random() < LAGS:
                found.cut_off(killed)
                time.sleep(chance.uniform(0, 0.3))
            found.fail_over(killed)
            found.rejoin(killed)

        yield found.url, {"primary": fail_over}


KEYS = [f"{{s{number:02d}}}" for number in range(16)]
"""A key of each shard."""

LAGS = 0.5
"""How often a replica lacks the last of what its primary had, before that is killed."""

BROKER = ("reader", "worker", "freeze", "broker", "cut")

PRIMARY = ("reader", "worker", "freeze", "primary", "primary")

KEEPS = ("--appendonly", "yes", "--appendfsync", "always")
"""Settings of a broker that has all that it has said it has."""

FORGETS_SOME = ("--appendonly", "yes", "--appendfsync", "everysec")
"""Settings of a broker that, if its disk is slow, comes back without the last of it."""


def torture(seed: int, *, short: bool = False, folder: Path, redis: bool) -> Report:
    """Try everything, once in a short form; `redis` is whether there is a redis-server."""
    total = Report()
    for number in range(seed, seed + (1 if short else 8)):
        total += Storm(f"sqlite://{folder}/kills-{number}.sqlite", Plan(), number).run()
    for number in range(seed, seed + (1 if short else 8) * redis):
        total += on_broker(number, Plan(kills=BROKER, most=10), *KEEPS)
    for number in range(seed, seed + (1 if short else 4) * redis):
        total += on_broker(number, Plan(kills=BROKER, most=10, keeps=False), *FORGETS_SOME)
    for number in range(seed, seed + (1 if short else 2) * redis):
        total += on_broker(number, Plan(kills=("broker",), most=1, keeps=False))
    for number in range(seed, seed + (1 if short else 6) * redis):
        total += on_several(number, sentinels=number % 2 == 0)
    return total


def on_several(seed: int, *, sentinels: bool) -> Report:
    """Have primaries killed: of a pair that Sentinels watch, or of a Cluster."""
    from redis_topologies import cluster, watched  # noqa: PLC0415 - as above

    servers = (lambda: watched(3)) if sentinels else (lambda: cluster(1))
    with several(servers, seed) as (url, ways):
        return Storm(url, Plan(kills=PRIMARY, most=8, every=0.8, keeps=False), seed, ways).run()


def on_broker(seed: int, plan: Plan, *settings: str) -> Report:
    with broker(*settings) as (url, ways):
        return Storm(url, plan, seed, ways).run()
