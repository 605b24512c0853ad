"""What an event costs at 200 events a second, as the API sends them: CPU, and switches of the process's threads."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING, NamedTuple

from _compare import show, verdicts
from _measure import WAYS, Verdict, Worker, cpu_of, interleaved, title
from _pipelines import BLOCKING, ITERATOR, NAMES, SDK_CREATE, SIMPLE_QUEUE, TELL, pipeline
from _server import PACE, running_server

if TYPE_CHECKING:
    from collections.abc import Callable

_TARGETS = {SDK_CREATE: dict.fromkeys((ITERATOR, SIMPLE_QUEUE, TELL), 1.5)}


class _Cost(NamedTuple):
    """Of one event."""

    cpu: float
    switches: float


def run(*, quick: bool) -> list[Verdict]:
    rounds, count = (1, 150) if quick else (3, 400)
    names = [name for name in NAMES if name != BLOCKING]
    found = []
    for way, encrypted in WAYS.items():
        title(f"calm: CPU per event at {1 / PACE:.0f} events/s, {way}, {count} events; median of {rounds}")
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(running_server(encrypted=encrypted))
            url = f"{server}/paced-{count}"
            workers = {name: stack.enter_context(Worker(_reader, name, url, count)) for name in names}
            costs = interleaved(workers, rounds)
        cpu = {name: [each.cpu * 1e6 for each in costs[name]] for name in names}
        switches = {name: [each.switches for each in costs[name]] for name in names}
        show(cpu, "µs/event", {"switches/event": switches})
        found += verdicts(cpu, _TARGETS, f"CPU per event, {1 / PACE:.0f} events/s, {way}")
    return found


def _reader(name: str, url: str, count: int) -> Callable[[], _Cost]:
    read = pipeline(name, url)

    def measured() -> _Cost:
        texts: list[str] = []
        before = _switches()
        cpu = cpu_of(lambda: read(texts.append))
        if len(texts) != count:
            raise AssertionError(f"{name} got {len(texts)} of {count} events")
        return _Cost(cpu / count, (_switches() - before) / count)

    return measured


def _switches() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw
