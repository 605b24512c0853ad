"""The results of a batch: how many megabytes a second, and whether the memory stays flat."""

from __future__ import annotations

import json
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pykka
import requests
from _measure import (
    BEFORE,
    HAS_SDK,
    MIB,
    WAYS,
    Older,
    Verdict,
    Worker,
    interleaved,
    median_and_range,
    rss,
    table,
    times,
    title,
)
from _pipelines import SimpleQueueInbox, connected, our_client
from _server import running_server

import anthropix_actors
from anthropix_actors import BatchResult

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable


_FLAT = 5 * MIB
_FASTER = 8
_SAMPLE = 1000
_KEYS = {"x-api-key": "key", "anthropic-version": "2023-06-01"}
_PATH = "/v1/messages/batches/msgbatch_1"

ITERATOR = "our iterator"
ACTOR = "our actor"
SIMPLE_QUEUE = "our actor, SimpleQueue inbox"
LISTS = "our actor, told lists"
SDK = "SDK results()"


class _Figures(NamedTuple):
    wall: float  # seconds
    cpu: float
    bytes: int
    growth: int


def run(*, quick: bool) -> list[Verdict]:
    thousands, repetitions = (10, 3) if quick else (100, 5)
    verdicts = []
    for way, encrypted in WAYS.items():
        title(f"batch_results: {thousands * 1000:,} results of 1 kB, {way}, each looked at; median of {repetitions}")
        verdicts += _report(_all_measured(thousands, repetitions, encrypted=encrypted), way)
    return verdicts


def _all_measured(thousands: int, repetitions: int, *, encrypted: bool) -> dict[str, list[_Figures]]:
    ways: dict[str, Callable[[str], Callable[[], _Figures]]] = {
        "raw socket + json.loads": _raw,
        "requests iter_lines + json.loads": _iter_lines,
        ITERATOR: _iterator,
        ACTOR: _actor,
        SIMPLE_QUEUE: _simple_queue_actor,
        LISTS: _actor_of_lists,
    }
    with running_server(encrypted=encrypted) as server:
        url = f"{server}/batch-{thousands}"
        workers = {name: Worker(make, url) for name, make in ways.items()}
        if Older.checkout is not None:
            ours = (ITERATOR, ACTOR, SIMPLE_QUEUE)
            workers |= {name + BEFORE: Worker(ways[name], url, package=Older.checkout) for name in ours}
        if HAS_SDK:
            # At its pace, a tenth is enough; it holds all the time.
            workers[SDK] = Worker(_sdk, f"{server}/batch-{thousands // 10}")
        try:
            return interleaved(workers, repetitions)
        finally:
            for worker in workers.values():
                worker.__exit__(None, None, None)


def _report(measured: dict[str, list[_Figures]], way: str) -> list[Verdict]:
    speeds = {name: [each.bytes / each.wall / 1e6 for each in found] for name, found in measured.items()}
    rows, verdicts = [], []
    for name, found in measured.items():
        of_cpu = statistics.median(each.bytes / each.cpu / 1e6 for each in found)
        growth = max(each.growth for each in found)
        over_sdk = times(speeds[name], speeds[SDK]) if SDK in speeds else None
        ratio = "" if over_sdk is None else f"{over_sdk:.1f}"
        rows.append([name, *median_and_range(speeds[name]), f"{of_cpu:.1f}", ratio, f"{growth / MIB:+.1f}"])
        if name in {ITERATOR, ACTOR, SIMPLE_QUEUE, LISTS}:
            flat = growth <= _FLAT
            verdicts.append(
                Verdict(f"batch results, {way}, {name}: memory", "flat, + 5 MiB", f"{growth / MIB:+.1f} MiB", flat)
            )
            if over_sdk is not None:
                what = f"batch results, {way}, {name}, against {SDK}"
                verdicts.append(Verdict(what, f">= {_FASTER} x the MB/s", f"{ratio} x", over_sdk >= _FASTER))
    table(["way", "MB/s", "from-to", "MB per s of CPU", "x SDK", "RSS growth MiB"], rows)
    return verdicts


