"""CPU per event of a long streamed answer."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from _answers import text_of
from _compare import show, verdicts
from _measure import BEFORE, Older, Verdict, Worker, cpu_of, interleaved, title
from _pipelines import ACTOR, ITERATOR, LISTENER, NAMES, OURS, RAW, SDK_CREATE, SDK_STREAM, SIMPLE_QUEUE, pipeline
from _server import running_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from _compare import Targets

_COUNT = 5000
_MICRO = 1e6 / _COUNT


_FORMS = (
    ("text", "one HTTP chunk per event, as the API sends"),
    ("packed", "chunks of 16 KiB"),
    ("text over TLS", "one HTTP chunk and one TLS record per event"),
    ("packed over TLS", "chunks and TLS records of 16 KiB"),
)
_THREE = (ITERATOR, ACTOR, SIMPLE_QUEUE)
_TARGETS: dict[str, Targets] = {
    "text": {
        RAW: {**dict.fromkeys(_THREE, 2.5), LISTENER: 1.3},
        SDK_STREAM: {**dict.fromkeys(_THREE, 8), LISTENER: 10},
        SDK_CREATE: {**dict.fromkeys(_THREE, 4), LISTENER: 5},
    },
    "packed": {},
    "text over TLS": {
        RAW: {ITERATOR: 1.3, LISTENER: 1.3},
        SDK_STREAM: {ITERATOR: 8, LISTENER: 8, SIMPLE_QUEUE: 7},
        SDK_CREATE: {ITERATOR: 4, LISTENER: 4, SIMPLE_QUEUE: 3.5},
    },
    "packed over TLS": {},
}


def run(*, quick: bool) -> list[Verdict]:
    repetitions = 3 if quick else 21
    found = []
    for form, told in _FORMS:
        title(f"events: CPU per event, {_COUNT:,} text deltas of 120 bytes, {told}; median of {repetitions}")
        scenario, over_tls, _ = form.partition(" over TLS")
        figures = _measured(f"{scenario}-{_COUNT}", repetitions, encrypted=bool(over_tls))
        show(figures, "µs/event")
        found += verdicts(figures, _TARGETS[form], f"CPU per event, {form}")
    return found


def _measured(scenario: str, repetitions: int, *, encrypted: bool) -> dict[str, list[float]]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server(encrypted=encrypted))
        url = f"{server}/{scenario}"
        workers = {name: stack.enter_context(Worker(_reader, name, url)) for name in NAMES}
        if Older.checkout is not None:
            older = {name: Worker(_reader, name, url, package=Older.checkout) for name in OURS if name != LISTENER}
            workers |= {name + BEFORE: stack.enter_context(worker) for name, worker in older.items()}
        return interleaved(workers, repetitions)


def _reader(name: str, url: str) -> Callable[[], float]:
    read = pipeline(name, url)

    def measured() -> float:
        texts: list[str] = []
        seconds = cpu_of(lambda: read(texts.append))
        if "".join(texts) != text_of(_COUNT):
            raise AssertionError(f"{name} did not get the whole text")
        return seconds * _MICRO

    return measured
