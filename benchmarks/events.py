"""CPU per event of a long streamed answer."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from _measure import (
    BEFORE,
    HAS_SDK,
    Older,
    Verdict,
    Worker,
    cpu_of,
    interleaved,
    median_and_range,
    ratio,
    table,
    times,
    title,
)
from _pipelines import ACTOR, ITERATOR, NAMES, OURS, RAW, SDK_CREATE, SDK_STREAM, SIMPLE_QUEUE, pipeline
from _server import running_server, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

_COUNT = 5000
_MICRO = 1e6 / _COUNT


def run(*, quick: bool) -> list[Verdict]:
    repetitions = 3 if quick else 21
    verdicts = []
    for scenario, form in (("text", "one HTTP chunk per event, as the API sends"), ("packed", "chunks of 16 KiB")):
        title(f"events: CPU per event, {_COUNT:,} text deltas of 120 bytes, {form}; median of {repetitions}")
        figures = _measured(f"{scenario}-{_COUNT}", repetitions)
        _show(figures)
        if scenario == "text":
            verdicts = _verdicts(figures)
    return verdicts


def _measured(scenario: str, repetitions: int) -> dict[str, list[float]]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server())
        url = f"{server}/{scenario}"
        workers = {name: stack.enter_context(Worker(_reader, name, url)) for name in NAMES}
        if Older.checkout is not None:
            older = {name: Worker(_reader, name, url, package=Older.checkout) for name in OURS}
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


def _show(figures: dict[str, list[float]]) -> None:
    sdk = (SDK_CREATE, SDK_STREAM) if HAS_SDK else ()
    head = ["pipeline", "µs/event", "from-to", "x raw", *(f"{name.split('(')[0]} ÷ it" for name in sdk)]
    rows = [
        [name, *median_and_range(values), ratio(values, figures[RAW])]
        + [ratio(figures[other], values) if name.removesuffix(BEFORE) in OURS else "" for other in sdk]
        for name, values in figures.items()
    ]
    table(head, rows)
    if not HAS_SDK:
        print("(the official SDK is not installed)")


def _verdicts(figures: dict[str, list[float]]) -> list[Verdict]:
    verdicts = []
    for name in (ITERATOR, ACTOR, SIMPLE_QUEUE):
        more = times(figures[name], figures[RAW])
        verdicts.append(Verdict(f"CPU per event, {name}, against raw", "<= 2.5 x", f"{more:.2f} x", more <= 2.5))
    for sdk, least in ((SDK_STREAM, 8), (SDK_CREATE, 4)):
        for name in (ITERATOR, ACTOR, SIMPLE_QUEUE) if sdk in figures else ():
            less = times(figures[sdk], figures[name])
            what = f"CPU per event, {name}, against {sdk}"
            verdicts.append(Verdict(what, f">= {least} x less", f"{less:.1f} x less", less >= least))
    return verdicts
