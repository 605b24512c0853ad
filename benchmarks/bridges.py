"""Events on their way from a chat's thread into an event loop of asyncio: what each costs, and how long it takes."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

from _measure import Verdict, Worker, interleaved, median_and_range, table, title

from anthropix_actors import ChatDone, ChatEvent
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._tasks.mailbox import delivery_to
from anthropix_actors.subscribers import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OURS = "aio"
NAIVE = "call_soon_threadsafe(queue.put_nowait) each"
THREAD = "asyncio.to_thread(queue.get) each"

_REF: Any = None
_DONE: Any = ChatDone(_REF, {})  # type: ignore[typeddict-item] # nobody reads it
_PACKET = 16
"""Events that are told together, as those that one chunk of a fast answer brings."""

_INTERVAL = 0.02


class Naive:
    """A subscriber that has the event loop run a callback for each message."""

    def __init__(self) -> None:
        """Belong to the event loop that runs."""
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Any] = asyncio.Queue()

    def tell(self, message: Any, /) -> None:
        """Take one message."""
        self._loop.call_soon_threadsafe(self._arrived.put_nowait, message)

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Loop over the events."""
        while not isinstance(message := await self._arrived.get(), ChatDone):
            yield message.data


class Threads:
    """A subscriber whose loop waits in a thread of the pool."""

    def __init__(self) -> None:
        """Start empty."""
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.tell = self._arrived.put

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Loop over the events."""
        while not isinstance(message := await asyncio.to_thread(self._arrived.get), ChatDone):
            yield message.data


_BRIDGES: dict[str, Callable[[], Any]] = {OURS: aio, NAIVE: Naive, THREAD: Threads}


def run(*, quick: bool) -> list[Verdict]:
    verdicts = _flat_out(quick=quick)
    _many(quick=quick)
    return verdicts


def _flat_out(*, quick: bool) -> list[Verdict]:
    count, rounds = (20_000, 3) if quick else (100_000, 9)
    title(f"bridges: {count:,} events into an event loop, as fast as they go; µs of CPU an event, median of {rounds}")
    figures = _measured(_fast, rounds, count)
    table(["bridge", "µs/event", "from-to"], [[name, *median_and_range(each)] for name, each in figures.items()])
    cost = statistics.median(figures[OURS])
    return [Verdict("aio, CPU per event, flat out", "<= 2 µs", f"{cost:.1f} µs", cost <= 2)]


def _many(*, quick: bool) -> None:
    chats, seconds, rounds = (50, 1, 1) if quick else (200, 4, 3)
    title(f"bridges: {chats} chats at 50 events/s for {seconds} s; median of {rounds}")
    figures = _measured(_paced, rounds, chats, seconds)
    rows = []
    for name, each in figures.items():
        cpu, p50, p99 = (f"{statistics.median(values):.2f}" for values in zip(*each, strict=True))
        rows.append([name, cpu, p50, p99])
    table(["bridge", "µs of CPU/event", "p50 ms", "p99 ms"], rows)


def _measured(make: Callable[..., Callable[[], Any]], rounds: int, *args: int) -> dict[str, list[Any]]:
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(make, name, *args)) for name in _BRIDGES}
        return interleaved(workers, rounds)


def _fast(name: str, count: int) -> Callable[[], float]:
    """Measure one bridge: a thread tells, as a chat's does, and one coroutine loops."""

    async def measured() -> float:
        bridge = _BRIDGES[name]()
        telling = threading.Thread(target=_tell_fast, args=(bridge, count))
        before = time.process_time()
        telling.start()
        got = 0
        async for _ in bridge:
            got += 1
        if got != count:
            raise AssertionError(f"{name} gave {got} of {count}")
        return (time.process_time() - before) / count * 1e6

    return lambda: asyncio.run(measured())


def _tell_fast(bridge: Any, count: int) -> None:
    delivery = delivery_to(bridge, CancelScope(), window=256)
    packet = [ChatEvent(_REF, {"type": "content_block_stop", "index": 0})] * _PACKET
    for _ in range(count // _PACKET):
        delivery.tell_all(packet)
    delivery.tell_all([*packet[: count % _PACKET], _DONE])


def _paced(name: str, chats: int, seconds: int) -> Callable[[], tuple[float, float, float]]:
    """Measure one bridge: a thread for each chat, which tells 50 events a second, and a coroutine for each."""

    async def loop(bridge: Any, delays: list[float]) -> None:
        delays.extend([(time.monotonic_ns() - event["sent"]) / 1e6 async for event in bridge])

    async def measured() -> tuple[float, float, float]:
        bridges = [_BRIDGES[name]() for _ in range(chats)]
        threads = [threading.Thread(target=_tell_paced, args=(bridge, seconds)) for bridge in bridges]
        delays: list[float] = []
        before = time.process_time()
        for thread in threads:
            thread.start()
        await asyncio.gather(*[loop(bridge, delays) for bridge in bridges])
        parts = statistics.quantiles(delays, n=100)
        return (time.process_time() - before) / len(delays) * 1e6, parts[49], parts[98]

    return lambda: asyncio.run(measured())


def _tell_paced(bridge: Any, seconds: int) -> None:
    delivery = delivery_to(bridge, CancelScope(), window=256)
    due = time.monotonic()
    for _ in range(round(seconds / _INTERVAL)):
        due += _INTERVAL
        time.sleep(max(0.0, due - time.monotonic()))
        event: Any = {"type": "content_block_stop", "index": 0, "sent": time.monotonic_ns()}
        delivery.tell(ChatEvent(_REF, event))
    delivery.tell(_DONE)