class _Reader:
    """Looks at results, and at the memory meanwhile."""

    def __init__(self) -> None:
        self._start = 0
        self.count = self.characters = self.growth = 0

    def take(self, result: Any) -> None:
        self.characters += len(result["message"]["content"][0]["text"])
        self.count += 1
        if self.count == _SAMPLE:  # all code has run, all buffers are there
            self._start = rss()
        elif self.count % _SAMPLE == 0:
            self.growth = max(self.growth, rss() - self._start)


def _measured(read: Callable[[_Reader], int]) -> Callable[[], _Figures]:
    """Time a function that reads all results and gets their bytes."""

    def measured() -> _Figures:
        reader = _Reader()
        wall, cpu = time.perf_counter(), time.process_time()
        size = read(reader)
        return _Figures(time.perf_counter() - wall, time.process_time() - cpu, size or _size(reader), reader.growth)

    return measured


def _size(reader: _Reader) -> int:
    """Get the bytes that so many results have on the wire: those of the text, and 340 around it."""
    return reader.characters + reader.count * _AROUND


_AROUND = 317


def _raw(url: str) -> Callable[[], _Figures]:
    path = urlsplit(url).path

    def read(reader: _Reader) -> int:
        with connected(url) as sock:
            sock.sendall(f"GET {path}{_PATH}/results HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            for line in _raw_lines(sock):
                reader.take(json.loads(line)["result"])
        return 0

    return _measured(read)


def _raw_lines(sock: socket.socket) -> Iterable[bytes]:
    file = sock.makefile("rb", 1 << 17)
    while file.readline() != b"\r\n":
        pass
    rest = b""
    while size := int(file.readline(), 16):
        *lines, rest = (rest + file.read(size + 2)[:-2]).split(b"\n")
        yield from lines


def _iter_lines(url: str) -> Callable[[], _Figures]:
    session = requests.Session()

    def read(reader: _Reader) -> int:
        with session.get(f"{url}{_PATH}/results", headers=_KEYS, stream=True, timeout=60) as response:
            for line in response.iter_lines(chunk_size=65536):
                reader.take(json.loads(line)["result"])
        return 0

    return _measured(read)


def _iterator(url: str) -> Callable[[], _Figures]:
    client = our_client(url)

    def read(reader: _Reader) -> int:
        for line in client.batches.results("msgbatch_1", stream=True):
            reader.take(line["result"])
        return 0

    return _measured(read)


class _Subscriber(pykka.ThreadingActor):
    """Looks at the results that it is told."""

    use_daemon_thread = True

    def __init__(self, reader: _Reader, over: threading.Event) -> None:
        super().__init__()
        self._take = reader.take
        self._over = over

    def on_receive(self, message: Any) -> None:
        if isinstance(message, BatchResult):
            self._take(message.result)
        else:
            self._over.set()


class _SimpleQueueSubscriber(SimpleQueueInbox, _Subscriber):
    pass


class _ListSubscriber(_Subscriber):
    """Takes all results that arrived together at once."""

    def on_receive(self, message: Any) -> None:
        if isinstance(message, anthropix_actors.BatchResults):  # which an older version does not have
            for result in message.results:
                self._take(result.result)
        else:
            super().on_receive(message)


def _told_to(url: str, subscriber: type[_Subscriber], **options: Any) -> Callable[[], _Figures]:
    client = our_client(url)

    def read(reader: _Reader) -> int:
        over = threading.Event()
        ref = subscriber.start(reader, over)
        client.batches.results("msgbatch_1", stream=ref, **options)
        over.wait()
        ref.stop()
        return 0

    return _measured(read)


def _actor(url: str) -> Callable[[], _Figures]:
    return _told_to(url, _Subscriber)


def _simple_queue_actor(url: str) -> Callable[[], _Figures]:
    return _told_to(url, _SimpleQueueSubscriber)


def _actor_of_lists(url: str) -> Callable[[], _Figures]:
    return _told_to(url, _ListSubscriber, as_lists=True)


def _sdk(url: str) -> Callable[[], _Figures]:
    from _sdk import sdk_client  # noqa: PLC0415 - where it is installed

    client = sdk_client(url)

    def read(reader: _Reader) -> int:
        for line in client.messages.batches.results("msgbatch_1"):
            result: Any = line.result
            reader.take({"message": {"content": [{"text": result.message.content[0].text}]}})
        return 0

    return _measured(read)
